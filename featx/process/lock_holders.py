"""Find the process that holds a lock on a file, where the system provides it."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from textwrap import shorten

from featx.errors import visible

_PROC = Path("/proc")
_MAX_WORDS, _MAX_LETTERS = 6, 80

_LOCK = re.compile(r"\d+: POSIX +\w+ +(READ|WRITE) +(\d+) +\w+:\w+:(\d+) ")
"""A held lock in ``/proc/locks``: type, process, inode. Waiting ones (``1: ->``) do not match."""

_UNKNOWN = "another process, perhaps on another machine"


def find_lock_holder(path: Path) -> str:
    """Describe the other process that holds a POSIX lock on a file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
        For example ``process 4711 on gpu3 (featx extract photos, running since Nov 26 17:30)``. A
        process that writes is preferred to one that reads. Details that are not available, as on
        other systems than Linux or if another machine holds the lock, are left out.

    Examples
    --------
    >>> find_lock_holder(Path("no file"))
    'another process, perhaps on another machine'
    """
    holders = dict(sorted(_holders(path)))
    process = holders.get("WRITE") or holders.get("READ")
    if process is None:
        return _UNKNOWN
    details = ", ".join(filter(None, [_command_of(process), _start_of(process)]))
    return f"process {process} on {platform.node()}" + (f" ({details})" if details else "")


def _holders(path: Path) -> Iterator[tuple[str, str]]:
    """Type of lock and id of every other process that holds one."""
    excluded = {"0", str(os.getpid())}  # 0 is a process outside this container.
    with suppress(OSError, UnicodeDecodeError):
        inode = str(path.stat().st_ino)
        for line in (_PROC / "locks").read_text("ascii").splitlines():
            lock = _LOCK.match(line)
            if lock and lock[3] == inode and lock[2] not in excluded:
                yield lock[1], lock[2]


def _command_of(process: str) -> str:
    try:
        words = (_PROC / process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return ""
    names = [os.path.basename(word) if word.startswith("/") else word for word in words if word]
    return visible(shorten(" ".join(names[:_MAX_WORDS]), _MAX_LETTERS, placeholder="…"))


def _start_of(process: str) -> str:
    """When a process started, in local time."""
    with suppress(OSError, ValueError, IndexError, AttributeError):
        # The second field, in parentheses, may contain spaces; the 22nd is in ticks since boot.
        fields = (_PROC / process / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        booted = re.search(r"^btime (\d+)", (_PROC / "stat").read_text("ascii"), re.MULTILINE)
        seconds = int(booted[1]) + int(fields[19]) / os.sysconf("SC_CLK_TCK")  # type: ignore[index]
        return time.strftime("running since %b %d %H:%M", time.localtime(seconds))
    return ""
