from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from featx.extractors.cnn import CNNFeatures
from featx.networks.axes import axes_of, is_of_images, label_input, note_axes, settle_axes
from featx.networks.configs import list_layers
from featx.networks.layers import LayerTable
from featx.networks.tracing import record

timm = pytest.importorskip("timm")


def maps(*shape: int) -> torch.Tensor:
    """Images as a network takes them."""
    value = torch.zeros(shape or (2, 5, 6, 7))
    label_input(value)
    return value


def after(source: torch.Tensor, name: str, *arguments: Any) -> torch.Tensor:
    """What a method of a tensor gives, its axes noted as when a network runs."""
    value: torch.Tensor = getattr(source, name)(*arguments)
    note_axes(value, name, (source, *arguments), lambda other: getattr(other, name)(*arguments))
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
    tapped = list_layers(model).find(layer)
    assert (tapped.axes, tapped.n_prefix) == (axes, n_prefix)


@pytest.mark.parametrize(
    ("order", "axes"), [((0, 2, 3, 1), "hwc"), ((0, -2, -1, 1), "hwc"), ((0, 3, 2, 1), "whc")]
)
def test_permutation_moves_the_axes_and_its_inverse_puts_them_back(
    order: tuple[int, ...], axes: str
) -> None:
    moved = after(maps(), "permute", *order)
    inverse = torch.tensor([index % 4 for index in order]).argsort().tolist()
    assert axes_of(moved) == axes
    assert axes_of(after(moved, "permute", *inverse)) == "chw"


def test_flattened_maps_become_tokens_by_a_swap_and_maps_again_by_a_reshape() -> None:
    flat = after(maps(), "flatten", 2)
    tokens = after(flat, "transpose", -1, 1)
    again = after(tokens, "reshape", 2, 6, 7, 5)
    assert [axes_of(value) for value in (flat, tokens, again)] == ["ct", "tc", "hwc"]
    assert axes_of(after(again, "permute", 0, 3, 1, 2)) == "chw"


def test_heads_split_from_channels_and_merged_again_are_channels() -> None:
    tokens = after(after(maps(2, 8, 3, 3), "flatten", 2), "transpose", 1, 2)
    heads = after(after(tokens, "reshape", 2, 9, 4, 2), "transpose", 1, 2)
    merged = after(after(heads, "transpose", 1, 2), "reshape", 2, 9, 8)
    assert (axes_of(heads), axes_of(merged)) == ("?", "tc")


def test_queries_keys_and_values_are_no_images() -> None:
    tokens = after(after(maps(3, 12, 3, 3), "flatten", 2), "transpose", 1, 2)
    stacked = after(after(tokens, "reshape", 3, 9, 3, 2, 2), "permute", 2, 0, 3, 1, 4)
    assert stacked.shape[0] == len(tokens)
    assert not is_of_images(stacked)
    assert is_of_images(after(stacked, "select", 0, 0))


def test_windows_of_maps_have_no_known_axes() -> None:
    cut = after(maps(2, 5, 6, 6), "reshape", 2, 5, 2, 3, 2, 3)
    windows = after(after(cut, "permute", 0, 2, 4, 1, 3, 5), "reshape", 8, 5, 9)
    assert axes_of(after(windows, "reshape", 2, 4, 5, 9)) == "?"


def test_sums_over_everything_but_channels_are_vectors() -> None:
    assert axes_of(after(maps(), "mean", (2, 3))) == "c"


def test_what_hides_its_axes_inside_takes_those_of_its_input() -> None:
    source, value = after(maps(), "permute", 0, 2, 3, 1), torch.zeros(2, 6, 7, 5)
    settle_axes(value, source)
    assert axes_of(value) == "hwc"


def test_axes_are_not_settled_across_a_change_of_shape() -> None:
    value = torch.zeros(2, 3, 3, 10)
    settle_axes(value, after(maps(), "permute", 0, 2, 3, 1))
    assert axes_of(value) == "?"


def test_a_step_that_cuts_windows_is_unknown_though_a_size_recurs() -> None:
    value, source = torch.zeros(2, 8, 4, 8), maps(2, 8, 4, 16)
    note_axes(value, "WindowPartition", (source,))
    assert axes_of(value) == "?"
    note_axes(value, "BlurPool2d", (source,))
    assert axes_of(value) == "chw"


class Undeclared(nn.Module):
    """A single step that moves channels to the end without saying so."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :, ::2].permute(0, 2, 3, 1)


def test_axes_that_are_not_known_are_not_pooled() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), Undeclared()).eval()
    assert list_layers(network, size=8)[-1].axes == "?"
    with pytest.raises(ValueError, match="Use pooling='flatten'"):
        CNNFeatures(network, "1", size=8, pooling="gap").fit(np.zeros((1, 8, 8, 3), np.uint8))


def encoder(n_registers: int, *, has_class_token: bool) -> nn.Module:
    return timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2, reg_tokens=n_registers,
        class_token=has_class_token, global_pool="avg", qk_norm=True, num_classes=5,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("n_registers", "has_class_token"), [(0, True), (4, True), (4, False), (0, False)]
)
def test_class_and_register_tokens_are_known_in_every_block(
    n_registers: int, has_class_token: bool
) -> None:
    network = encoder(n_registers, has_class_token=has_class_token).eval()
    table = LayerTable("encoder", record(network, (32, 32)))
    for name in ("block1", "blocks.0.attn", "block2", "norm"):
        layer = table.find(name)
        expected = ("tc", n_registers + has_class_token, has_class_token)
        assert (layer.axes, layer.n_prefix, layer.has_class_token) == expected


def test_stages_of_a_pyramid_of_tokens_are_maps() -> None:
    network = timm.models.PyramidVisionTransformerV2(
        depths=(1, 1, 1, 1), embed_dims=(8, 16, 24, 32), num_heads=(1, 2, 3, 4), num_classes=5
    )
    table = list_layers(network, size=64)
    stages = [layer for layer in table if layer.node in [f"stages.{i}" for i in range(4)]]
    assert [layer.axes for layer in stages] == ["chw"] * 4
    assert [layer.n_pooled for layer in stages] == [8, 16, 24, 32]


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
        (lambda x: x.flatten(2).mT, "tc"),
    ],
)
def test_every_way_to_reorder_dimensions_is_followed(
    function: Callable[[torch.Tensor], torch.Tensor], axes: str
) -> None:
    assert list_layers(Reordering(function), size=8)[-1].axes == axes
