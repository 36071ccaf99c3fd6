"""Files written whole or not at all, and values as JSON has them."""

from __future__ import annotations

import errno
import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.process.unfinished import unfinished, uninterrupted


@contextmanager
def atomic_write(path: Path, *, temporary: Path | None = None) -> Iterator[Path]:
    """Temporary path that takes the place of `path` when the ``with`` block is left.

    It is on disk before it does; after an error it is removed and `path` is as it was.

    Parameters
    ----------
    path : Path
        A file, replaced if it is there, or a folder that is not there yet. Its parent exists.
    temporary : Path, optional
        Name to write under, in the same folder. By default one that no other process takes; a
        fixed one lets the next write reuse what a killed process left.

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
    temporary = temporary or path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    with unfinished(temporary):
        try:
            yield temporary
            _fsync(temporary)
            with uninterrupted():
                os.replace(temporary, path)
            _fsync_folder(path.parent)
        finally:
            _remove(temporary)


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
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
