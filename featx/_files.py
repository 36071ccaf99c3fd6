"""Files written whole or not at all, and values as JSON has them."""

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
"""Machine and process in a `writer_mark`."""

_TEMPORARY = re.compile(rf"\.(.+){_MARK.pattern}tmp", re.ASCII | re.DOTALL)
"""Name that is written under, with the name that it is to have."""

_ABANDONED_S = 3600.0
"""Age at which a temporary file is nobody's, whatever its writer does."""

_CANNOT_RESERVE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP})
_ZEROS_BYTES = 2**20

_LOCK_WAIT_S, _LOCK_STEP_S = 10.0, 0.01


@contextmanager
def atomic_write(path: Path, *, temporary: Path | None = None) -> Iterator[Path]:
    """Temporary path that takes the place of `path` when the ``with`` block is left.

    It is on disk before it does; after an error it is removed and `path` is as it was.

    Parameters
    ----------
    path : Path
        A file, replaced if it is there, or a folder that is not there yet. Its parent exists.
    temporary : Path, optional
        Name to write under, in the same folder. By default a random one; what killed processes
        left under such names is removed.

    Yields
    ------
    Path
        Where to write; closed before the block is left.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> file = Path(mkdtemp()) / "notes.txt"
    >>> with atomic_write(file) as temporary:
    ...     _ = temporary.write_text("all of it")
    >>> file.read_text()
    'all of it'
    """
    with _renaming([path], [temporary or _temporary(path)]) as (written,):
        yield written


@contextmanager
def write_together(*paths: Path) -> Iterator[list[Path]]:
    """Temporary paths that take the places of several files, to be read as one.

    The first file has to say to which others it belongs. From the moment that it has its place on,
    `versions` gives the others that belong to it, whether they have theirs or not: after a kill
    between two renames they wait under their temporary names.

    Parameters
    ----------
    *paths : Path
        Files of one folder, replaced if they are there.

    Yields
    ------
    list of Path
        Where to write each; closed before the block is left.
    """
    with _renaming(paths, list(map(_temporary, paths))) as temporaries:
        yield temporaries


def versions(path: Path) -> Iterator[Path]:
    """A file, and what was to take its place when its writer ended, if it did.

    Some may be of other writings, or not whole; see `write_together`.
    """
    yield path
    yield from _temporaries_of(path)


def is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing but what killed writers left."""
    return all(_TEMPORARY.fullmatch(it.name) and is_abandoned(it) for it in folder.iterdir())


def is_abandoned(path: Path, *, spared_s: float = 0.0, now: float | None = None) -> bool:
    """Whether the process that wrote a temporary file will not go on with it.

    True an hour after it was written, or if its writer ended on this machine.

    Parameters
    ----------
    path : Path
        A file with the mark of its writer in its name, see `writer_mark`.
    spared_s : float, default=0.0
        Age up to which it is another process's, though its writer has ended.
    now : float, optional
        The time, in seconds since 1970.
    """
    try:
        age_s = (now or time.time()) - path.lstat().st_mtime
    except FileNotFoundError:
        return False
    return age_s > _ABANDONED_S or (age_s >= spared_s and _is_writer_dead(path.name))


def writer_mark() -> str:
    """Part of a file's name that no other writer takes, and that says who writes."""
    return f"{_machine()}-{os.getpid()}-{secrets.token_hex(6)}"


@contextmanager
def _renaming(paths: Sequence[Path], temporaries: list[Path]) -> Iterator[list[Path]]:
    """The first path's moment is that of all; before it, an error leaves everything as it was."""
    # Of the first alone: the others may belong to what has the first one's place.
    _remove_abandoned(paths[0])
    is_begun = False
    with unfinished(*temporaries):
        try:
            yield temporaries
            for temporary in temporaries:
                _fsync(temporary)
            if len(paths) > 1:  # Names that readers look for after a power cut.
                _fsync_folder(paths[0].parent)
            renaming = _sole_renamer(paths[0].parent) if len(paths) > 1 else nullcontext()
            with renaming, uninterrupted():
                for temporary, path in zip(temporaries, paths, strict=True):
                    os.replace(temporary, path)
                    is_begun = True
            _fsync_folder(paths[0].parent)
            for path in paths[1:]:
                _remove_abandoned(path)
        finally:
            if not is_begun:
                for temporary in temporaries:
                    _remove(temporary)


@contextmanager
def _sole_renamer(folder: Path) -> Iterator[None]:
    """Let no two writers rename by turns, where the system locks folders.

    Nobody waits for ever: readers notice what was mixed.
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
    """What was, or is, being written to take the place of a file."""
    names = os.listdir(path.parent) if path.parent.is_dir() else []
    matches = map(_TEMPORARY.fullmatch, names)
    return [path.with_name(it[0]) for it in matches if it and it[1] == path.name]


def _remove_abandoned(path: Path) -> None:
    for temporary in _temporaries_of(path):
        if is_abandoned(temporary):
            with suppress(OSError):  # In a folder where others write, it may be somebody else's.
                _remove(temporary)


def _is_writer_dead(name: str) -> bool:
    """Whether the process that a file's name speaks of has ended on this machine."""
    mark = _MARK.search(name)
    if os.name == "nt" or mark is None or mark[1] != _machine():
        return False  # Windows has no signal 0: asking would end the process.
    try:
        os.kill(int(mark[2]), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        return False
    return False


@cache
def _machine() -> str:
    """Digest of what process numbers are counted in: the machine and, in a container, that."""
    try:
        counted_in = os.readlink("/proc/self/ns/pid")
    except OSError:
        counted_in = ""
    return f"{zlib.crc32(f'{platform.node()} {counted_in}'.encode()):08x}"


def _fsync_folder(folder: Path) -> None:
    """Bring the names in a folder to disk, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no folder.
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems cannot sync a folder; what was written is good all the same.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def reserve(file: BinaryIO | Any, n_bytes: int) -> None:
    """Take room on the disk for a file that is going to be mapped into memory and written.

    Without it, a process that writes into the map of a file on a full disk ends by a signal
    (SIGBUS), and says nothing.

    Parameters
    ----------
    file : binary file
        Open for writing.
    n_bytes : int
        Its size to be.

    Raises
    ------
    OSError
        If there is no room.
    """
    try:
        os.posix_fallocate(file.fileno(), 0, n_bytes)
    except (AttributeError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _CANNOT_RESERVE:
            raise
        # Zeros take the room where the system, or the file system, cannot reserve it.
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
    """Nested value as JSON has it: strings, numbers, lists and dicts.

    Parameters
    ----------
    value : object
        What JSON has no form for becomes its ``str``.
    array : callable, default=np.ndarray.tolist
        What an array becomes.
    allow_nan : bool, default=True
        Leave NaN and infinities, which strict JSON lacks; else they become None.

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
    walk = partial(to_plain, array=array, allow_nan=allow_nan)
    if isinstance(value, Mapping):
        return {str(key): walk(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [walk(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(map(walk, value))
    return str(value)


def _fsync(path: Path) -> None:
    """Bring a file, or a folder with all it holds, to disk."""
    if not path.is_dir():
        with path.open("r+b") as file:  # Windows syncs only what is open for writing.
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
