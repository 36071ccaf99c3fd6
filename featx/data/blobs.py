"""Images that are no files of their own: members of archives, objects of stores."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import Any, TypeAlias

Identity: TypeAlias = tuple[int, int, int, int]
"""Size, time of change in ns, time of the inode's change in ns, inode."""


class Blob(ABC):
    """The bytes of one image, read when they are asked for.

    Objects are small and are pickled for other processes; they hold no open file.
    """

    is_slow: bool = False
    """Whether reading waits for a network, so that it pays to read ahead."""

    @abstractmethod
    def read(self, max_bytes: int) -> bytes:
        """Content, of `max_bytes` at most.

        Raises
        ------
        OSError, ValueError
            If it cannot be read, or is larger.
        """

    @abstractmethod
    def identity(self) -> tuple[bytes, Identity] | None:
        """Where the content is and what changes when it does; None where nothing says so."""


def identify(item: Any) -> tuple[bytes, Identity] | None:
    """Absolute path of a file and what changes when it does; of a blob what stands for these.

    Examples
    --------
    >>> identify("no/such/file.jpg") is None
    True
    """
    if isinstance(item, Blob):
        return item.identity()
    if not isinstance(item, str | os.PathLike):
        return None
    try:
        return os.fsencode(os.path.abspath(item)), identity_of(os.stat(item))
    except (OSError, ValueError):
        return None


def identity_of(status: os.stat_result) -> Identity:
    """Identity of a file of the file system."""
    # SQLite has no unsigned 64-bit numbers, which some file systems have as inodes.
    inode = status.st_ino & (2**63 - 1)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, inode


def file_of(key: bytes) -> bytes | None:
    """File that the key of an identity leads to, None where it is in no file system."""
    path = key.partition(b"\0")[0]
    return path or None
