import os
import platform
import time
from pathlib import Path

import pytest

from featx.process import lock_holders
from featx.process.lock_holders import find_lock_holder

UNKNOWN = "another process, perhaps on another machine"


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
        f"3: POSIX  ADVISORY  READ 14 08:01:{inode} 1073741826 1073742335\n"
        f"4: POSIX  ADVISORY  WRITE {process} 08:01:{inode} 1073741825 1073741825\n"
        f"4: -> POSIX  ADVISORY  WRITE 15 08:01:{inode} 1073741825 1073741825\n"
        f"5: POSIX  ADVISORY  READ 16 08:01:{inode} 1073741826 1073742335\n"
    )


def test_writer_is_named_with_its_machine_and_command(file: Path) -> None:
    holder = find_lock_holder(file)
    assert holder == f"process 4711 on {platform.node()} (python -m featx extract data)"


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="Windows has no /proc")
def test_start_time_is_reported(file: Path) -> None:
    started = time.mktime((2026, 11, 26, 17, 30, 0, 0, 0, -1))
    ticks = 100 * os.sysconf("SC_CLK_TCK")
    (file.parent / "stat").write_text(f"cpu 1 2\nbtime {started - 100:.0f}\nctxt 3\n")
    fields = ["S", *["0"] * 18, str(ticks), "9", "9"]
    (file.parent / "4711" / "stat").write_text(f"4711 (a (b) c) {' '.join(fields)}")
    assert find_lock_holder(file).endswith("extract data, running since Nov 26 17:30)")


def test_holder_that_has_ended_meanwhile_is_named_by_its_number(file: Path) -> None:
    (file.parent / "4711" / "cmdline").unlink()
    assert find_lock_holder(file) == f"process 4711 on {platform.node()}"


def test_commands_are_one_line_and_short(file: Path) -> None:
    code = b"import featx\n\x1b[31m" + b"x = 1;" * 99
    (file.parent / "4711" / "cmdline").write_bytes(b"python\0-c\0" + code)
    holder = find_lock_holder(file)
    assert holder.isprintable()
    assert len(holder) < 150


def test_reader_is_named_where_nobody_writes(file: Path) -> None:
    (file.parent / "locks").write_text(_locks(file, os.getpid()))
    assert find_lock_holder(file) == f"process 16 on {platform.node()}"


@pytest.mark.parametrize("process", [os.getpid(), 0], ids=["own", "outside"])
def test_own_locks_and_those_from_outside_a_container_name_nobody(file: Path, process: int) -> None:
    line = f"3: POSIX  ADVISORY  WRITE {process} 08:01:{file.stat().st_ino} 0 EOF\n"
    (file.parent / "locks").write_text(line)
    assert find_lock_holder(file) == UNKNOWN


def test_systems_without_a_list_of_locks_say_no_more(file: Path) -> None:
    (file.parent / "locks").unlink()
    assert find_lock_holder(file) == UNKNOWN
