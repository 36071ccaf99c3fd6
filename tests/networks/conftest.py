"""Small networks, and the rows of their layers."""

from __future__ import annotations

import torch
from torch import nn

from featx.networks.network import NetworkConfig
from featx.networks.pooling import Tap

SIZE = 64


class Untraceable(nn.Module):
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


def tap(config: NetworkConfig, name: str, pooling: str = "flatten") -> Tap:
    layer = config.table.find(name)
    return Tap(layer, pooling, config.table.recording.nodes[layer.index].names)


def run(
    config: NetworkConfig, *names: str, batch: torch.Tensor | None = None
) -> list[torch.Tensor]:
    batch = image() if batch is None else batch
    return list(config.network().rows(batch, [tap(config, name) for name in names]))


def image(size: int = SIZE) -> torch.Tensor:
    generator = torch.manual_seed(1)
    return torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8, generator=generator)


def few_layers(config: NetworkConfig) -> list[str]:
    """First, middle and last layers; those that modules return."""
    modules = [layer.node for layer in config.table if not layer.kind.islower()]
    return list(dict.fromkeys([modules[0], modules[len(modules) // 2], "-1", "logits"]))
