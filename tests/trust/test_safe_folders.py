"""Folders that others could change, and the walk that finds them.

What is refused and named is tested where it is used, in ``tests/store/test_private_folder.py``.
"""

from __future__ import annotations

import os
import pickle
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from featx.errors import UnsafeFolderError
from featx.trust import safe_folders
from featx.trust.safe_folders import make_safe

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="owners and modes are POSIX's")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.mark.parametrize(("members", "gid", "is_safe"), [
    ([], 1234, True),
    (["ann"], 1234, True),
    (["ann", "bob"], 1234, False),
    ([], 0, False),
])  # fmt: skip
def test_a_private_group_may_write_as_its_user_does(
    monkeypatch: pytest.MonkeyPatch, members: list[str], gid: int, is_safe: bool
) -> None:
    user = SimpleNamespace(pw_name="ann", pw_gid=gid)
    group = SimpleNamespace(gr_name="ann", gr_mem=members)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: user)
    monkeypatch.setattr("grp.getgrgid", lambda gid: group)
    assert safe_folders._is_own_group.__wrapped__(gid) is is_safe


def test_the_owner_of_the_root_folder_is_trusted_as_root_is(
    store: Path, given_away: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_safe(store)
    given_away(store.parent)
    owner = store.parent.stat().st_uid
    fstat = os.fstat

    def with_another_root(descriptor: int) -> os.stat_result:
        status = fstat(descriptor)
        is_root = os.path.samestat(status, Path("/").stat())
        values = [*status[:4], owner if is_root else status.st_uid, *status[5:10]]
        return os.stat_result(values)

    monkeypatch.setattr(os, "fstat", with_another_root)
    make_safe(store)


def test_a_folder_swapped_for_a_link_after_it_was_looked_at_is_not_followed(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_safe(store)
    look = safe_folders._PathChecker._status

    def look_then_swap(self: Any, name: str) -> os.stat_result | None:
        status = look(self, name)
        if name == "store" and not store.is_symlink():
            store.rename(tmp_path / "aside")
            store.symlink_to(tmp_path / "aside")
        return status

    monkeypatch.setattr(safe_folders._PathChecker, "_status", look_then_swap)
    with pytest.raises(NotADirectoryError):
        make_safe(store)


def test_no_descriptor_stays_open(store: Path) -> None:
    make_safe(store)
    before = len(os.listdir("/dev/fd"))
    store.chmod(0o777)
    with pytest.raises(UnsafeFolderError):
        make_safe(store)
    assert len(os.listdir("/dev/fd")) == before


def test_what_is_missing_on_the_way_is_made_safe_whatever_the_umask(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        make_safe(tmp_path / "a" / "b" / "store")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o755


def test_the_error_survives_the_way_from_a_worker(tmp_path: Path) -> None:
    error = UnsafeFolderError(tmp_path, "is a link", "rm x")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.component, copy.cure) == (f"{tmp_path} is a link", tmp_path, "rm x")


def test_a_user_without_a_name_is_a_number() -> None:
    assert safe_folders._user(2**31 - 7) == f"user {2**31 - 7}"
