from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from featx.networks.axes import AXES, note_axes, settle_axes
from featx.networks.configs import list_layers


def maps(axes: str = "chw", *, shape: tuple[int, ...] = (2, 5, 6, 7)) -> torch.Tensor:
    """Tensor whose axes are known."""
    value = torch.zeros(shape)
    setattr(value, AXES, axes)
    return value


def axes_after(source: torch.Tensor, name: str, *arguments: int) -> torch.Tensor:
    """What a method of a tensor gives, its axes noted as when a network runs."""
    value: torch.Tensor = getattr(source, name)(*arguments)
    note_axes(value, source, name, arguments)
    return value


@pytest.mark.parametrize(
    ("model", "layer", "axes", "n_prefix"),
    [
        ("vit_b_16", "conv_proj", "chw", 0),
        ("vit_b_16", "reshape", "ct", 0),
        ("vit_b_16", "block3", "tc", 1),
        ("vit_b_16", "getitem", "c", 0),
        ("swin_t", "features.0.0", "chw", 0),
        ("swin_t", "features.1.0.attn", "hwc", 0),
        ("swin_t", "stage4", "hwc", 0),
        ("convnext_tiny", "block1", "chw", 0),
        ("convnext_tiny", "features.1.0.block.2", "hwc", 0),
        ("shufflenet_v2_x1_0", "stage2", "chw", 0),
        ("maxvit_t", "block1", "chw", 0),
    ],
)
def test_axes_are_known(model: str, layer: str, axes: str, n_prefix: int) -> None:
    found = list_layers(model).find(layer)
    assert (found.axes, found.n_prefix) == (axes, n_prefix)


@pytest.mark.parametrize(
    ("order", "axes"), [((0, 2, 3, 1), "hwc"), ((0, -2, -1, 1), "hwc"), ((0, 1, 3, 2), "cwh")]
)
def test_permutation_moves_the_axes_and_its_inverse_puts_them_back(
    order: tuple[int, ...], axes: str
) -> None:
    moved = axes_after(maps(), "permute", *order)
    inverse = torch.tensor([index % 4 for index in order]).argsort().tolist()
    assert getattr(moved, AXES) == axes
    assert getattr(axes_after(moved, "permute", *inverse), AXES) == "chw"


def test_flattened_maps_become_tokens_by_a_swap() -> None:
    flat = axes_after(maps(), "flatten", 2)
    assert getattr(flat, AXES) == "ct"
    assert getattr(axes_after(flat, "transpose", -1, 1), AXES) == "tc"


def test_sums_over_everything_but_channels_are_vectors() -> None:
    vector = maps().mean((2, 3))
    note_axes(vector, maps(), "mean", ((2, 3),))
    assert getattr(vector, AXES) == "c"


def test_what_hides_its_axes_inside_takes_those_of_its_input() -> None:
    source, value = maps("hwc"), maps("?")
    settle_axes(value, source)
    assert getattr(value, AXES) == "hwc"
    other = maps("chw", shape=(2, 5, 3, 3))
    settle_axes(other, source)
    assert getattr(other, AXES) == "chw"


class Reordering(nn.Module):
    """Maps whose dimensions a function orders anew."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.function = function

    def extra_repr(self) -> str:
        return str(id(self.function))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self.conv(x))


@pytest.mark.parametrize(
    ("function", "axes"),
    [
        (lambda x: x.movedim(1, -1), "hwc"),
        (lambda x: torch.moveaxis(x, (2, 3), (1, 2)), "hwc"),
        (lambda x: torch.permute(x, dims=(0, 2, 3, 1)), "hwc"),
        (lambda x: x.flatten(2).swapaxes(1, 2), "tc"),
        (lambda x: x.flatten(2).transpose(dim0=1, dim1=2), "tc"),
        (lambda x: x.flatten(2).swapdims(1, 2), "tc"),
        (lambda x: x.flatten(2).mT, "?"),
    ],
)
def test_every_way_to_reorder_dimensions_is_followed(
    function: Callable[[torch.Tensor], torch.Tensor], axes: str
) -> None:
    assert list_layers(Reordering(function), size=8)[-1].axes == axes
