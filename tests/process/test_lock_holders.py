import os
from pathlib import Path

import pytest

from featx.process import lock_holders
from featx.process.lock_holders import find_lock_holder


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file, and a /proc of which process 4711 has a lock on it."""
    file = tmp_path / "index"
    file.touch()
    (tmp_path / "4711").mkdir()
    (tmp_path / "4711" / "cmdline").write_bytes(b"/usr/bin/python\0-m\0featx\0extract\0/data\0")
    (tmp_path / "locks").write_text(_locks(file, 4711))
    monkeypatch.setattr(lock_holders, "_PROC", tmp_path)
    return file


def _locks(file: Path, process: int) -> str:
    inode = file.stat().st_ino
    return (
        f"1: FLOCK  ADVISORY  WRITE 12 08:01:{inode} 0 EOF\n"
        f"2: POSIX  ADVISORY  WRITE 13 08:01:{inode + 1} 0 EOF\n"
        f"3: POSIX  ADVISORY  WRITE {process} 08:01:{inode} 1073741825 1073741825\n"
    )


def test_holder_is_named_with_its_command(file: Path) -> None:
    assert find_lock_holder(file) == "process 4711 (python -m featx extract data)"


def test_holder_that_has_ended_meanwhile_is_named_by_its_number(file: Path) -> None:
    (file.parent / "4711" / "cmdline").unlink()
    assert find_lock_holder(file) == "process 4711"


def test_own_locks_are_nobody_elses(file: Path) -> None:
    (file.parent / "locks").write_text(_locks(file, os.getpid()))
    assert find_lock_holder(file) == "another process"


def test_systems_without_a_list_of_locks_say_no_more(file: Path) -> None:
    (file.parent / "locks").unlink()
    assert find_lock_holder(file) == "another process"
