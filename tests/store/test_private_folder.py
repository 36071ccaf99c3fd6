"""The store's folder: nobody else's, and its errors in one line."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from featx.errors import StoreError
from featx.store.index import INDEX_FILE, Index
from featx.store.private_folder import store_errors

needs_posix = pytest.mark.skipif(not hasattr(os, "getuid"), reason="owners and modes are POSIX's")


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(tmp_path / "store")


@needs_posix
def test_folder_and_index_are_private_whatever_the_umask(index: Index) -> None:
    umask = os.umask(0)
    try:
        index.counts()
    finally:
        os.umask(umask)
    assert stat.S_IMODE(index.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((index.folder / INDEX_FILE).stat().st_mode) == 0o600


@needs_posix
def test_a_folder_of_somebody_else_is_refused(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.counts()
    stranger = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: stranger)
    with pytest.raises(StoreError, match=r"belongs to somebody else .*--store or FEATX_STORE"):
        index.counts()


@needs_posix
@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_folder_that_others_can_write_is_refused(index: Index, mode: int) -> None:
    index.counts()
    index.folder.chmod(mode)
    with pytest.raises(StoreError, match=r"can be written by others.*chmod go-w"):
        index.counts()


@needs_posix
def test_a_folder_that_others_could_replace_is_refused(index: Index) -> None:
    index.folder.parent.chmod(0o777)
    with pytest.raises(StoreError, match="could be replaced by others"):
        index.counts()
    index.folder.parent.chmod(0o1777)
    assert index.counts()["n_rows"] == 0


def test_a_file_in_the_place_of_the_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    with pytest.raises(StoreError, match=r"cannot be used: file exists\."):
        Index(tmp_path / "store").counts()


def test_other_errors_keep_their_reason(tmp_path: Path) -> None:
    message = r"cannot be used: permission denied\. Name another"
    with pytest.raises(StoreError, match=message), store_errors(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied")
