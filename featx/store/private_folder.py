"""A folder safe to keep pickles in: private, and clear about what is wrong."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from featx.errors import StoreError

_FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def make_private(folder: Path) -> None:
    """Make a store's folder, or check that nobody else could have put anything in it.

    Raises
    ------
    StoreError
        If it belongs to somebody else, or others may write in it or replace it.
    """
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    if not hasattr(os, "getuid"):
        return
    status = folder.stat()
    if status.st_uid != os.getuid():
        raise StoreError(
            f"The store in {folder} belongs to somebody else (user {status.st_uid}), and its "
            "files could run their code. Name a folder of your own by --store or FEATX_STORE."
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StoreError(
            f"The store in {folder} can be written by others, whose files could run their code. "
            f"Close it with `chmod go-w {folder}`, or name another by --store or FEATX_STORE."
        )
    for parent in folder.resolve().parents:
        mode = parent.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise StoreError(
                f"The store in {folder} could be replaced by others, who can write in {parent}. "
                f"Close that with `chmod o-w {parent}`, or name another folder by --store or "
                "FEATX_STORE."
            )


@contextmanager
def store_errors(folder: Path) -> Iterator[None]:
    """Errors of the operating system as a `StoreError` of one line."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        if error.errno in _FULL_DISK:
            raise full_disk(folder) from error
        reason = (error.strerror or str(error)).lower()
        raise StoreError(
            f"The store in {folder} cannot be used: {reason}. "
            "Name another folder by --store or FEATX_STORE."
        ) from error


def full_disk(folder: Path) -> StoreError:
    """The error of a disk with no room left."""
    return StoreError(
        f"No room left on the disk of the store in {folder}; what is stored stays good. "
        "Free some space (`featx cache prune`) or name another folder by --store or FEATX_STORE."
    )
