"""Which process holds a lock on a file, where the system says so."""

from __future__ import annotations

import os
from pathlib import Path

_PROC = Path("/proc")
_MAX_WORDS = 6


def find_lock_holder(path: Path) -> str:
    """The other process that holds a POSIX lock on a file, in words.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
        ``process 4711 (featx extract photos)``, or ``another process`` where the system does not
        say: outside Linux, and for a lock that another machine holds.

    Examples
    --------
    >>> find_lock_holder(Path("no file"))
    'another process'
    """
    try:
        inode = path.stat().st_ino
        locks = (_PROC / "locks").read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return "another process"
    for line in locks.splitlines():
        # 1: POSIX  ADVISORY  WRITE 4711 08:01:131 0 EOF
        fields = line.replace(" -> ", " ").split()
        is_same = len(fields) > 5 and fields[5].rpartition(":")[2] == str(inode)
        if is_same and fields[1] == "POSIX" and fields[4] not in (str(os.getpid()), "-1"):
            return f"process {fields[4]}{_command_of(fields[4])}"
    return "another process"


def _command_of(process: str) -> str:
    try:
        words = (_PROC / process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return ""
    names = [os.path.basename(word) if word.startswith("/") else word for word in words if word]
    return f" ({' '.join(names[:_MAX_WORDS])})" if names else ""
