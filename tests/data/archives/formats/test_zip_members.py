from __future__ import annotations

import os
import struct
import zipfile
from pathlib import Path

import pytest

from featx.data.archives.archive_files import open_local
from featx.data.archives.formats.zip_members import FORMAT
from featx.data.datasets import load_dataset

LIMIT = 2**20


def _read(path: Path):
    return FORMAT.read(open_local(str(path)))


def _zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_those_that_were_written(tmp_path: Path, method: int) -> None:
    contents = _read(_zip(tmp_path / "a.zip", {"a.jpg": b"one" * 999, "b.jpg": b""}, method))
    assert [it.blob.read(LIMIT) for it in contents.entries] == [b"one" * 999, b""]


def test_class_folders_in_a_zip_are_classes(tmp_path: Path, image) -> None:
    path = _zip(tmp_path / "a.zip", {"cat/1.png": image(1), "dog/1.png": image(2)})
    dataset = load_dataset(path)
    assert dataset.labels.tolist() == ["cat", "dog"]
    assert dataset.images.pixels(1).shape == (24, 32, 3)


def test_sidecars_in_a_zip_are_classes(tmp_path: Path, image) -> None:
    path = _zip(tmp_path / "a.zip", {"1.png": image(1), "1.cls": b"7"})
    assert load_dataset(path).labels.tolist() == ["7"]


def test_bomb_that_declares_little_is_inflated_no_further(tmp_path: Path) -> None:
    path = _zip(tmp_path / "a.zip", {"a.jpg": bytes(10**7)})
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02") + 24
    content[at : at + 4] = struct.pack("<I", 100)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="expected 100 bytes as declared"):
        _read(path).entries[0].blob.read(LIMIT)


def test_bomb_that_declares_much_is_refused_unread(tmp_path: Path) -> None:
    path = _zip(tmp_path / "a.zip", {"a.jpg": bytes(10**7)})
    with pytest.raises(ValueError, match=r"has 10,000,000 bytes; expected at most 1,048,576"):
        _read(path).entries[0].blob.read(LIMIT)


def test_damaged_member_fails_alone(tmp_path: Path) -> None:
    path = _zip(tmp_path / "a.zip", {"a.jpg": b"a" * 99, "b.jpg": b"b" * 99}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[content.index(b"a" * 99)] = 0
    path.write_bytes(content)
    first, second = _read(path).entries
    assert second.blob.read(LIMIT) == b"b" * 99
    with pytest.raises(ValueError, match="its checksum is another one"):
        first.blob.read(LIMIT)


def test_zip_cut_short_is_refused(tmp_path: Path) -> None:
    path = _zip(tmp_path / "a.zip", {"a.jpg": b"a" * 99})
    os.truncate(path, 100)
    with pytest.raises(ValueError, match="is not a zip archive, or is truncated"):
        _read(path)


def test_link_is_left_out(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("a.jpg")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    contents = _read(tmp_path / "a.zip")
    assert contents.entries == []
    assert dict(contents.left_out) == {"link": 1}


def test_other_methods_are_failures_of_their_members(tmp_path: Path) -> None:
    contents = _read(_zip(tmp_path / "a.zip", {"a.jpg": b"a"}, zipfile.ZIP_LZMA))
    assert contents.failures == [("a.jpg", "is packed by method 14; expected stored or deflated")]
