"""TIFFs of every kind against tifffile, which wrote them, and OpenCV."""

from __future__ import annotations

import io
from importlib import import_module
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from tifffile.tifffile import CompressionCodec

from featx.data.images import Images, decode
from featx.data.reading import make_reading
from featx.data.tiff import TooLargeError, check_size, is_tiff, join_pages, read_tiff, upright
from featx.errors import ImageError, PagesWarning

RANDOM = np.random.default_rng(0)


def values_of(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    if np.dtype(dtype).kind == "f":
        return RANDOM.random(shape).astype(dtype)
    info = np.iinfo(dtype)
    return RANDOM.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)


def written(values: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


def read_back(data: bytes) -> np.ndarray:
    """What tifffile reads, as pixels of (h, w, 3)."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        values = page.asarray()
        if page.axes == "SYX":
            values = np.moveaxis(values, 0, -1)
        is_white = int(page.photometric) == 0
    info = None if values.dtype.kind == "f" else np.iinfo(values.dtype)
    low, high = (0.0, 1.0) if info is None else (float(info.min), float(info.max))
    pixels = (values.astype(np.float64) - low) * 255 / (high - low)
    pixels = 255 - pixels if is_white else pixels
    return np.repeat(pixels[:, :, None], 3, 2) if pixels.ndim == 2 else pixels


GRAY, COLOR = (20, 28), (20, 28, 3)
VARIANTS: dict[str, tuple[tuple[int, ...], Any, dict[str, Any]]] = {
    f"{np.dtype(dtype).name} {name}": (shape, dtype, options)
    for dtype in (np.uint8, np.uint16, np.int16, np.uint32, np.float32, np.float64)
    for name, shape, options in (
        ("gray", GRAY, {}),
        ("gray, big endian", GRAY, {"byteorder": ">"}),
        ("gray, BigTIFF", GRAY, {"bigtiff": True}),
        ("gray, tiled", GRAY, {"tile": (16, 16)}),
        ("gray, deflate", GRAY, {"compression": "zlib"}),
        ("RGB", COLOR, {"photometric": "rgb"}),
        ("RGB, tiled", COLOR, {"photometric": "rgb", "tile": (16, 16)}),
        ("RGB, planar", (3, 20, 28), {"photometric": "rgb", "planarconfig": "separate"}),
    )
}
VARIANTS |= {
    f"{np.dtype(dtype).name} MinIsWhite": (GRAY, dtype, {"photometric": "miniswhite"})
    for dtype in (np.uint8, np.uint16)
}
VARIANTS |= {
    f"{np.dtype(dtype).name} {compression}": (
        COLOR,
        dtype,
        {"photometric": "rgb", "compression": compression, "predictor": predictor},
    )
    for dtype in (np.uint8, np.uint16)
    for compression, predictor in (("lzw", False), ("lzw", True), ("zstd", False), ("lzma", False))
}
NEEDS_CODECS = ("lzw", "zstd", "lzma")


@pytest.mark.parametrize("name", VARIANTS)
def test_a_tiff_is_read_as_tifffile_reads_it(name: str) -> None:
    if any(word in name for word in NEEDS_CODECS):
        pytest.importorskip("imagecodecs", reason="the extra science is not installed")
    shape, dtype, options = VARIANTS[name]
    data = written(values_of(shape, dtype), **options)
    pixels = decode(data, value_range="dtype")
    assert pixels.dtype == (np.uint8 if dtype is np.uint8 else np.float32)
    np.testing.assert_allclose(pixels, read_back(data), rtol=0, atol=3e-5)


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_gray_of_16_bits_is_as_opencv_reads_it(photometric: str) -> None:
    data = written(values_of(GRAY, np.uint16), photometric=photometric)
    seen = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_allclose(decode(data)[:, :, 0], seen, atol=1)


def test_planar_color_of_16_bits_is_as_opencv_reads_it() -> None:
    options = {"photometric": "rgb", "planarconfig": "separate"}
    data = written(values_of((3, 20, 28), np.uint16), **options)
    seen = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    np.testing.assert_allclose(decode(data), seen, atol=1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_tiffs_are_turned_as_shallow_ones_are(orientation: int) -> None:
    values = RANDOM.integers(0, 256, (6, 8), dtype=np.uint8)
    tag = [(274, "H", 1, orientation, True)]
    shallow, deep = (written(it, extratags=tag) for it in (values, values.astype(np.uint16) * 257))
    np.testing.assert_allclose(decode(deep), decode(shallow), atol=1e-4)


def test_twelve_bits_in_sixteen_have_4095_as_white() -> None:
    pytest.importorskip("imagecodecs", reason="the extra science is not installed")
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    packed = np.unpackbits(values.astype(">u2").view(np.uint8).reshape(-1, 2), axis=1)[:, 4:]
    strip = np.packbits(packed.reshape(-1)).tobytes()
    data = written(
        iter([strip]), shape=(64, 64), dtype=np.uint16, bitspersample=12, rowsperstrip=64
    )
    pixels = decode(data)
    assert pixels.max() == 255
    assert len(np.unique(pixels)) == 4096


def test_five_bands_are_taken_by_number() -> None:
    values = values_of((20, 28, 5), np.uint16)
    for planar in ("contig", "separate"):
        stored = np.moveaxis(values, 2, 0) if planar == "separate" else values
        data = written(stored, photometric="minisblack", planarconfig=planar)
        np.testing.assert_allclose(
            decode(data, bands=(4, 3, 2)), values[:, :, [3, 2, 1]] / 257, atol=1e-4
        )
        assert Images([data], bands="each").count_bands() == 5
        with pytest.raises(ImageError, match="5 bands"):
            decode(data)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_four_bands_without_alpha_are_no_image_and_with_it_are(dtype: Any) -> None:
    values = values_of((4, 4, 4), dtype)
    with pytest.raises(ImageError, match="4 bands"):
        decode(written(values, photometric="rgb", extrasamples=["unspecified"]))
    data = written(values, photometric="rgb", extrasamples=["unassalpha"])
    white = np.iinfo(dtype).max
    expected = 255 - values[:, :, 3:] / white * (255 - values[:, :, :3] / (white / 255))
    np.testing.assert_allclose(decode(data), expected, atol=1e-4 if dtype is np.uint16 else 1)


def test_alpha_that_colors_are_multiplied_by_is_as_any() -> None:
    values = values_of((6, 6, 4), np.uint16)
    ready = values.copy()
    ready[:, :, :3] = np.rint(values[:, :, :3] * (values[:, :, 3:] / 65535))
    straight = decode(written(values, photometric="rgb", extrasamples=["unassalpha"]))
    multiplied = decode(written(ready, photometric="rgb", extrasamples=["assocalpha"]))
    np.testing.assert_allclose(multiplied, straight, atol=0.01)


def test_ink_of_16_bits_is_as_that_of_8() -> None:
    ink = RANDOM.integers(0, 256, (6, 8, 4), dtype=np.uint8)
    deep = decode(written(ink.astype(np.uint16) * 257, photometric="separated"))
    shallow = decode(written(ink, photometric="separated"))
    assert np.abs(deep - shallow).max() <= 1.01  # Pillow rounds twice.


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pages_are_joined_as_asked(dtype: Any) -> None:
    values = values_of((3, 20, 28), dtype)
    data = written(values, photometric="minisblack")
    white = np.iinfo(dtype).max / 255
    with pytest.warns(PagesWarning, match="the file has 3 pages, and only the first"):
        first = decode(data)
    np.testing.assert_allclose(first[:, :, 0], values[0] / white, atol=1e-4)
    np.testing.assert_allclose(decode(data, pages="max")[:, :, 0], values.max(0) / white, atol=1e-4)
    mean = decode(data, pages="mean")[:, :, 0]
    np.testing.assert_allclose(mean, values.mean(0) / white, atol=1e-4)
    everything = decode(data, pages="all", bands=(3, 2, 1))
    np.testing.assert_allclose(everything, np.moveaxis(values[::-1], 0, 2) / white, atol=1e-4)


def test_previews_are_no_pages() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as tiff:
        tiff.write(values_of(GRAY, np.uint16))
        tiff.write(values_of((10, 14), np.uint16), subfiletype=1)
    assert read_tiff(file.getvalue(), make_reading(), 10**6).n_pages == 1


def test_first_pages_of_8_bits_are_pillows_without_previews() -> None:
    values = RANDOM.integers(0, 2, (2, 40, 40)).astype(bool)
    pages = [Image.fromarray(page) for page in values]
    file = io.BytesIO()
    options = {"save_all": True, "append_images": pages[1:], "compression": "group4"}
    pages[0].save(file, "TIFF", **options)
    with pytest.warns(PagesWarning, match="2 pages"):
        assert (decode(file.getvalue())[:, :, 0] == values[0] * 255).all()
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as tiff:
        tiff.write(values_of(GRAY, np.uint8))
        tiff.write(values_of((10, 14), np.uint8), subfiletype=1)
    decode(file.getvalue())  # A warning would be an error here.


def test_lowest_and_highest_value_that_a_file_notes_are_taken_when_asked() -> None:
    values = np.array([[0, 1000, 2000, 4000]], np.uint16)
    tags = [(280, "H", 1, 1000, True), (281, "H", 1, 2000, True)]
    pixels = decode(written(values, extratags=tags), value_range="file")
    assert pixels[0, :, 0].tolist() == [0, 0, 255, 255]


def test_two_images_of_a_series_have_one_scale() -> None:
    stripes = np.zeros((32, 32), np.float32)
    stripes[::2] = 0.5
    other = stripes.copy()
    other[0, 0] = 1
    one, two = decode(written(stripes)), decode(written(other))
    assert (one[1:] == two[1:]).all()


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_truncated_deep_tiffs_are_refused(share: float) -> None:
    data = written(values_of((64, 64), np.uint16))
    with pytest.raises(ImageError):
        decode(data[: int(len(data) * share)])


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    data = written(values_of(GRAY, np.uint16))
    with pytest.raises(ImageError, match=r"28x20 px is over max_pixels=9; raise max_pixels"):
        decode(data, max_pixels=9)
    with pytest.raises(TooLargeError, match="of 300 bands"):
        check_size(10, 10, 300, 1000)


def test_a_compression_without_its_package_names_the_extra(monkeypatch: Any) -> None:
    pytest.importorskip("imagecodecs", reason="the extra science is not installed")
    gray = values_of(GRAY, np.uint16)
    color, plain = (
        written(values_of(COLOR, np.uint16), photometric="rgb", compression="lzw"),
        written(gray, compression="lzw"),
    )
    monkeypatch.setattr(tifffile.tifffile, "imagecodecs", import_module("tifffile._imagecodecs"))
    monkeypatch.setattr(tifffile.TIFF, "DECOMPRESSORS", CompressionCodec(encode=False))
    with pytest.raises(ImageError, match=r"TIFF needs .* imagecodecs: pip install 'featx\[science"):
        decode(color)
    np.testing.assert_allclose(decode(plain)[:, :, 0], gray / 257, atol=1e-4)  # By Pillow.


def test_lab_of_16_bits_is_refused() -> None:
    with pytest.raises(ImageError, match="CIE Lab of more than 8 bits is not supported"):
        decode(written(values_of(COLOR, np.uint16), photometric="cielab"))


def test_turning_is_pillows() -> None:
    values = RANDOM.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        file = io.BytesIO()
        Image.fromarray(values).save(file, "PNG", exif=exif)
        assert (upright(values, orientation) == decode(file.getvalue())).all()


def test_pages_of_colors_keep_their_type_but_for_the_mean() -> None:
    pages = [np.full((2, 2, 3), value, np.uint16) for value in (1, 4)]
    assert join_pages(pages, "max").dtype == np.uint16
    assert join_pages(pages, "mean").max() == 2.5
    assert join_pages(pages, "all").shape == (2, 2, 6)


def test_both_tiffs_are_known_by_their_first_bytes() -> None:
    assert is_tiff(b"MM\0*")
    assert is_tiff(b"II+\0")
    assert not is_tiff(b"\x89PNG")
