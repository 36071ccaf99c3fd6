from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from featx.data.archives.archive_files import Member, RangeReader, check_length, open_local


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.tar"
    path.write_bytes(bytes(range(200)))
    return path


def test_member_is_a_range_of_its_archive(file: Path) -> None:
    member = Member(open_local(str(file)), 10, 3)
    assert member.read(100) == bytes([10, 11, 12])
    assert pickle.loads(pickle.dumps(member)) == member


def test_member_larger_than_allowed_is_refused_unread(file: Path) -> None:
    with pytest.raises(ValueError, match=r"has 9,999,999,999 bytes; expected at most 100"):
        Member(open_local(str(file)), 10, 9_999_999_999).read(100)


def test_member_beyond_the_end_is_cut_short(file: Path) -> None:
    with pytest.raises(ValueError, match="truncated"):
        Member(open_local(str(file)), 190, 20).read(100)


def test_archive_changed_after_listing_is_refused(file: Path) -> None:
    member = Member(open_local(str(file)), 10, 3)
    os.utime(file, ns=(1, 1))
    with pytest.raises(ValueError, match="changed after it was listed"):
        member.read(100)


def test_identity_tells_members_and_versions_apart(file: Path) -> None:
    first = open_local(str(file))
    os.utime(file, ns=(1, 1))
    members = [Member(first, 10, 3), Member(first, 11, 3), Member(open_local(str(file)), 10, 3)]
    assert len({member.identity() for member in members}) == 3


def test_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.tar")
    with pytest.raises(ValueError, match="not a regular file"):
        open_local(str(tmp_path / "a.tar"))


def test_reader_reads_as_the_file_does(file: Path) -> None:
    reader = RangeReader(open_local(str(file)))
    reader.seek(-50, os.SEEK_END)
    assert reader.read(10) == bytes(range(150, 160))
    assert reader.read() == bytes(range(160, 200))
    assert reader.read(1) == b""


def test_reader_refuses_a_header_that_lies(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(ValueError, match="a header of"):
        RangeReader(open_local(str(path))).read(2**29)


def test_negative_length_is_refused() -> None:
    with pytest.raises(ValueError, match="expected -1 bytes"):
        check_length(-1, 10)
