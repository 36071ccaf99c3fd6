"""JPEGs without Pillow: Pillow's pixels, and nothing that Pillow would refuse or turn."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featx.errors import ImageError
from featx.images import MAX_PIXELS, decode
from featx.jpegs import decode_jpeg

RNG = np.random.default_rng(0)
PICTURE = np.kron(RNG.integers(0, 256, (9, 7, 3), np.uint8), np.ones((5, 5, 1), np.uint8))


def encoded(picture: np.ndarray = PICTURE, mode: str = "RGB", **how: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(file, "JPEG", **how)
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
def test_odd_sizes_and_grey_are_pillows(shape: tuple[int, int], mode: str) -> None:
    data = encoded(RNG.integers(0, 256, (*shape, 3), np.uint8), mode)
    np.testing.assert_array_equal(decode_jpeg(data, MAX_PIXELS), by_pillow(data))


def test_upright_camera_pictures_are_taken_and_turned_ones_left() -> None:
    assert decode_jpeg(encoded(exif=turned(1)), MAX_PIXELS) is not None
    for orientation in range(2, 9):
        assert decode_jpeg(encoded(exif=turned(orientation)), MAX_PIXELS) is None


def test_a_turn_told_by_xmp_is_left_to_pillow() -> None:
    xmp = b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    data = encoded(xmp=xmp)
    assert decode_jpeg(data, MAX_PIXELS) is None
    assert decode(data).shape == PICTURE.transpose(1, 0, 2).shape


def test_other_colour_spaces_are_left_to_pillow() -> None:
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
        for place in generator.integers(2, len(data), 3):
            broken[place] = generator.integers(256)
        pixels = decode_jpeg(bytes(broken), MAX_PIXELS)
        if pixels is not None:
            np.testing.assert_array_equal(pixels, by_pillow(bytes(broken)))


def test_too_many_pixels_are_left_to_pillow() -> None:
    assert decode_jpeg(encoded(), PICTURE[..., 0].size) is not None
    assert decode_jpeg(encoded(), PICTURE[..., 0].size - 1) is None


def test_real_pictures_are_pillows(shared: Callable[[str], Path]) -> None:
    files = sorted(shared("data").rglob("*.jpg"))[::40]
    taken = 0
    for path in files:
        data = path.read_bytes()
        pixels = decode_jpeg(data, MAX_PIXELS)
        taken += pixels is not None
        if pixels is not None:
            np.testing.assert_array_equal(pixels, by_pillow(data))
    assert taken > 0.95 * len(files) > 100
