from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from skimage.feature import hog

from featx.data.images import GRAY_WEIGHTS
from featx.extractors import hog_kernel as kernel

NORMS = ("L1", "L1-sqrt", "L2", "L2-Hys")


def image(seed: int = 0, height: int = 13, width: int = 17) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def gradients(pixels: np.ndarray, *, is_color: bool = True, is_root: bool = False) -> np.ndarray:
    """Gradients down and right by the kernel."""
    out = np.empty((2, *pixels.shape[:2]))
    kernel.gradients_of(pixels.reshape(len(pixels), -1), is_color, is_root, *out)
    return out


def by_hand(channel: np.ndarray) -> np.ndarray:
    """Central differences, none across the border."""
    out = np.zeros((2, *channel.shape))
    out[0, 1:-1] = channel[2:] - channel[:-2]
    out[1, :, 1:-1] = channel[:, 2:] - channel[:, :-2]
    return out


def both_ways(pixels: np.ndarray, norm: int = kernel.L2, orientations: int = 9) -> list[Any]:
    """Features from integers, and from gradients."""
    rows = np.full((2, 2 * 3 * 2 * 2 * orientations), np.nan, np.float32)
    shape = (4, 2, orientations, norm)
    table = kernel.bin_table(orientations)
    kernel.hog_of_integers(pixels.reshape(len(pixels), -1), table, *shape, rows[0])
    down, right = gradients(pixels)
    bins = kernel.bins_of(down, right, orientations)
    kernel.hog_of_gradients(down, right, bins, *shape, rows[1])
    return list(rows)


@pytest.mark.parametrize("is_root", [False, True])
def test_gradients_in_color_are_those_of_the_strongest_channel(is_root: bool) -> None:
    pixels = image()
    values = np.sqrt(pixels, dtype=float) if is_root else pixels.astype(float)
    channels = np.stack([by_hand(values[..., i]) for i in range(3)])

    strongest = np.hypot(*channels.swapaxes(0, 1)).argmax(0)

    expected = np.take_along_axis(channels, strongest[None, None], 0)[0]
    np.testing.assert_allclose(gradients(pixels, is_root=is_root), expected, atol=1e-12)


def test_gradients_in_gray_are_those_of_luminance() -> None:
    pixels = image()

    luminance = pixels @ (np.array(GRAY_WEIGHTS) / sum(GRAY_WEIGHTS))

    components = gradients(pixels, is_color=False)
    np.testing.assert_allclose(components, by_hand(luminance), atol=1e-10)


def test_first_of_equally_strong_channels_counts() -> None:
    pixels = np.zeros((3, 3, 3), np.uint8)
    pixels[1, 2, 0] = pixels[2, 1, 1] = 90  # Red grows to the right, green downwards.

    assert gradients(pixels)[:, 1, 1].tolist() == [0, 90]


@pytest.mark.parametrize("orientations", [1, 4, 9, 255])
def test_table_holds_the_bin_of_every_gradient_and_of_its_opposite(orientations: int) -> None:
    table = kernel.bin_table(orientations).reshape(511, 511)

    np.testing.assert_array_equal(table, table[::-1, ::-1])
    steps = np.arange(-255.0, 256)
    angles = np.degrees(np.arctan2(steps[:, None], steps)) % 180
    inner = np.abs(angles * orientations / 180 - np.rint(angles * orientations / 180)) > 1e-9
    expected = np.floor(angles * orientations / 180)
    np.testing.assert_array_equal(table[inner], expected[inner])


def test_angle_on_an_edge_has_the_upper_bin_and_level_the_first() -> None:
    down, right = np.array([0.0, 1.0, 1.0, 1.0, 0.0]), np.array([1.0, 1.0, 0.0, -1.0, -1.0])

    assert kernel.bins_of(down, right, 4).tolist() == [0, 1, 2, 3, 0]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("norm", range(4))
def test_both_ways_equal_skimage_in_every_norm(norm: int, seed: int) -> None:
    pixels = image(seed)

    rows = both_ways(pixels, norm)

    expected = hog(pixels, 9, (4, 4), (2, 2), block_norm=NORMS[norm], channel_axis=-1)
    for row in rows:
        np.testing.assert_allclose(row, expected, rtol=0, atol=1e-5)


def test_pixels_that_fill_no_cell_are_left_out() -> None:
    # The last row and column of whole cells see the pixel after them, and no further.
    pixels, other = image(height=14, width=18), image(1, height=14, width=18)
    other[:13, :17] = pixels[:13, :17]

    for first, second in zip(both_ways(pixels), both_ways(other), strict=True):
        np.testing.assert_array_equal(first, second)


def test_clipped_norm_bounds_one_strong_edge() -> None:
    pixels = np.zeros((13, 17, 3), np.uint8)
    pixels[:, 6:] = 255

    clipped, _ = both_ways(pixels, norm=3)
    plain, _ = both_ways(pixels, norm=kernel.L2)

    votes = np.count_nonzero(plain[:36])
    assert clipped[:36].max() == pytest.approx(1 / np.sqrt(votes), rel=1e-3)
    np.testing.assert_allclose((plain.reshape(6, 36) ** 2).sum(1)[[0, 3]], 1, rtol=1e-5)
