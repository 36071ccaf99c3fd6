from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from featx._imports import skip_initialization
from featx.errors import ModelError, WeightsError
from featx.networks.configs import find_config
from featx.networks.devices import check_precision, find_device
from featx.networks.hooks import HookedNetwork
from featx.networks.network import Network, NetworkConfig
from featx.networks.sources.base import Source, Weights
from featx.networks.sources.catalog import list_models
from featx.networks.tapping import Tap

SIZE = 64


class Cut(nn.Module):
    """A network whose path depends on values: torch.fx cannot trace it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.relu = nn.ReLU(inplace=True)
        self.dead = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.relu(self.conv(x))
        vector = maps.mean((2, 3))
        if vector.shape[1] > 4 or (not vector.is_meta and bool(vector.sum() < -1)):
            vector = self.dead(vector)
        vector += 1
        return self.head(vector)


class Bare(nn.Module):
    """Functions alone, one of them in place, and a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((3, 1, 1), -2.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scaled = x * self.scale
        rectified = torch.nn.functional.relu(scaled, inplace=True)
        return rectified.add_(1).flatten(1)


def tap(plan: NetworkConfig, name: str, pooling: str = "flatten") -> Tap:
    layer = plan.table.find(name)
    return Tap(layer, pooling, plan.table.recording.nodes[layer.index].names)


def run(plan: NetworkConfig, *names: str, batch: torch.Tensor | None = None) -> list[torch.Tensor]:
    batch = image() if batch is None else batch
    return list(plan.network().rows(batch, [tap(plan, name) for name in names]))


def few_layers(plan: NetworkConfig) -> list[str]:
    """First, middle and last layers; those that modules return."""
    modules = [layer.node for layer in plan.table if not layer.kind.islower()]
    return list(dict.fromkeys([modules[0], modules[len(modules) // 2], "-1", "logits"]))


def image(size: int = SIZE) -> torch.Tensor:
    generator = torch.manual_seed(1)
    return torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8, generator=generator)


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


@pytest.mark.parametrize("model", ["resnet18", "googlenet", "vit_b_16", "swin_t"])
def test_hooks_and_graph_agree(model: str) -> None:
    size = None if model in ("vit_b_16", "swin_t") else SIZE
    rows = []
    for how in ("graph", "hooks"):
        plan = find_config(model, weights="random", size=size, tap=how)
        names = few_layers(plan)
        rows.append(run(plan, *names, batch=image(plan.preprocessing.crop[0])))
    for graph, hooks in zip(*rows, strict=True):
        assert torch.allclose(graph, hooks, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", ["googlenet", "inception_v3"])
def test_auxiliary_heads_are_left_out(model: str) -> None:
    plan = find_config(model, weights="random", size=96)
    assert not any("aux" in layer.node.lower() for layer in plan.table)
    assert run(plan, "logits", batch=image(96))[0].shape == (2, 1000)


def test_a_network_that_cannot_be_traced_is_tapped_by_hooks() -> None:
    plan = find_config(Cut(), size=8)
    conv, relu, mean, logits = run(plan, "conv", "relu", "mean", "logits", batch=image(8))
    assert conv.min() < 0
    assert torch.equal(conv.relu(), relu)
    assert torch.allclose(relu.reshape(2, 4, -1).mean(2), mean, atol=1e-6)
    assert logits.shape == (2, 2)


def test_tap_graph_says_that_it_cannot_be_traced() -> None:
    with pytest.raises(ModelError, match="use tap='hooks'"):
        run(find_config(Cut(), size=8, tap="graph"), "conv", batch=image(8))


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


def test_wrong_weights_are_listed(tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "w.pth")
    plan = find_config("alexnet", weights=tmp_path / "w.pth", size=SIZE)
    with pytest.raises(WeightsError, match=r"not those of alexnet.*features.0.weight: not in the"):
        run(plan, "pool1")


def test_a_missing_head_does_not_matter_before_it(tmp_path: Path) -> None:
    state = torchvision.models.alexnet().state_dict()
    state.pop("classifier.6.weight")
    state["classifier.6.bias"] = torch.zeros(7)
    save_file(state, tmp_path / "w.safetensors")
    plan = find_config("alexnet", weights=tmp_path / "w.safetensors", size=SIZE)
    assert run(plan, "fc7")[0].shape == (2, 4096)
    with pytest.raises(WeightsError, match=r"classifier.6.weight: not in.*\(7,\) in the weights"):
        run(plan, "logits")


def test_attentions_projections_are_needed_though_never_called(tmp_path: Path) -> None:
    state = torchvision.models.swin_t().state_dict()
    del state["features.1.0.attn.qkv.weight"]
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"attn\.qkv\.weight"):
        run(find_config("swin_t", weights=tmp_path / "w.pth"), "stage1", batch=image(224))


def test_part_of_the_weights_by_pattern(tmp_path: Path) -> None:
    state = {k: torch.ones_like(v) for k, v in torchvision.models.alexnet().state_dict().items()}
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "w.pth")
    plan = find_config("alexnet", weights=tmp_path / "w.pth", load="features.0*", size=SIZE)
    network = plan.network()
    assert network.report.loaded == ["features.0.weight", "features.0.bias"]
    assert "features.3.weight" in network.report.new
    assert bool((network.module.features[0].weight == 1).all())
    assert network.module.features[3].weight.std() > 0


def test_random_weights_are_the_same_every_time() -> None:
    plans = [find_config("alexnet", weights="random", size=SIZE, tap=t) for t in ("graph", "hooks")]
    states = [plan.network().module.state_dict() for plan in plans]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_building_a_network_leaves_the_generator_alone() -> None:
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    find_config("squeezenet1_1", weights="random", size=SIZE).network()
    assert torch.equal(torch.rand(1), wanted)


@pytest.mark.usefixtures("bf16")
@pytest.mark.parametrize("how", ["graph", "hooks"])
def test_bf16_is_near_fp32(how: str) -> None:
    exact = run(find_config("resnet18", weights="random", size=SIZE), "-1")[0]
    plan = find_config("resnet18", weights="random", size=SIZE, precision="bf16", tap=how)
    assert 0 < (run(plan, "-1")[0].float() - exact).norm() / exact.norm() < 5e-2


def test_precision_that_the_hardware_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featx.networks.devices._has", lambda probe: False)
    with pytest.raises(ModelError, match="needs a processor with AMX or AVX512-BF16"):
        check_precision("bf16", "cpu")


def test_device_that_is_not_there() -> None:
    with pytest.raises(ModelError, match="Device 'cuda:77' is not in this machine"):
        find_device("cuda:77")


def cheap(source: Source, weights: Weights, *, skip: Any = False) -> nn.Module:
    """Network with random weights that are drawn quickly: initialisers take a minute."""
    with skip_initialization():
        network = source.build(weights).eval()
    generator = torch.manual_seed(0)
    for tensor in network.parameters():
        bound = (3 / max(1, tensor[0].numel())) ** 0.5 if tensor.dim() > 1 else 1.0
        tensor.data.uniform_(-bound, bound, generator=generator)
    return network


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", [info.name for info in list_models() if info.source == "torchvision"]
)
def test_every_network_of_torchvision(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featx.networks.network._build", cheap)
    needs_its_size = model.startswith(("vit_", "maxvit_"))
    size = None if needs_its_size else {"inception_v3": 80}.get(model, SIZE)
    plan = find_config(model, weights="random", size=size, tap="graph")
    taps = [tap(plan, name) for name in few_layers(plan)]
    network = Network(plan)
    with torch.inference_mode():
        maps = network.normalize(image(plan.preprocessing.crop[0])[:1])
        by_graph = network.runner(taps)(maps)
        by_hooks = HookedNetwork(network.module, taps)(maps)
    for graph, hooks, wanted in zip(by_graph, by_hooks, taps, strict=True):
        assert graph.shape == hooks.shape == (1, wanted.width)
        assert torch.allclose(graph, hooks, rtol=1e-4, atol=1e-5 * float(graph.abs().max()))
