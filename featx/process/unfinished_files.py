"""Remove incomplete files at the end of the process, unless it is killed by ``kill -9``."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_lock = threading.Lock()
_paths: set[str] = set()


@contextmanager
def unfinished(*paths: Path) -> Iterator[None]:
    """Context in which files are incomplete and are removed if a signal ends the process.

    After `remove_unfinished` has been called, threads block at both ends of the context.
    """
    names = {str(path) for path in paths}
    with _lock:
        _paths.update(names)
    try:
        yield
    finally:
        with _lock:
            _paths.difference_update(names)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Short context, such as for renames, in which no signal ends the process."""
    with _lock:
        yield


def remove_unfinished() -> None:
    """Remove all unfinished files; other threads can no longer begin or complete one."""
    _lock.acquire()
    for path in _paths:
        _remove(path)


def forget_unfinished() -> None:
    """In a forked child: leave the unfinished files to the parent process."""
    global _lock
    _lock = threading.Lock()
    _paths.clear()


def _remove(path: str) -> None:
    # Without shutil, whose import would delay the handling of signals.
    if not os.path.isdir(path) or os.path.islink(path):
        with suppress(OSError):
            os.unlink(path)
        return
    with suppress(OSError):
        for name in os.listdir(path):
            _remove(os.path.join(path, name))
        os.rmdir(path)
