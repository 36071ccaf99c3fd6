"""Which process holds a lock on a file, where the system says so."""

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
"""A line of ``/proc/locks``: kind, process and inode; none of one that waits (``1: ->``)."""

_UNKNOWN = "another process, perhaps of another machine"


def find_lock_holder(path: Path) -> str:
    """The other process that holds a POSIX lock on a file, in words.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
        ``process 4711 on gpu3 (featx extract photos, running since Nov 26 17:30)``, one that
        writes before one that reads. What the system does not say is left out, as outside Linux
        and of a lock that another machine holds.

    Examples
    --------
    >>> find_lock_holder(Path("no file"))
    'another process, perhaps of another machine'
    """
    holders = dict(sorted(_holders(path)))
    process = holders.get("WRITE") or holders.get("READ")
    if process is None:
        return _UNKNOWN
    said = ", ".join(filter(None, [_command_of(process), _start_of(process)]))
    return f"process {process} on {platform.node()}" + (f" ({said})" if said else "")


def _holders(path: Path) -> Iterator[tuple[str, str]]:
    """Kind of lock and process of all others that have one."""
    own = {"0", str(os.getpid())}  # 0 is a process outside this container.
    with suppress(OSError, UnicodeDecodeError):
        inode = str(path.stat().st_ino)
        for line in (_PROC / "locks").read_text("ascii").splitlines():
            lock = _LOCK.match(line)
            if lock and lock[3] == inode and lock[2] not in own:
                yield lock[1], lock[2]


def _command_of(process: str) -> str:
    try:
        words = (_PROC / process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return ""
    names = [os.path.basename(word) if word.startswith("/") else word for word in words if word]
    return visible(shorten(" ".join(names[:_MAX_WORDS]), _MAX_LETTERS, placeholder="…"))


def _start_of(process: str) -> str:
    """When a process started, in the user's time."""
    with suppress(OSError, ValueError, IndexError, AttributeError):
        # The name, in brackets, may hold blanks; the 22nd field is in ticks since the start.
        fields = (_PROC / process / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        booted = re.search(r"^btime (\d+)", (_PROC / "stat").read_text("ascii"), re.MULTILINE)
        seconds = int(booted[1]) + int(fields[19]) / os.sysconf("SC_CLK_TCK")  # type: ignore[index]
        return time.strftime("running since %b %d %H:%M", time.localtime(seconds))
    return ""
