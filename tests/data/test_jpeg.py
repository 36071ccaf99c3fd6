"""JPEGs without Pillow: Pillow's pixels, and nothing that Pillow would refuse or turn."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featx.data.images import MAX_PIXELS, decode
from featx.data.jpeg import decode_jpeg, reduction
from featx.errors import ImageError

RNG = np.random.default_rng(0)
IMAGE = np.kron(RNG.integers(0, 256, (9, 7, 3), np.uint8), np.ones((5, 5, 1), np.uint8))


def encoded(image: np.ndarray = IMAGE, mode: str = "RGB", **how: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).convert(mode).save(file, "JPEG", **how)
    return file.getvalue()


def by_pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image.convert("RGB"))


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("quality", [1, 50, 75, 100])
@pytest.mark.parametrize("how", [{}, {"progressive": True}, {"optimize": True}])
def test_pixels_are_pillows(subsampling: str, quality: int, how: dict[str, bool]) -> None:
    data = encoded(subsampling=subsampling, quality=quality, **how)
    np.testing.assert_array_equal(decode_jpeg(data, MAX_PIXELS), by_pillow(data))


@pytest.mark.parametrize("shape", [(1, 1), (1, 17), (33, 1), (8, 8), (17, 31)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_odd_sizes_and_gray_are_pillows(shape: tuple[int, int], mode: str) -> None:
    data = encoded(RNG.integers(0, 256, (*shape, 3), np.uint8), mode)
    np.testing.assert_array_equal(decode_jpeg(data, MAX_PIXELS), by_pillow(data))


def test_upright_camera_images_are_taken_and_turned_ones_left() -> None:
    assert decode_jpeg(encoded(exif=turned(1)), MAX_PIXELS) is not None
    for orientation in range(2, 9):
        assert decode_jpeg(encoded(exif=turned(orientation)), MAX_PIXELS) is None


def test_a_turn_told_by_xmp_is_left_to_pillow() -> None:
    xmp = b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    data = encoded(xmp=xmp)
    assert decode_jpeg(data, MAX_PIXELS) is None
    assert decode(data).shape == IMAGE.transpose(1, 0, 2).shape


def test_other_color_spaces_are_left_to_pillow() -> None:
    assert decode_jpeg(encoded(mode="CMYK"), MAX_PIXELS) is None


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.999])
def test_cut_files_are_left_to_pillow_which_refuses_them(share: float) -> None:
    data = encoded(quality=95)
    data = data[: int(len(data) * share)]
    assert decode_jpeg(data, MAX_PIXELS) is None
    with pytest.raises(ImageError):
        decode(data)


def test_whatever_is_damaged_reads_as_pillow_reads_it() -> None:
    data = encoded(quality=95)
    generator = np.random.default_rng(1)
    for _ in range(300):
        broken = bytearray(data)
        for index in generator.integers(2, len(data), 3):
            broken[index] = generator.integers(256)
        pixels = decode_jpeg(bytes(broken), MAX_PIXELS)
        if pixels is not None:
            np.testing.assert_array_equal(pixels, by_pillow(bytes(broken)))


def test_too_many_pixels_are_left_to_pillow() -> None:
    assert decode_jpeg(encoded(), IMAGE[..., 0].size) is not None
    assert decode_jpeg(encoded(), IMAGE[..., 0].size - 1) is None


def test_real_images_are_pillows(shared: Callable[[str], Path]) -> None:
    files = sorted(shared("data").rglob("*.jpg"))[::40]
    taken = 0
    for path in files:
        data = path.read_bytes()
        pixels = decode_jpeg(data, MAX_PIXELS)
        taken += pixels is not None
        if pixels is not None:
            np.testing.assert_array_equal(pixels, by_pillow(data))
    assert taken > 0.95 * len(files) > 100


def drafted(data: bytes, factor: int) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        image.draft(None, (image.width // factor, image.height // factor))
        return np.array(image.convert("RGB"))


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
@pytest.mark.parametrize("shape", [(96, 128), (97, 131), (161, 64), (65, 400)])
@pytest.mark.parametrize("least_px", [8, 16, 30, 32, 48, 200])
@pytest.mark.parametrize("how", [{}, {"progressive": True}, {"exif": turned(1)}])
def test_reduced_pixels_are_those_that_pillow_drafts(
    subsampling: str, shape: tuple[int, int], least_px: int, how: dict[str, object]
) -> None:
    """The least size that leaves the short side long enough, and Pillow's pixels at it."""
    image = np.asarray(Image.fromarray(IMAGE).resize(shape[::-1], Image.Resampling.BICUBIC))
    data = encoded(image, subsampling=subsampling, **how)
    pixels = decode_jpeg(data, MAX_PIXELS, least_px)
    assert pixels is not None
    factor = reduction(*shape, least_px)
    assert pixels.shape[:2] == tuple(-(-side // factor) for side in shape)
    assert factor == 1 or min(pixels.shape[:2]) >= least_px
    assert factor == 8 or min(shape) // (2 * factor) < least_px
    np.testing.assert_array_equal(pixels, drafted(data, factor))


def test_a_reduced_image_is_turned_too_and_others_stay_whole() -> None:
    """What Pillow decodes is reduced alike; a PNG is not."""
    image = np.asarray(Image.fromarray(IMAGE).resize((160, 96)))
    data = encoded(image, exif=turned(6))
    assert decode(data).shape == (160, 96, 3)
    assert decode(data, least_px=40).shape == (80, 48, 3)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    assert decode(file.getvalue(), least_px=40).shape == (96, 160, 3)


def test_an_image_that_is_too_large_is_refused_whatever_it_may_be_reduced_to() -> None:
    image = np.asarray(Image.fromarray(IMAGE).resize((160, 96)))
    for how in ({}, {"exif": turned(6)}):
        with pytest.raises(ImageError, match="160x96 px is over max_pixels=1000"):
            decode(encoded(image, **how), max_pixels=1000, least_px=12)
