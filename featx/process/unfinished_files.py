"""Files that are not complete yet: they go with the process, however it ends but by ``kill -9``."""

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
    """Files and folders that are removed if the process is told to end inside the block.

    Once `remove_unfinished` has begun, threads wait for ever at both ends of the block.
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
    """The process is not told to end inside the block, which must be short: renames."""
    with _lock:
        yield


def remove_unfinished() -> None:
    """Remove every unfinished file, and let no other thread begin or complete one any more."""
    _lock.acquire()
    for path in _paths:
        _remove(path)


def forget_unfinished() -> None:
    """Leave to the parent process, of which this one is a copy, what is its own."""
    global _lock
    _lock = threading.Lock()
    _paths.clear()


def _remove(path: str) -> None:
    # Not by shutil: its import would take longer than all else here, before signals are caught.
    if not os.path.isdir(path) or os.path.islink(path):
        with suppress(OSError):
            os.unlink(path)
        return
    with suppress(OSError):
        for name in os.listdir(path):
            _remove(os.path.join(path, name))
        os.rmdir(path)
