from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from featx.networks.configs import find_config, list_layers
from featx.networks.receptive_fields import receptive_field


class Branched(nn.Module):
    """Convolutions with strides, dilation and padding, a shortcut, and pooling by a function."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 5, 2, 1)
        self.wide = nn.Conv2d(4, 4, 3, padding=2, dilation=2)
        self.even = nn.Conv2d(4, 4, 2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv1(x))
        x = torch.relu(x + self.wide(x))
        x = nn.functional.avg_pool2d(x, 3, 2, padding=1, ceil_mode=True)
        return torch.cat([self.even(x), self.even(x).mul(2)], 1)


def support(network: nn.Module, size: tuple[int, int], row: int, column: int) -> np.ndarray:
    """Pixels that an output depends on, by the gradient through positive weights."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(0.1)
    image = torch.ones(1, 3, *size, requires_grad=True)
    network(image)[0, 0, row, column].backward()
    return (image.grad[0, 0] != 0).numpy()  # type: ignore[index]


@pytest.mark.parametrize("size", [(41, 41), (46, 33)])
def test_a_box_is_what_the_gradient_reaches(size: tuple[int, int]) -> None:
    network = Branched().eval()
    layer = list_layers(network, size=size)[-1]
    field = receptive_field(network, layer, size)
    for row in range(len(field.down.low)):
        for column in range(len(field.across.low)):
            reached = np.argwhere(support(network, size, row, column))
            low, high = reached.min(axis=0), reached.max(axis=0) + 1
            expected = (slice(low[0], high[0]), slice(low[1], high[1]))
            assert field.box(row, column) == expected


@pytest.mark.parametrize(
    ("model", "layer", "expected"),
    [
        ("alexnet", "conv1", 11),
        ("alexnet", "pool2", 67),
        ("alexnet", "conv5", 163),
        ("alexnet", "pool5", 195),
        ("vgg11", "pool5", 150),
        ("resnet18", "stage1", 43),
        ("resnet18", "stage4", 435),
    ],
)
def test_published_sizes(model: str, layer: str, expected: int) -> None:
    """As computed by Araujo et al., "Computing Receptive Fields of CNNs", Distill 2019."""
    config = find_config(model, weights="random")
    network = config.network().module
    assert receptive_field(network, config.table.find(layer), (448, 448)).size == (expected,) * 2


def test_a_vector_depends_on_the_whole_image() -> None:
    config = find_config("featxnet", weights="random")
    field = receptive_field(config.network().module, config.table.find("fc7"), (112, 112))
    assert field.box(0, 0) == (slice(0, 112), slice(0, 112))


def test_gates_depend_on_the_whole_image() -> None:
    """Squeeze and excitation multiplies each map by what it finds in all of it."""
    config = find_config("efficientnet_b0", weights="random")
    field = receptive_field(config.network().module, config.table.find("block2"), (224, 224))
    assert field.size == (224, 224)
