"""Archives as runs of bytes: read at any offset, from a file system or a remote store."""

from __future__ import annotations

import io
import os
import stat
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from featx.data.blobs import Blob, Identity, identity_of

_N_OPEN = 64
"""Archives that a process keeps open."""

_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

_MAX_AT_ONCE = 256 * 2**20
"""Most bytes that a parser may ask for at a time: no table of contents is larger."""


class ArchiveFile(ABC):
    """A file as it was when it was listed; a name for it that other processes can open.

    Attributes
    ----------
    location : str
        Path or URL.
    size : int
        In bytes.
    version : Identity, optional
        What changes when the content does; None where the store does not say.
    """

    location: str
    size: int
    version: Identity | None
    is_slow: bool = False
    block_bytes: int = 2**16

    @abstractmethod
    def read_range(self, start: int, length: int) -> bytes:
        """Bytes from `start` on: fewer than `length` only where the file ends.

        Raises
        ------
        OSError, ValueError
            If they cannot be read, or the file is another one by now.
        """

    @abstractmethod
    def key(self) -> bytes:
        """What the file is found by in the store's memory of files."""


@dataclass(frozen=True)
class LocalFile(ArchiveFile):
    """An archive in the file system."""

    location: str
    size: int
    version: Identity | None

    def read_range(self, start: int, length: int) -> bytes:
        """Bytes from `start` on; see `ArchiveFile`."""
        return _open_local(self.location, self.version).read(start, length)

    def key(self) -> bytes:
        """Absolute path."""
        return os.fsencode(os.path.abspath(self.location))


def open_local(path: str) -> LocalFile:
    """A file of the file system as it is now.

    Raises
    ------
    OSError
        If it cannot be opened.
    ValueError
        If it is a pipe, a device or a folder.
    """
    status = _Handle(path).status
    return LocalFile(path, status.st_size, identity_of(status))


@dataclass(frozen=True)
class Member(Blob):
    """A run of bytes within an archive, stored as it is.

    Parameters
    ----------
    file : ArchiveFile
    start, length : int
        In bytes.
    """

    file: ArchiveFile
    start: int
    length: int

    @property
    def is_slow(self) -> bool:  # type: ignore[override]
        """Whether the archive is behind a network."""
        return self.file.is_slow

    def read(self, max_bytes: int) -> bytes:
        """Content; see `Blob.read`."""
        check_length(self.length, max_bytes)
        content = self.file.read_range(self.start, self.length)
        if len(content) < self.length:
            raise ValueError("the archive is truncated within it")
        return content

    def identity(self) -> tuple[bytes, Identity] | None:
        """The archive's, with the place in it."""
        version = self.file.version
        place = f"\0{self.start}:{self.length}".encode()
        return None if version is None else (self.file.key() + place, version)


class RangeReader(io.RawIOBase):
    """An archive as Python's parsers read it: seekable, a block at a time.

    Parameters
    ----------
    file : ArchiveFile
    """

    def __init__(self, file: ArchiveFile) -> None:
        super().__init__()
        self._file = file
        self._position = 0
        self._start, self._block = 0, b""

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Offset of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to an offset; nothing is read."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._file.size}[whence]
        if base + offset < 0:
            raise ValueError("offset before the start")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Bytes from here on.

        Raises
        ------
        ValueError
            If a parser asks for more than any honest archive makes it.
        """
        left = max(0, self._file.size - self._position)
        length = left if size is None or size < 0 else min(size, left)
        if length > _MAX_AT_ONCE:  # Headers say how long they are: that may be a lie.
            raise ValueError(f"a header of {length:,} bytes; expected at most {_MAX_AT_ONCE:,}")
        offset = self._position - self._start
        if not 0 <= offset <= len(self._block) - length:
            self._start, offset = self._position, 0
            self._block = self._file.read_range(
                self._start, min(left, max(length, self._file.block_bytes))
            )
        content = self._block[offset : offset + length]
        self._position += len(content)
        return content

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer."""
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)


def check_length(length: int, max_bytes: int) -> None:
    """Refuse a member by the size that its archive declares, before it is read.

    Raises
    ------
    ValueError
        If it has more than `max_bytes`.
    """
    if length > max_bytes:
        raise ValueError(f"the file has {length:,} bytes; expected at most {max_bytes:,}")
    if length < 0:
        raise ValueError(f"expected {length:,} bytes by the archive's header")


class _Handle:
    """A regular file, open as long as somebody has this; any number of threads may read."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | _AT_ONCE)
        self._lock = threading.Lock()
        self.status = os.fstat(self._descriptor)
        if not stat.S_ISREG(self.status.st_mode):  # A pipe or device may never end.
            raise ValueError("is not a regular file")

    def __del__(self) -> None:
        if (descriptor := getattr(self, "_descriptor", None)) is not None:
            os.close(descriptor)

    def read(self, start: int, length: int) -> bytes:
        """Bytes from `start` on, fewer only where the file ends."""
        parts, n_read = [], 0
        while n_read < length and (part := self._read_once(start + n_read, length - n_read)):
            parts.append(part)
            n_read += len(part)
        return b"".join(parts)

    def _read_once(self, start: int, length: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, length, start)
        with self._lock:  # Windows.
            os.lseek(self._descriptor, start, os.SEEK_SET)
            return os.read(self._descriptor, length)


@lru_cache(_N_OPEN)
def _open_local(path: str, version: Identity | None) -> _Handle:
    file = _Handle(path)
    if identity_of(file.status) != version:
        raise ValueError("the archive was changed after it was listed; run again")
    return file
