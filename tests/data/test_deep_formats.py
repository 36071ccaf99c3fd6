"""Files of more than 8 bits against what was written, OpenCV and Pillow."""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from featx.data import deep_formats
from featx.data.images import Images, decode
from featx.errors import ImageError

RANDOM = np.random.default_rng(0)
RAMP = np.tile(np.arange(4096, dtype=np.uint16), (2, 1))

HEIC_8 = (
    b"AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAVZtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAA"
    b"AAAAAAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABegABAAAAAAAAABYAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAA"
    b"AAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA1mlwcnAAAAC3aXBjbwAAAHhodmNDAQNwAAAAkAAAAAAAHvAA/P34"
    b"+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQArQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbqSSmu"
    b"bgIaDAgAAAMAyAAAAwAIQGIAAQAHRAHBcrAiQAAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAA"
    b"QAAAABBwaXhpAAAAAAMICAgAAAAXaXBtYQAAAAAAAAABAAEEgQIDBAAAAB5tZGF0AAAAEigBrxOA5shoU///GTp5"
    b"Rho5gA=="
)
HEIC_10 = (
    b"AAAAHGZ0eXBoZWl4AAAAAG1pZjFoZWl4bWlhZgAAAVNtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAA"
    b"AAAAAAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABdwABAAAAAAAAAGUAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAA"
    b"AAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA02lwcnAAAAC0aXBjbwAAAHVodmNDAQQIAAAAnbgAAAAAHvAA/P36"
    b"+gAADwNgAAEAF0ABDAH//wQIAAADAJ24AAADAAAeugJAYQABAClCAQEECAAAAwCduAAAAwAAHqAggQTZbqSSmubg"
    b"IaDAgAAADIAAAAMAhGIAAQAHRAHBcrAiQAAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAA"
    b"ABBwaXhpAAAAAAMKCgoAAAAXaXBtYQAAAAAAAAABAAEEgQIDBAAAAG1tZGF0AAAAYSgBrwY4PEtJNfb48tbhZP22"
    b"aL7O/Gz/0u6l/Tiq3PZ9ysP55b+0//Y5bCH9Nu2j6q1M4q7P1ZX3do6HdqVVJNFnet/utva8OkjS3ya1f+H//BrA"
    b"xZG6UQ+3zF9Dei0QG+A="
)


def png(values: np.ndarray) -> bytes:
    order = {2: None, 3: [2, 1, 0], 4: [2, 1, 0, 3]}[values.shape[-1] if values.ndim == 3 else 2]
    return cv2.imencode(".png", values if order is None else values[:, :, order])[1].tobytes()


def npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def pgm(values: np.ndarray, white: int, kind: bytes = b"P5") -> bytes:
    head = kind + b"\n# a note\n%d %d\n%d\n" % (values.shape[1], values.shape[0], white)
    if kind in (b"P2", b"P3"):
        return head + b" ".join(b"%d" % value for value in values.ravel())
    return head + values.astype(">u2").tobytes()


def jpeg_2000(values: np.ndarray) -> bytes:
    codecs = pytest.importorskip("imagecodecs", reason="the extra science is not installed")
    return codecs.jpeg2k_encode(values, level=0, bitspersample=12)


def jpeg_xl(values: np.ndarray) -> bytes:
    codecs = pytest.importorskip("imagecodecs", reason="the extra science is not installed")
    return codecs.jpegxl_encode(values, lossless=True)


@pytest.mark.parametrize(
    "write",
    [
        png,
        npy,
        jpeg_2000,
        jpeg_xl,
        lambda values: pgm(values, 4095),
        lambda values: pgm(values, 4095, b"P2"),
        lambda values: values,
    ],
    ids=["PNG", "NPY", "JPEG 2000", "JPEG XL", "PGM", "plain PGM", "array"],
)
def test_4096_values_in_a_file_are_4096_values(write: Callable[[Any], Any]) -> None:
    pixels = decode(write(RAMP), value_range=(0, 4095))
    assert len(np.unique(pixels)) == 4096
    np.testing.assert_allclose(pixels[:, :, 0], RAMP * (255 / 4095), rtol=1e-5)


@pytest.mark.parametrize("n_bands", [1, 3, 4])
def test_pngs_of_16_bits_are_as_opencv_reads_them(n_bands: int) -> None:
    values = RANDOM.integers(0, 65536, (9, 7, n_bands), dtype=np.uint16)
    if n_bands == 4:
        values[:, :, 3] = 65535
    data = png(values[:, :, 0] if n_bands == 1 else values)
    np.testing.assert_allclose(
        decode(data), np.broadcast_to(values[:, :, :3] / 257, (9, 7, 3)), atol=1e-4
    )


@pytest.mark.parametrize("kind", [b"P6", b"P3"])
def test_color_of_pnm_keeps_its_bits(kind: bytes) -> None:
    values = RANDOM.integers(0, 1024, (4, 5, 3), dtype=np.uint16)
    np.testing.assert_allclose(decode(pgm(values, 1023, kind)), values * (255 / 1023), rtol=1e-5)


def test_a_file_that_says_what_is_white_needs_no_range() -> None:
    for data in (pgm(RAMP, 4095), jpeg_2000(RAMP)):
        assert decode(data).max() == 255


