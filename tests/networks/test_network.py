from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from featx._imports import skip_initialization
from featx.errors import WeightsError
from featx.networks.configs import find_config
from featx.networks.hooks import HookedNetwork
from featx.networks.network import Network
from featx.networks.sources.base import Source, Weights
from tests.networks.conftest import SIZE, few_layers, image, run, tap


@pytest.mark.parametrize("model", ["googlenet", "inception_v3"])
def test_auxiliary_heads_are_left_out(model: str) -> None:
    config = find_config(model, weights="random", size=96)
    assert not any("aux" in layer.node.lower() for layer in config.table)
    assert run(config, "logits", batch=image(96))[0].shape == (2, 1000)


def test_wrong_weights_are_listed(tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "w.pth")
    config = find_config("alexnet", weights=tmp_path / "w.pth", size=SIZE)
    with pytest.raises(WeightsError, match=r"not those of alexnet.*features.0.weight: not in the"):
        run(config, "pool1")


def test_a_missing_head_does_not_matter_before_it(tmp_path: Path) -> None:
    state = torchvision.models.alexnet().state_dict()
    state.pop("classifier.6.weight")
    state["classifier.6.bias"] = torch.zeros(7)
    save_file(state, tmp_path / "w.safetensors")
    config = find_config("alexnet", weights=tmp_path / "w.safetensors", size=SIZE)
    assert run(config, "fc7")[0].shape == (2, 4096)
    with pytest.raises(WeightsError, match=r"classifier.6.weight: not in.*got \(7,\)"):
        run(config, "logits")


def test_attentions_projections_are_needed_though_never_called(tmp_path: Path) -> None:
    state = torchvision.models.swin_t().state_dict()
    del state["features.1.0.attn.qkv.weight"]
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"attn\.qkv\.weight"):
        run(find_config("swin_t", weights=tmp_path / "w.pth"), "stage1", batch=image(224))


def test_part_of_the_weights_by_pattern(tmp_path: Path) -> None:
    state = {k: torch.ones_like(v) for k, v in torchvision.models.alexnet().state_dict().items()}
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "w.pth")
    config = find_config("alexnet", weights=tmp_path / "w.pth", load="features.0*", size=SIZE)
    network = config.network()
    assert network.report.loaded == ["features.0.weight", "features.0.bias"]
    assert "features.3.weight" in network.report.new
    assert bool((network.module.features[0].weight == 1).all())
    assert network.module.features[3].weight.std() > 0


def test_random_weights_are_the_same_every_time() -> None:
    configs = [
        find_config("alexnet", weights="random", size=SIZE, tap=t) for t in ("graph", "hooks")
    ]
    states = [config.network().module.state_dict() for config in configs]
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
    config = find_config("resnet18", weights="random", size=SIZE, precision="bf16", tap=how)
    assert 0 < (run(config, "-1")[0].float() - exact).norm() / exact.norm() < 5e-2


FAMILIES = [  # The smallest of each: the others repeat its blocks.
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet",
    "inception_v3", "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small",
    "regnet_x_400mf", "regnet_y_400mf", "resnet18", "resnet50", "resnext50_32x4d",
    "shufflenet_v2_x0_5", "squeezenet1_0", "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11",
    "vgg11_bn", "vit_b_16", "wide_resnet50_2",
]  # fmt: skip


def cheap(source: Source, weights: Weights, *, skip: Any = False) -> nn.Module:
    """Network with random weights that are drawn quickly: initializers take a minute."""
    with skip_initialization():
        network = source.build(weights).eval()
    generator = torch.manual_seed(0)
    for tensor in network.parameters():
        bound = (3 / max(1, tensor[0].numel())) ** 0.5 if tensor.dim() > 1 else 1.0
        tensor.data.uniform_(-bound, bound, generator=generator)
    return network


@pytest.mark.slow
@pytest.mark.parametrize("model", FAMILIES)
def test_every_family_of_torchvision(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featx.networks.network._build", cheap)
    needs_its_size = model.startswith(("vit_", "maxvit_"))
    size = None if needs_its_size else {"inception_v3": 80}.get(model, SIZE)
    config = find_config(model, weights="random", size=size, tap="graph")
    taps = [tap(config, name) for name in few_layers(config)]
    network = Network(config)
    with torch.inference_mode():
        maps = network.normalize(image(config.preprocessing.crop[0])[:1])
        by_graph = network.runner(taps)(maps)
        by_hooks = HookedNetwork(network.module, taps)(maps)
    for graph, hooks, wanted in zip(by_graph, by_hooks, taps, strict=True):
        assert graph.shape == hooks.shape == (1, wanted.width)
        assert torch.allclose(graph, hooks, rtol=1e-4, atol=1e-5 * float(graph.abs().max()))


def test_normalizing_leaves_deep_pixels_as_they_are() -> None:
    network = find_config("alexnet", weights="random", size=64).network()
    pixels = torch.rand(2, 3, 64, 64) * 255
    before = pixels.clone()
    deep = network.normalize(pixels)
    assert torch.equal(pixels, before)
    shallow = network.normalize(pixels.round().to(torch.uint8))
    assert (deep - shallow).abs().max() < 0.5 / 255 / 0.22
