from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from featx.data.images import decode
from featx.data.resizing import resize_crop
from featx.networks.preprocessing import Preprocessing, _center_window, resized_shape


def by_pillow(pixels: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    how = Image.Resampling[interpolation.upper()]
    return np.asarray(Image.fromarray(pixels).resize(size[::-1], how))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (128, 112), (600, 500)])
def test_equals_pillow_on_photographs(
    resize: int, crop: int, interpolation: str, photos: list[str]
) -> None:
    for path in photos[:4]:
        pixels = decode(path)
        size = resized_shape(pixels.shape[:2], resize)
        window = _center_window(size, (crop, crop))
        expected = by_pillow(pixels, size, interpolation)[window]
        assert np.array_equal(resize_crop(pixels, size, interpolation, window), expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 3), (7, 1000), (31, 47)])
@pytest.mark.parametrize("size", [(1, 1), (5, 9), (64, 64), (31, 20), (7, 47)])
def test_equals_pillow_on_noise_of_odd_sizes(shape: tuple[int, int], size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    window = (slice(0, size[0]), slice(0, size[1]))
    expected = by_pillow(pixels, size, "bilinear")
    assert np.array_equal(resize_crop(pixels, size, "bilinear", window), expected)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("shape", [(100, 37), (100, 38), (60, 50), (131, 109), (50, 60), (100, 90)])
@pytest.mark.parametrize("size", [(97, 36), (36, 36), (23, 51), (40, 40), (40, 60), (80, 80)])
def test_passes_are_in_pillows_order(
    shape: tuple[int, int], size: tuple[int, int], interpolation: str
) -> None:
    pixels = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (*shape, 3))
    window = (slice(2, size[0] - 1), slice(3, size[1]))
    expected = by_pillow(pixels, size, interpolation)[window]
    assert np.array_equal(resize_crop(pixels, size, interpolation, window), expected)


def test_a_window_is_a_part_of_the_whole(photos: list[str]) -> None:
    pixels = decode(photos[0])
    whole = resize_crop(pixels, (100, 120), "bicubic", (slice(0, 100), slice(0, 120)))
    part = resize_crop(pixels, (100, 120), "bicubic", (slice(11, 70), slice(5, 100)))
    assert np.array_equal(part, whole[11:70, 5:100])


def test_pixels_that_are_no_whole_array_are_taken_too() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)[::2, ::-1]
    expected = by_pillow(np.ascontiguousarray(pixels), (10, 30), "bilinear")
    got = Preprocessing(resize=(10, 30), crop=(10, 30)).prepare(pixels)
    assert np.array_equal(got, expected)