def test_avif_of_10_bits_keeps_them() -> None:
    codecs = pytest.importorskip("imagecodecs", reason="the extra science is not installed")
    values = np.repeat(np.tile(np.arange(1024, dtype=np.uint16), (2, 1))[:, :, None], 3, 2)
    pixels = decode(codecs.avif_encode(values, level=100, bitspersample=10))
    assert len(np.unique(pixels)) == 1024
    assert pixels.max() == 255


def test_heif_of_10_bits_keeps_them() -> None:
    pytest.importorskip("pi_heif", reason="the extra heif is not installed")
    pixels = decode(base64.b64decode(HEIC_10))
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(
        pixels[0, ::8, 0], np.arange(0, 64, 8) * (255 / 63) * 63 / 64, atol=2
    )
    assert (pixels != np.rint(pixels)).any()


def test_heif_of_8_bits_is_pillows() -> None:
    pytest.importorskip("pi_heif", reason="the extra heif is not installed")
    pixels = decode(base64.b64decode(HEIC_8))
    assert pixels.dtype == np.uint8
    assert abs(pixels.astype(int) - 90).max() < 3


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, ">u2", np.int16])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_files_are_read_as_their_arrays_are(dtype: Any, order: Any) -> None:
    values = np.asarray(RANDOM.integers(0, 2, (4, 6, 3)), dtype=dtype, order=order)
    expected = decode(values.astype(values.dtype.newbyteorder("=")), value_range="dtype")
    assert (decode(npy(values), value_range="dtype") == expected).all()


def test_npy_files_of_any_bands_are_read_by_band() -> None:
    values = RANDOM.random((4, 6, 7))
    pixels = decode(npy(values), bands=(7, 1, 2))
    np.testing.assert_allclose(pixels, 255 * values[:, :, [6, 0, 1]], rtol=1e-5)
    assert Images([npy(values)], bands="each").count_bands() == 7


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            npy(np.zeros(4)),
            r"expected numbers of shape \(h, w\) or \(h, w, n\); got float64 \(4,\)",
        ),
        (npy(np.array([["a"]])), "expected numbers"),
        (npy(np.zeros((9, 9)))[:-8], "truncated"),
        (pgm(RAMP, 4095)[:-8], "truncated"),
        (pgm(RAMP, 4095, b"P2")[:-8], "truncated"),
        (png(RAMP)[:-40], None),
    ],
)
def test_what_is_damaged_says_so(data: bytes, reason: str | None) -> None:
    with pytest.raises(ImageError, match=reason):
        decode(data, value_range=(0, 4095))


def test_arrays_of_objects_are_never_unpickled() -> None:
    with pytest.raises(ImageError, match="expected numbers"):
        decode(npy(np.array([[{}]], dtype=object)))


@pytest.mark.parametrize("write", [png, npy, jpeg_2000, jpeg_xl, lambda it: pgm(it, 4095)])
def test_the_limit_on_pixels_holds(write: Callable[[Any], bytes]) -> None:
    with pytest.raises(ImageError, match="4096x2 px is over max_pixels=99"):
        decode(write(RAMP), max_pixels=99)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_pngs_are_turned_as_shallow_ones_are(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    values = RANDOM.integers(0, 256, (6, 8), dtype=np.uint8)
    shallow, deep = io.BytesIO(), io.BytesIO()
    Image.fromarray(values).save(shallow, "PNG", exif=exif)
    Image.fromarray(values.astype(np.uint16) * 257).save(deep, "PNG", exif=exif)
    np.testing.assert_allclose(decode(deep.getvalue()), decode(shallow.getvalue()), atol=1e-4)


def test_a_transparent_gray_of_16_bits_is_white() -> None:
    file = io.BytesIO()
    Image.fromarray(np.array([[9, 65535, 0]], np.uint16)).save(file, "PNG", transparency=9)
    assert decode(file.getvalue())[0, :, 0].tolist() == [255, 255, 0]


@pytest.mark.parametrize(("write", "name"), [(jpeg_2000, "JPEG2000"), (jpeg_xl, "JPEGXL")])
def test_without_the_extra_one_line_names_it(
    write: Callable[[Any], bytes], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write(RAMP)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(ImageError, match=rf"{name} needs .*pip install 'featx\[science\]'"):
        decode(data)


def test_eight_bits_are_left_to_pillow() -> None:
    for kind in ("PNG", "PPM", "JPEG2000"):
        file = io.BytesIO()
        Image.new("RGB", (20, 20)).save(file, kind)
        tests = [getattr(deep_formats, it) for it in dir(deep_formats) if it.startswith("is_")]
        assert not any(test(file.getvalue()) for test in tests)


@pytest.mark.parametrize(
    "size", [(8, 8), (256, 256), (48, 40), (30, 20), (40, 30), (1000, 999), (9000, 3), (1, 1)]
)
def test_the_size_of_a_jpeg_xl_is_known_before_it_is_decoded(size: tuple[int, int]) -> None:
    data = jpeg_xl(np.zeros(size[::-1], np.uint8))
    assert deep_formats._jpeg_xl_size(data) == size
    codestream = data[data.index(b"\xff\x0a") :]
    box = b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(20) + b"\0\0\0\0jxlc" + codestream
    assert deep_formats._jpeg_xl_size(box) == size
