from __future__ import annotations

import gzip
import os
import tarfile
from pathlib import Path

import pytest

from featx.data.archives.archive_files import open_local
from featx.data.archives.formats.tar_members import FORMAT


def _read(path: Path):
    return FORMAT.read(open_local(str(path)))


def test_members_are_read_by_offset(make_tar) -> None:
    contents = _read(make_tar("a.tar", {"a.jpg": b"one", "b/" + "c" * 200 + ".jpg": b"two"}))
    assert [it.blob.read(9) for it in contents.entries] == [b"one", b"two"]
    assert contents.entries[1].name == "b/" + "c" * 200 + ".jpg"
    assert contents.failures == []


def test_member_written_twice_counts_as_last_written(make_tar, tmp_path: Path) -> None:
    path = make_tar("a.tar", {"a.jpg": b"old", "b.jpg": b"b"})
    (tmp_path / "new").write_bytes(b"new")
    with tarfile.open(path, "a") as tar:
        tar.add(tmp_path / "new", "a.jpg")
    assert [it.blob.read(9) for it in _read(path).entries] == [b"new", b"b"]


@pytest.mark.parametrize("n_bytes", [512 + 100, 1024 + 100, 1024])
def test_tar_cut_short_keeps_what_is_before(make_tar, n_bytes: int) -> None:
    path = make_tar("a.tar", {"a.jpg": b"a" * 512, "b.jpg": b"b" * 512})
    os.truncate(path, n_bytes)
    contents = _read(path)
    assert contents.entries[0].name == "a.jpg"
    assert [name for name, _ in contents.failures] == [""]
    assert "truncated" in contents.failures[0][1] or "damaged" in contents.failures[0][1]


def test_damaged_header_keeps_what_is_before(make_tar) -> None:
    path = make_tar("a.tar", {"a.jpg": b"a", "b.jpg": b"b"})
    content = bytearray(path.read_bytes())
    content[1024:1100] = b"\xff" * 76
    path.write_bytes(content)
    contents = _read(path)
    assert [it.name for it in contents.entries] == ["a.jpg"]
    assert "is damaged after 1 file" in contents.failures[0][1]


def test_tars_joined_by_cat_are_told(make_tar) -> None:
    path = make_tar("a.tar", {"a.jpg": b"a"})
    path.write_bytes(path.read_bytes() * 2)
    assert "has data after its end-of-archive marker" in _read(path).failures[0][1]


def test_compressed_tar_is_refused(make_tar) -> None:
    path = make_tar("a.tar", {"a.jpg": b"a"})
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(ValueError, match=r"is compressed.*expected a plain \.tar"):
        _read(path)


def test_declared_size_is_not_believed(make_tar) -> None:
    path = make_tar("a.tar", {"a.jpg": b"a"})
    info = tarfile.TarInfo("a.jpg")
    info.size = 2**40
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"a" * 1024)
    contents = _read(path)
    with pytest.raises(ValueError, match="expected at most"):
        contents.entries[0].blob.read(2**30)


def test_lying_header_of_a_header_takes_no_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 2**33
    path = tmp_path / "a.tar"
    with path.open("wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.truncate(2**33 + 4096)
    with pytest.raises(ValueError, match="is no tar archive"):
        _read(path)


def test_links_and_devices_are_counted_and_not_followed(make_tar) -> None:
    path = make_tar("a.tar", {"a.jpg": b"a"})
    with tarfile.open(path, "a") as tar:
        for name, kind in (("l", tarfile.SYMTYPE), ("h", tarfile.LNKTYPE), ("p", tarfile.FIFOTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "a.jpg"
            tar.addfile(info)
    assert dict(_read(path).left_out) == {"link": 2, "device": 1}
