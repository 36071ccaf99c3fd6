from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.data import readers
from featx.data.datasets import load_dataset
from featx.data.images import Images, decode
from featx.data.readers import (
    ImageReader,
    find_plug_in,
    find_reader,
    missing_package,
    plug_in_suffixes,
)
from featx.data.reading import Reading
from featx.data.stored_image import StoredImage
from featx.errors import ImageError


def read_raw(data: bytes, reading: Reading, max_pixels: int) -> StoredImage:
    """The format of the tests: RAW, height, width, values of 16 bits."""
    height, width = struct.unpack_from("<2H", data, 3)
    if len(data) < 7 + 2 * height * width:
        raise ValueError("the file ends early")
    values = np.frombuffer(data, "<u2", height * width, 7).reshape(height, width, 1)
    return StoredImage(values, limits=(0, 4095))


RAW = ImageReader("RAW", lambda data: data.startswith(b"RAW"), read_raw, (".raw",))


class _EntryPoint:
    def load(self) -> Any:
        return RAW


@pytest.fixture(autouse=True)
def plug_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package that adds a reader, as far as this module can tell."""
    groups = {"featx.readers": [_EntryPoint()]}
    monkeypatch.setattr(readers, "entry_points", lambda group: groups[group])
    readers._plug_ins.cache_clear()
    yield
    readers._plug_ins.cache_clear()


def test_a_plug_in_reads_what_featx_does_not_know() -> None:
    data = b"RAW" + struct.pack("<2H", 1, 3) + np.array([0, 819, 4095], "<u2").tobytes()
    assert find_plug_in(data) is RAW
    assert decode(data)[0, :, 0].tolist() == [0, 51, 255]


def test_what_a_plug_in_raises_is_an_image_error() -> None:
    with pytest.raises(ImageError, match="a: the file ends early"):
        Images([b"RAW" + struct.pack("<2H", 9, 9)], names=["a"]).pixels(0)


def test_files_of_a_plug_ins_suffix_are_images(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.raw").write_bytes(b"RAW")
    assert ".raw" in plug_in_suffixes()
    assert len(load_dataset(tmp_path)) == 1


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s2I5B", 13, b"IHDR", 1, 1, 16, 0, 0, 0, 0), "PNG"),
        (b"P5 1 1 4095 ", "PPM"),
        (b"\x93NUMPY", "NPY"),
        (b"\xff\x0a", "JPEGXL"),
        (bytes(128) + b"DICM", "DICOM"),
    ],
)
def test_a_files_content_names_its_reader(head: bytes, name: str) -> None:
    reader = find_reader(head)
    assert reader is not None
    assert reader.name == name


def test_eight_bits_have_no_reader_of_their_own() -> None:
    for head in (b"P5 1 1 255 ", b"\x89PNG\r\n\x1a\n" + bytes(16) + b"\x08", b"\xff\xd8\xff"):
        assert find_reader(head) is None


def test_a_missing_package_is_named_with_its_extra() -> None:
    assert missing_package(ImportError(name="pydicom.pixels"), "DICOM").endswith(
        "needs the package pydicom: pip install 'featx[dicom]'"
    )
    assert "pip install 'other'" in missing_package(ImportError(name="other"), "RAW")


def png(*notes: bytes, n_bits: int = 8) -> bytes:
    """A PNG of one row, 0 to 255, with chunks before and behind its pixels."""
    values = np.linspace(0, 2**n_bits - 1, 4).astype(f">u{n_bits // 8}")
    head = struct.pack(">2I5B", 4, 1, n_bits, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" + values.tobytes()))
    before, behind = notes[::2], notes[1::2]
    parts = (chunk(b"IHDR", head), *before, pixels, *behind, chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def chunk(kind: bytes, content: bytes, *, is_whole: bool = True) -> bytes:
    check = zlib.crc32(kind + content) ^ (not is_whole)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


LONG = chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(70_000_000), 1))
BROKEN = chunk(b"tEXt", b"note\0text", is_whole=False)
MANY = chunk(b"iTXt", b"note\0\0\0\0\0" + bytes(2_000_000))


@pytest.mark.parametrize("n_bits", [8, 16])
@pytest.mark.parametrize("note", [LONG, BROKEN, MANY], ids=["long", "checksum", "text"])
@pytest.mark.parametrize("is_behind", [False, True], ids=["before", "behind"])
def test_a_png_with_an_odd_note_is_whole(note: bytes, is_behind: bool, n_bits: int) -> None:
    data = png(b"", note, n_bits=n_bits) if is_behind else png(note, n_bits=n_bits)
    assert decode(data)[0, :, 0].tolist() == [0, 85, 170, 255]


def test_a_png_whose_pixels_are_damaged_is_refused_with_or_without_notes() -> None:
    data = bytearray(png(BROKEN))
    data[data.index(b"IDAT") + 6] ^= 0xFF
    with pytest.raises(ImageError):
        decode(bytes(data))
