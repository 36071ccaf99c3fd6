from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torchvision import models

from featx.networks.configs import find_config
from featx.networks.hooks import HookedNetwork
from tests.networks.conftest import Untraceable, few_layers, image, run, tap


def vision_transformer() -> nn.Module:
    return models.VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32)


def swin_transformer() -> nn.Module:
    return models.SwinTransformer([4, 4], 8, depths=[1, 1], num_heads=[2, 2], window_size=[2, 2])


def hooked(network: nn.Module, *names: str) -> HookedNetwork:
    config = find_config(network, size=8)
    return HookedNetwork(network, [tap(config, name) for name in names])


@pytest.mark.parametrize(
    "build", [models.resnet18, models.shufflenet_v2_x0_5, vision_transformer, swin_transformer]
)
def test_hooks_and_graph_agree(build: Callable[[], nn.Module]) -> None:
    network, rows = build().eval(), []
    for how in ("graph", "hooks"):
        config = find_config(network, size=32, tap=how)
        rows.append(run(config, *few_layers(config), batch=image(32)))
    for graph, hooks in zip(*rows, strict=True):
        assert torch.allclose(graph, hooks, rtol=1e-4, atol=1e-5)


def test_a_network_that_cannot_be_traced_is_tapped_by_hooks() -> None:
    config = find_config(Untraceable(), size=8)
    conv, relu, mean, logits = run(config, "conv", "relu", "mean", "logits", batch=image(8))
    assert conv.min() < 0
    assert torch.equal(conv.relu(), relu)
    assert torch.allclose(relu.reshape(2, 4, -1).mean(2), mean, atol=1e-6)
    assert logits.shape == (2, 2)


def test_a_module_called_twice_gives_each_call_a_layer() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            maps: torch.Tensor = self.conv(self.conv(x))
            return maps

    network, batch = Twice().eval(), torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        second, first = hooked(network, "conv_1", "conv")(batch)
        assert torch.equal(first, network.conv(batch).flatten(1))
        assert torch.equal(second, network(batch).flatten(1))


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 5, 8, 8)], ids=["stopped", "failed"])
def test_no_hook_stays_on_the_network(shape: tuple[int, ...]) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    runner = hooked(network, "0")
    if shape[1] == 3:
        runner(torch.zeros(shape))
    else:
        with pytest.raises(RuntimeError, match="channels"):
            runner(torch.zeros(shape))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_threads_get_the_rows_of_their_own_images() -> None:
    runner = hooked(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval(), "0", "1")
    batches = [torch.full((1, 3, 8, 8), float(i)) for i in range(32)]
    with torch.no_grad():
        expected = [runner(batch) for batch in batches]

    def rows_of(batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.no_grad():
            return runner(batch)

    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(rows_of, batches))
    assert all(torch.equal(*pair) for a, b in zip(expected, got) for pair in zip(a, b, strict=True))
