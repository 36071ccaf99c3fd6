from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from featx.networks.layers import Layer
from featx.networks.pooling import choose_pooling, pool, pooled_width, tap_rows


def layer(shape: tuple[int, ...], axes: str, n_prefix: int = 0) -> Layer:
    n_features = int(np.prod(shape))
    return Layer("x", "x", "Conv2d", 0, shape, n_features, 0, axes, n_prefix, n_prefix > 0)


MAPS = layer((3, 4, 6), "chw")
LAST = layer((4, 6, 3), "hwc")
TOKENS = layer((25, 3), "tc", 1)
VECTOR = layer((7,), "c")


@pytest.fixture
def maps() -> torch.Tensor:
    return torch.randn(2, 3, 4, 6, generator=torch.manual_seed(0))


@pytest.mark.parametrize("pooling", ["gap", "max", "gem", "grid=2"])
def test_both_orders_of_axes_give_the_same(pooling: str, maps: torch.Tensor) -> None:
    rows = pool(maps, pooling, "chw", 0)
    assert torch.allclose(pool(maps.permute(0, 2, 3, 1), pooling, "hwc", 0), rows)
    assert rows.shape == (2, pooled_width(pooling, MAPS)) == (2, pooled_width(pooling, LAST))


def test_gap_is_the_mean_over_places(maps: torch.Tensor) -> None:
    assert np.allclose(pool(maps, "gap", "chw", 0), maps.numpy().mean((2, 3)), atol=1e-6)


def test_gem_is_the_third_power_mean_of_what_is_positive(maps: torch.Tensor) -> None:
    wanted = np.cbrt((maps.numpy().clip(1e-6) ** 3).mean((2, 3)))
    assert np.allclose(pool(maps, "gem", "chw", 0), wanted, rtol=1e-5)


def test_grid_of_one_is_gap(maps: torch.Tensor) -> None:
    assert torch.allclose(pool(maps, "grid=1", "chw", 0), pool(maps, "gap", "chw", 0))


def test_flatten_is_row_major_whatever_the_memory_format(maps: torch.Tensor) -> None:
    last = maps.contiguous(memory_format=torch.channels_last)
    assert np.array_equal(pool(last, "flatten", "chw", 0), maps.numpy().reshape(2, -1))


def test_class_token_is_the_first_and_not_in_the_mean() -> None:
    tokens = torch.arange(10.0).reshape(1, 5, 2)
    assert pool(tokens, "cls", "tc", 1).tolist() == [[0.0, 1.0]]
    assert pool(tokens, "gap", "tc", 1).tolist() == [[5.0, 6.0]]


@pytest.mark.parametrize(
    ("pooling", "what", "chosen"),
    [
        ("auto", MAPS, "flatten"),
        ("auto", TOKENS, "cls"),
        ("auto", VECTOR, "flatten"),
        ("gap", VECTOR, "flatten"),
        ("mean", TOKENS, "gap"),
        ("grid=3", MAPS, "grid=3"),
        ("grid=3", VECTOR, "flatten"),
    ],
)
def test_pooling_comes_to_one_word(pooling: str, what: Any, chosen: str) -> None:
    assert choose_pooling(pooling, what) == chosen


@pytest.mark.parametrize(
    ("pooling", "what", "message"),
    [
        ("cls", MAPS, "needs a class token"),
        ("grid=2", TOKENS, "needs feature maps"),
        ("median", MAPS, "must be one of"),
        ("grid=0", MAPS, "must be one of"),
        ("gap", layer((2, 3, 4, 5), "?"), "Use pooling='flatten'"),
    ],
)
def test_pooling_that_does_not_suit_is_refused(pooling: str, what: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose_pooling(pooling, what)


@pytest.mark.parametrize("must_copy", [False, True])
def test_rows_share_their_layers_memory_unless_a_copy_is_needed(must_copy: bool) -> None:
    maps = torch.zeros(2, 3, 4, 4)
    rows = tap_rows(maps, "flatten", "chw", 0, must_copy=must_copy)
    maps += 1
    assert bool((rows == 0).all()) == must_copy


def test_class_token_and_mean_stand_side_by_side() -> None:
    tokens = torch.arange(24.0).reshape(1, 4, 6)

    rows = pool(tokens, "cls+mean", "tc", 2)

    assert torch.equal(rows[:, :6], tokens[:, 0])
    assert torch.equal(rows[:, 6:], tokens[:, 2:].mean(1))
