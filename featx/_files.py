"""Atomic writes, temporary files, and conversion of values to plain JSON types."""

from __future__ import annotations

import errno
import math
import os
import platform
import re
import secrets
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from featx.process.unfinished_files import unfinished, uninterrupted

TEMPORARY_SUFFIX = ".tmp"
_MARK = re.compile(r"\.(\w{8})-(\d+)-\w{12}\.", re.ASCII)
"""A `writer_mark` in a file name: machine and process."""

_TEMPORARY = re.compile(rf"\.(.+){_MARK.pattern}tmp", re.ASCII | re.DOTALL)
"""Name of a temporary file: the name of its target, and the mark of its writer."""

_ABANDONED_S = 3600.0
"""Age from which a temporary file counts as abandoned, even if its writer is still running."""

_CANNOT_RESERVE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP})
_ZEROS_BYTES = 2**20

_LOCK_WAIT_S, _LOCK_STEP_S = 10.0, 0.01


@contextmanager
def atomic_write(path: Path, *, temporary: Path | None = None) -> Iterator[Path]:
    """Write to a temporary path that replaces `path` when the ``with`` block ends.

    The content is synced to disk before the rename. If the block raises, the temporary file is
    removed and `path` stays unchanged.

    Parameters
    ----------
    path : Path
        A file, replaced if it exists, or a folder that does not exist yet. Its parent must exist.
    temporary : Path, optional
        Name to write under, in the same folder; by default a random one. Temporary files of
        killed processes are removed.

    Yields
    ------
    Path
        Where to write. It must be closed before the block ends.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> file = Path(mkdtemp()) / "notes.txt"
    >>> with atomic_write(file) as temporary:
    ...     _ = temporary.write_text("all of it")
    >>> file.read_text()
    'all of it'
    """
    with _replacing([path], [temporary or _temporary(path)]) as (opened,):
        yield opened


@contextmanager
def write_together(*paths: Path) -> Iterator[list[Path]]:
    """Write several files that belong together and replace them at the end of the ``with`` block.

    The content of the first file must identify the others that belong to it, for example by a
    digest. Once the first file has been renamed, `versions` finds the others: if the process is
    killed between two renames, they still have their temporary names.

    Parameters
    ----------
    *paths : Path
        Files in one folder, replaced if they exist.

    Yields
    ------
    list of Path
        Where to write each file. They must be closed before the block ends.
    """
    with _replacing(paths, list(map(_temporary, paths))) as temporaries:
        yield temporaries


def versions(path: Path) -> Iterator[Path]:
    """Path of a file, followed by its temporary files that have not replaced it.

    The temporary files may be incomplete, or belong to another write; see `write_together`.
    """
    yield path
    yield from _temporaries_of(path)


def is_empty(folder: Path) -> bool:
    """Whether a folder is empty, apart from abandoned temporary files."""
    return all(_TEMPORARY.fullmatch(path.name) and is_abandoned(path) for path in folder.iterdir())


def is_abandoned(path: Path, *, grace_s: float = 0.0, now: float | None = None) -> bool:
    """Whether a temporary file will never be completed.

    True an hour after the last write, or if the writing process has ended on this machine.

    Parameters
    ----------
    path : Path
        A file with a `writer_mark` in its name.
    grace_s : float, default=0.0
        Minimum age in seconds of an abandoned file: another process may still use the file after
        its writer has ended.
    now : float, optional
        Current time in seconds since 1970; by default that of the system.
    """
    try:
        age_s = (now or time.time()) - path.lstat().st_mtime
    except FileNotFoundError:
        return False
    return age_s > _ABANDONED_S or (age_s >= grace_s and _is_writer_dead(path.name))


def writer_mark() -> str:
    """Unique part of a file name that identifies the machine and process that write the file."""
    return f"{_machine()}-{os.getpid()}-{secrets.token_hex(6)}"


@contextmanager
def _replacing(paths: Sequence[Path], temporaries: list[Path]) -> Iterator[list[Path]]:
    """Rename `temporaries` to `paths` at the end; an error before the first rename undoes all."""
    # Only for the first: abandoned versions of the others may belong to the current first file.
    _remove_abandoned(paths[0])
    has_replaced = False
    with unfinished(*temporaries):
        try:
            yield temporaries
            for temporary in temporaries:
                _fsync(temporary)
            if len(paths) > 1:  # Readers need the temporary names after a power cut.
                _fsync_folder(paths[0].parent)
            lock = _folder_lock(paths[0].parent) if len(paths) > 1 else nullcontext()
            with lock, uninterrupted():
                for temporary, path in zip(temporaries, paths, strict=True):
                    os.replace(temporary, path)
                    has_replaced = True
            _fsync_folder(paths[0].parent)
            for path in paths[1:]:
                _remove_abandoned(path)
        finally:
            if not has_replaced:
                for temporary in temporaries:
                    _remove(temporary)


@contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    """Lock a folder where the system can, so that the renames of two writers do not interleave.

    After `_LOCK_WAIT_S` the block runs without the lock: readers detect files that were mixed up.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        for _ in range(round(_LOCK_WAIT_S / _LOCK_STEP_S)):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_LOCK_STEP_S)
                continue
            except OSError:  # Some network file systems lock no folders.
                pass
            break
        yield
    finally:
        os.close(handle)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{writer_mark()}{TEMPORARY_SUFFIX}")


def _temporaries_of(path: Path) -> list[Path]:
    """Temporary files that were, or are being, written to replace a file."""
    names = os.listdir(path.parent) if path.parent.is_dir() else []
    matches = map(_TEMPORARY.fullmatch, names)
    return [path.with_name(match[0]) for match in matches if match and match[1] == path.name]


def _remove_abandoned(path: Path) -> None:
    for temporary in _temporaries_of(path):
        if is_abandoned(temporary):
            with suppress(OSError):  # In a shared folder it may belong to another user.
                _remove(temporary)


def _is_writer_dead(name: str) -> bool:
    """Whether the process named in a `writer_mark` ran on this machine and has ended."""
    mark = _MARK.search(name)
    if os.name == "nt" or mark is None or mark[1] != _machine():
        return False  # On Windows `os.kill` with signal 0 would end the process.
    try:
        os.kill(int(mark[2]), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        return False
    return False


@cache
def _machine() -> str:
    """Digest of the host name and, in a container, of its namespace of process ids."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return f"{zlib.crc32(f'{platform.node()} {namespace}'.encode()):08x}"


def _fsync_folder(folder: Path) -> None:
    """Sync the entries of a folder to disk, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows cannot open a folder.
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems cannot sync a folder; the files in it are synced nevertheless.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def reserve(file: BinaryIO | Any, n_bytes: int) -> None:
    """Allocate disk space for a file that will be memory-mapped and written.

    Otherwise a process that writes to a memory-mapped file on a full disk is killed by SIGBUS,
    without a message.

    Parameters
    ----------
    file : binary file
        Open for writing.
    n_bytes : int
        Size to allocate.

    Raises
    ------
    OSError
        If there is not enough space.
    """
    try:
        os.posix_fallocate(file.fileno(), 0, n_bytes)
    except (AttributeError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _CANNOT_RESERVE:
            raise
        # Where the system or the file system cannot allocate, write zeros.
        zeros = bytes(_ZEROS_BYTES)
        file.seek(0)
        for first in range(0, n_bytes, _ZEROS_BYTES):
            file.write(zeros[: n_bytes - first])
        file.flush()


def to_plain(
    value: Any,
    *,
    array: Callable[[npt.NDArray[Any]], Any] = np.ndarray.tolist,
    allow_nan: bool = True,
) -> Any:
    """Convert a nested value to JSON types: strings, numbers, lists and dicts.

    Parameters
    ----------
    value : object
        Types that JSON does not have are converted by ``str``.
    array : callable, default=np.ndarray.tolist
        Converts an array.
    allow_nan : bool, default=True
        Keep NaN and infinities, which strict JSON does not have; otherwise they become None.

    Examples
    --------
    >>> to_plain({"size": (np.int64(2), Path("a")), "score": np.nan}, allow_nan=False)
    {'size': [2, 'a'], 'score': None}
    """
    if isinstance(value, np.ndarray):
        value = array(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if allow_nan or math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    convert = partial(to_plain, array=array, allow_nan=allow_nan)
    if isinstance(value, Mapping):
        return {str(key): convert(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [convert(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(map(convert, value))
    return str(value)


def _fsync(path: Path) -> None:
    """Sync a file, or a folder with everything in it, to disk."""
    if not path.is_dir():
        with path.open("r+b") as file:  # Windows syncs only files that are open for writing.
            os.fsync(file.fileno())
        return
    for inner in path.iterdir():
        _fsync(inner)
    _fsync_folder(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
