"""What was fetched and is read again in the same run: on the disk, up to a limit."""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from collections.abc import Hashable
from pathlib import Path

_MAX_BYTES = 2**31
_FREE_SHARE = 4
"""Part of the free disk that a spool takes at most."""


class Spool:
    """Contents by key in a private temporary folder, which goes with the process.

    A run reads an image to see whether it is stored, and again to decode it. Nothing is pushed
    out: images come round in the same order, and the first would go just before it is read.

    Parameters
    ----------
    max_bytes : int, default=2147483648
    """

    def __init__(self, max_bytes: int = _MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._n_bytes = 0
        self._n_files = 0
        self._files: dict[Hashable, tuple[Path, int]] = {}
        self._folder: Path | None = None
        self._lock = threading.Lock()

    def put(self, key: Hashable, content: bytes) -> None:
        """Keep a content, if there is room."""
        with self._lock:
            if key in self._files or not self._has_room(len(content)):
                return
            path = self._made_folder() / str(self._n_files)
            self._n_files += 1
            self._n_bytes += len(content)
        try:
            path.write_bytes(content)
        except OSError:  # A full disk is no reason to stop: it is fetched again.
            with self._lock:
                self._n_bytes -= len(content)
            path.unlink(missing_ok=True)
            return
        with self._lock:
            self._files[key] = path, len(content)

    def get(self, key: Hashable) -> bytes | None:
        """Content of a key, None where it is not kept."""
        with self._lock:
            found = self._files.get(key)
        if found is None:
            return None
        try:
            content = found[0].read_bytes()
        except OSError:
            return None
        return content if len(content) == found[1] else None

    def drop(self, key: Hashable) -> None:
        """Keep a content no longer."""
        with self._lock:
            found = self._files.pop(key, None)
            self._n_bytes -= found[1] if found else 0
        if found:
            found[0].unlink(missing_ok=True)

    def _has_room(self, n_bytes: int) -> bool:
        if self._n_bytes + n_bytes > self._max_bytes:
            return False
        free = shutil.disk_usage(self._folder or tempfile.gettempdir()).free
        return n_bytes + self._n_bytes <= (free + self._n_bytes) // _FREE_SHARE

    def _made_folder(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="featx-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder
