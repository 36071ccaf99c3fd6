"""Layers cut out of a traced graph; claims about values hold by hooks too."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from featx.errors import ModelError
from featx.networks.configs import find_config
from featx.networks.tapping import Traced, tap_rows
from tests.networks.conftest import SIZE, Bare, Untraceable, image, run, tap


@pytest.mark.parametrize("how", ["graph", "hooks"])
def test_conv1_keeps_negative_values_beside_later_layers(how: str) -> None:
    plan = find_config("alexnet", weights="random", size=SIZE, tap=how)
    conv1, relu1, _ = run(plan, "features.0", "features.1", "features.2")
    assert conv1.min() < -0.1
    assert torch.equal(conv1.relu(), relu1)


def test_fc7_is_before_its_rectifier() -> None:
    fc7, relu_fc7 = run(find_config("alexnet", weights="random", size=SIZE), "fc7", "relu_fc7")
    assert fc7.min() < 0
    assert torch.equal(fc7.relu(), relu_fc7)


@pytest.mark.parametrize("how", ["graph", "hooks"])
@pytest.mark.parametrize("names", [("layer1.0.bn2", "layer1.0.add"), ("bn1", "layer1", "flatten")])
def test_values_are_those_of_torchvisions_extractor(how: str, names: tuple[str, ...]) -> None:
    plan = find_config("resnet18", weights="random", size=SIZE, tap=how)
    network = plan.network()
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
    for rows, maps in zip(run(plan, *names), wanted, strict=True):
        assert torch.allclose(rows, maps.flatten(1), rtol=1e-4, atol=1e-5)


def test_tap_graph_says_that_it_cannot_be_traced() -> None:
    with pytest.raises(ModelError, match="use tap='hooks'"):
        run(find_config(Untraceable(), size=8, tap="graph"), "conv", batch=image(8))


@pytest.mark.parametrize("how", ["graph", "hooks"])
def test_functions_in_place_do_not_reach_an_earlier_tap(how: str) -> None:
    plan = find_config(Bare(), size=8, tap=how)
    scaled, rectified, added = run(plan, "mul", "relu", "add", batch=image(8))
    assert scaled.min() < 0
    assert torch.equal(scaled.relu(), rectified)
    assert torch.equal(rectified + 1, added)


@pytest.mark.parametrize("how", ["graph", "hooks"])
def test_nothing_runs_after_the_deepest_layer(how: str) -> None:
    plan = find_config("resnet18", weights="random", size=SIZE, tap=how)
    network = plan.network()
    taps = [tap(plan, "layer1"), tap(plan, "conv1")]
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
    plan, traced, batch = (
        find_config(network, size=8),
        Traced(network, (8, 8)),
        torch.rand(2, 3, 8, 8),
    )
    with torch.no_grad():
        for n_steps, name in ((3, "2"), (1, "0"), (2, "1")):
            (rows,) = traced.cut([tap(plan, name, "gap")])(batch)
            assert torch.allclose(rows, network[:n_steps](batch).mean((2, 3)), atol=1e-6)


def test_layer_that_is_no_node_of_the_graph_is_a_key_error() -> None:
    traced = Traced(nn.Sequential(nn.Conv2d(3, 4, 3)).eval(), (8, 8))
    with pytest.raises(KeyError, match="mul"):
        traced.cut([tap(find_config(Bare(), size=8), "mul")])


@pytest.mark.parametrize("must_copy", [False, True])
def test_rows_share_their_layers_memory_unless_a_copy_is_needed(must_copy: bool) -> None:
    maps = torch.zeros(2, 3, 4, 4)
    rows = tap_rows(maps, "flatten", "chw", 0, must_copy=must_copy)
    maps += 1
    assert bool((rows == 0).all()) == must_copy
