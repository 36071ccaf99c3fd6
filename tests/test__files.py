"""Atomic writes and plain values."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx._files import (
    _fsync_folder,
    _temporary,
    atomic_write,
    is_empty,
    reserve,
    to_plain,
    versions,
    write_together,
)


def test_a_written_file_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_text("old")
    with atomic_write(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["f.txt"]


def stop_halfway(path: Path, inner: str = "") -> None:
    """Stop after half a file, or half a folder with a file in it."""
    with atomic_write(path) as temporary:
        if inner:
            temporary.mkdir()
        (temporary / inner).write_text("half")
        raise KeyboardInterrupt


def test_an_error_while_writing_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        stop_halfway(path)
    assert os.listdir(tmp_path) == ["f.txt"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "f.txt"
    path.write_text("old")
    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="No space"), atomic_write(path) as temporary:
        temporary.write_text("new")
    assert os.listdir(tmp_path) == ["f.txt"]
    assert path.read_text() == "old"


def test_nothing_is_renamed_before_it_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    for name in ("fsync", "replace"):
        act = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, _n=name, _f=act: (calls.append(_n), _f(*a))[1])
    with atomic_write(tmp_path / "f.txt") as temporary:
        temporary.write_text("new")
    assert calls == ["fsync", "replace", "fsync"]


def test_two_writers_of_one_file_do_not_share_a_temporary(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    with atomic_write(path) as first, atomic_write(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # The one that was closed last.


def test_what_a_killed_process_left_under_a_fixed_name_is_reused(tmp_path: Path) -> None:
    part = tmp_path / "f.part"
    part.write_text("half, and longer than the whole")
    with atomic_write(tmp_path / "f.txt", temporary=part) as temporary:
        temporary.write_text("whole")
    assert os.listdir(tmp_path) == ["f.txt"]
    assert (tmp_path / "f.txt").read_text() == "whole"


def test_a_folder_appears_with_all_its_files(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "folder") as temporary:
        (temporary / "inner").mkdir(parents=True)
        (temporary / "inner" / "f.txt").write_text("new")
    assert (tmp_path / "folder" / "inner" / "f.txt").read_text() == "new"
    assert os.listdir(tmp_path) == ["folder"]


def test_a_folder_that_is_not_finished_is_removed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        stop_halfway(tmp_path / "folder", "f.txt")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "O_DIRECTORY"), reason="Windows syncs no folder")
@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.EINVAL, nullcontext()), (errno.EIO, pytest.raises(OSError, match=r"I/O|Input"))],
)
def test_only_a_file_system_that_cannot_sync_folders_is_forgiven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: Any
) -> None:
    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with expected:
        _fsync_folder(tmp_path)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        (np.array(["a", Path("b")], object), ["a", "b"]),
        ({1: {"b", "a"}, None: ()}, {"1": ["a", "b"], "None": []}),
        ([None, True, 1, 0.5, "x"], [None, True, 1, 0.5, "x"]),
    ],
)
def test_plain_values_are_those_of_json(value: object, plain: object) -> None:
    assert repr(to_plain(value)) == repr(plain)  # Tells 1 from True.
    assert json.loads(json.dumps(to_plain(value))) == plain


def test_not_finite_numbers_become_none_only_where_asked() -> None:
    values = {"a": [np.float32("nan"), np.array([np.inf, 1])]}
    assert to_plain(values, allow_nan=False) == {"a": [None, [None, 1.0]]}
    assert json.dumps(to_plain(values)) == '{"a": [NaN, [Infinity, 1.0]]}'


def test_arrays_become_what_the_caller_says_however_deep() -> None:
    values = {"a": [np.zeros((2, 3)), np.int64(1)]}
    assert to_plain(values, array=lambda a: f"{a.shape}") == {"a": ["(2, 3)", 1]}


KILLED = """
import os, sys
from pathlib import Path
from featx._files import write_together
renames = iter(range(9))
rename = os.replace
os.replace = lambda *it: os._exit(9) if next(renames) == int(sys.argv[2]) else rename(*it)
with write_together(*(Path(sys.argv[1], name) for name in "ab")) as parts:
    for part in parts:
        part.write_text("new")
"""


@pytest.mark.parametrize("rename", [0, 1])
def test_what_belongs_to_the_first_file_is_found_after_a_kill(tmp_path: Path, rename: int) -> None:
    for name in "ab":
        (tmp_path / name).write_text("old")
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(rename)]
    assert subprocess.run(command, check=False).returncode == 9

    assert (tmp_path / "a").read_text() == ("new" if rename else "old")
    assert [it.read_text() for it in versions(tmp_path / "b")] == ["old", "new"]
    with write_together(tmp_path / "a", tmp_path / "b") as parts:
        for part in parts:
            part.write_text("newer")
    assert {it.name: it.read_text() for it in tmp_path.iterdir()} == {"a": "newer", "b": "newer"}


def test_next_writer_removes_what_a_dead_one_left_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = _temporary(tmp_path / "f.txt")
    strange = [tmp_path / ".f.txt.tmp", _temporary(tmp_path / "g.txt"), tmp_path / ".f.txt.x.tmp"]
    for path in (left, *strange):
        path.touch()
    with atomic_write(tmp_path / "f.txt") as temporary:
        temporary.touch()
    assert left.exists()  # Its writer, this process, is alive.
    monkeypatch.setattr("featx._files._is_writer_dead", lambda _: True)
    with atomic_write(tmp_path / "f.txt") as temporary:
        temporary.touch()
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "f.txt", *strange])


def test_folder_with_nothing_but_what_a_dead_writer_left_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _temporary(tmp_path / "f.txt").touch()
    assert not is_empty(tmp_path)
    monkeypatch.setattr("featx._files._is_writer_dead", lambda _: True)
    assert is_empty(tmp_path)


def test_writers_rename_by_turns_and_wait_for_nobody_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr("featx._files._LOCK_WAIT_S", 0.05)
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with write_together(tmp_path / "a", tmp_path / "b") as parts:
        for part in parts:
            part.write_text("new")
    os.close(handle)
    assert sum(waits) == pytest.approx(0.05)
    assert (tmp_path / "b").read_text() == "new"


@pytest.mark.parametrize("error", [None, OSError(errno.EOPNOTSUPP, "cannot"), AttributeError()])
def test_reserved_room_is_taken_wherever_the_file_system_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    def fail(*_: object) -> None:
        assert error is not None
        raise error

    if error is not None:
        monkeypatch.setattr(os, "posix_fallocate", fail, raising=False)
    with (tmp_path / "f").open("w+b") as file:
        reserve(file, 3_000_001)
    status = (tmp_path / "f").stat()
    assert status.st_size == 3_000_001
    assert status.st_blocks * 512 >= 3_000_001


def test_room_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with (tmp_path / "f").open("w+b") as file, pytest.raises(OSError, match="too large"):
            reserve(file, 2_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
