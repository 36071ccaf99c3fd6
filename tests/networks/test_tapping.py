"""Layers cut out of a traced graph; claims about values hold by hooks too."""

from __future__ import annotations

import math

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from featx.errors import ModelError
from featx.networks.configs import find_config
from featx.networks.tapping import Traced, deviation
from tests.networks.conftest import SIZE, Bare, Untraceable, image, run, tap


@pytest.mark.parametrize("how", ["graph", "hooks"])
def test_conv1_keeps_negative_values_beside_later_layers(how: str) -> None:
    config = find_config("alexnet", weights="random", size=SIZE, tap=how)
    conv1, relu1, _ = run(config, "features.0", "features.1", "features.2")
    assert conv1.min() < -0.1
    assert torch.equal(conv1.relu(), relu1)


def test_fc7_is_before_its_rectifier() -> None:
    fc7, relu_fc7 = run(find_config("alexnet", weights="random", size=SIZE), "fc7", "relu_fc7")
    assert fc7.min() < 0
    assert torch.equal(fc7.relu(), relu_fc7)


@pytest.mark.parametrize("how", ["graph", "hooks"])
@pytest.mark.parametrize("names", [("layer1.0.bn2", "layer1.0.add"), ("bn1", "layer1", "flatten")])
def test_values_are_those_of_torchvisions_extractor(how: str, names: tuple[str, ...]) -> None:
    config = find_config("resnet18", weights="random", size=SIZE, tap=how)
    network = config.network()
    twin = torchvision.models.resnet18().eval()
    twin.load_state_dict(network.module.state_dict())
    with torch.inference_mode():
        # Each alone: torchvision's own taps are overwritten by what follows in place.
        wanted = [
            create_feature_extractor(twin, [name], suppress_diff_warning=True).eval()(
                network.normalize(image())
            )[name]
            for name in names
        ]
    for rows, maps in zip(run(config, *names), wanted, strict=True):
        assert torch.allclose(rows, maps.flatten(1), rtol=1e-4, atol=1e-5)


def test_tap_graph_says_that_it_cannot_be_traced() -> None:
    with pytest.raises(ModelError, match="use tap='hooks'"):
        run(find_config(Untraceable(), size=8, tap="graph"), "conv", batch=image(8))


@pytest.mark.parametrize("how", ["graph", "hooks"])
def test_functions_in_place_do_not_reach_an_earlier_tap(how: str) -> None:
    config = find_config(Bare(), size=8, tap=how)
    scaled, rectified, added = run(config, "mul", "relu", "add", batch=image(8))
    assert scaled.min() < 0
    assert torch.equal(scaled.relu(), rectified)
    assert torch.equal(rectified + 1, added)


@pytest.mark.parametrize("how", ["graph", "hooks"])
def test_nothing_runs_after_the_deepest_layer(how: str) -> None:
    config = find_config("resnet18", weights="random", size=SIZE, tap=how)
    network = config.network()
    taps = [tap(config, "layer1"), tap(config, "conv1")]
    network.runner(taps)  # Tracing runs all of it once.
    called: list[str] = []
    for name in ("layer1", "layer2"):
        module = network.module.get_submodule(f"{name}.0.conv1")
        module.register_forward_hook(lambda *args, name=name: called.append(name))
    network.rows(image(), taps)
    assert called == ["layer1"]


class Gated(nn.Module):
    """A branch on an argument, which stands at its default."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor, is_doubled: bool = False) -> torch.Tensor:
        maps = self.conv(x)
        return maps * 2 if is_doubled else maps + 1


def test_further_arguments_stand_at_their_defaults() -> None:
    conv, added = run(find_config(Gated(), size=8, tap="graph"), "conv", "add", batch=image(8))
    assert torch.equal(conv + 1, added)


def test_cut_graph_holds_nothing_after_the_deepest_layer() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3)).eval()
    taps = [tap(find_config(network, size=8), name) for name in ("1", "0")]
    graph = Traced(network, (8, 8)).cut(taps).graph
    modules = [node.target for node in graph.nodes if node.op == "call_module"]
    assert modules == ["0", "1"]


def test_one_trace_is_cut_many_times() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3)).eval()
    config, traced, batch = (
        find_config(network, size=8),
        Traced(network, (8, 8)),
        torch.rand(2, 3, 8, 8),
    )
    with torch.no_grad():
        for n_steps, name in ((3, "2"), (1, "0"), (2, "1")):
            (rows,) = traced.cut([tap(config, name, "gap")])(batch)
            assert torch.allclose(rows, network[:n_steps](batch).mean((2, 3)), atol=1e-6)


def test_layer_that_is_no_node_of_the_graph_is_a_key_error() -> None:
    traced = Traced(nn.Sequential(nn.Conv2d(3, 4, 3)).eval(), (8, 8))
    with pytest.raises(KeyError, match="mul"):
        traced.cut([tap(find_config(Bare(), size=8), "mul")])


class Unpacked(nn.Module):
    """Takes a tuple apart: ``getitem`` in the graph, and nothing where it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = self.conv(x).chunk(2, 1)
        cut = (a * b.sigmoid())[:, :, 1:]
        return cut[:, :, :-1]


class Branching(nn.Module):
    """Goes another way while it is traced."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if isinstance(x, torch.Tensor):
            x = x / 10
        return x + 1


class Counting(nn.Module):
    """Counts its images where it can."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        try:
            n_images = int(x.shape[0])
        except TypeError:
            n_images = 1
        return x / n_images


def test_a_graph_that_unpacks_a_tuple_has_the_names_of_the_run() -> None:
    rows = [
        run(find_config(network, size=8, tap=how), "getitem", "getitem_1", batch=image(8))
        for network in [Unpacked().eval()]
        for how in ("graph", "hooks")
    ]
    assert all(torch.equal(*pair) for pair in zip(*rows, strict=True))


@pytest.mark.parametrize(("network", "name"), [(Branching(), "add"), (Counting(), "div")])
def test_what_deviates_from_the_running_network_goes_by_hooks(
    network: nn.Module, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "featx")
    config = find_config(network, size=8)
    (rows,) = run(config, name, batch=image(8))
    assert torch.equal(rows, network(config.network().normalize(image(8))).flatten(1))
    assert f"tapped by hooks (the graph's '{name}' deviates by" in caplog.text


def test_tap_graph_refuses_what_deviates_from_the_running_network() -> None:
    with pytest.raises(ModelError, match=r"'add' deviates by .*use tap='hooks'"):
        run(find_config(Branching(), size=8, tap="graph"), "add", batch=image(8))


class Stacked(nn.Module):
    """Stacks three maps, as many as there are images in the recorded run."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[None], x[None] * 2, x[None] * 3]).abs().sum(0)


@pytest.mark.parametrize("how", ["auto", "hooks"])
def test_a_tensor_whose_first_dimension_is_not_the_images_is_no_layer(how: str) -> None:
    config = find_config(Stacked(), size=8, tap=how)
    with pytest.raises(ModelError, match="'abs' of Stacked cannot be used as a layer: expected 2"):
        run(config, "abs", batch=image(8))


def test_deviation_takes_what_is_not_finite_as_it_is() -> None:
    values = torch.tensor([1.0, math.nan, math.inf])
    assert deviation(values, values) == 0
    assert not deviation(values, torch.ones(3)) <= 1
    assert deviation(torch.ones(2), torch.ones(3)) == math.inf
