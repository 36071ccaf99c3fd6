"""Cache the machine code of numba's functions on disk, safely.

numba's own cache stores pickles beside the source or in the user's cache folder and unpickles any
file there; a truncated file or a full disk ends the program. Here every file starts with a digest
of its content and is in a folder that nobody else can change. If a file cannot be read or written,
the function is recompiled and one line is logged.

This module imports numba, so it is imported only when a function is first compiled.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
import numpy as np
import platformdirs
from numba.core import config
from numba.core.caching import (
    CompileResultCacheImpl,
    FunctionCache,
    IndexDataCacheFile,
    _CacheLocator,
    _SourceFileBackedLocatorMixin,
)
from numba.core.dispatcher import Dispatcher

import featx
from featx._files import TEMPORARY_SUFFIX, atomic_write
from featx.errors import UnsafeFolderError
from featx.trust.safe_folders import make_safe

logger = logging.getLogger(__name__)

_VERSIONS = f"numba-{numba.__version__}-featx-{featx.__version__}"
_OURS = re.compile(r"numba-\d+\.\d+[^-]*(-featx-.*)?")
_SUFFIXES = (".nbi", ".nbc", TEMPORARY_SUFFIX)
"""Suffixes of numba's index and data files, and of temporary files."""

_N_DIGEST_BYTES = 32
_warned: set[str] = set()


def cache_machine_code(dispatcher: Any) -> None:
    """Load the machine code of a numba function from disk if possible, and store new code there.

    The folder is ``featx/compiled`` in the user's cache, or numba's ``NUMBA_CACHE_DIR``. If others
    could change it, or it is not usable, every process compiles the function.

    Parameters
    ----------
    dispatcher : numba.core.dispatcher.Dispatcher
        Returned by `numba.njit`.
    """
    try:
        dispatcher._cache = _SafeCache(dispatcher.py_func)
    except (UnsafeFolderError, OSError) as error:
        _warn_once("folder", error)
    except RuntimeError:  # Defined at a prompt: there is no source file to check for changes.
        logger.debug("%s has no source file and is compiled by every process.", dispatcher)


class _DamagedFileError(Exception):
    """The content of a file does not match its digest."""


class _SafeFile(IndexDataCacheFile):
    """Index and data files of one function, each preceded by a digest of its content."""

    def _load_index(self) -> dict[Any, str]:
        try:
            stamp, overloads = self._read(self._index_name)
        except FileNotFoundError:
            return {}
        except (_DamagedFileError, UnsafeFolderError) as error:  # It will be overwritten.
            _warn_once("damage", error)
            return {}
        return overloads if stamp == self._source_stamp else {}

    def _save_index(self, overloads: dict[Any, str]) -> None:
        self._write(self._index_name, (self._source_stamp, overloads))

    def _load_data(self, name: str) -> Any:
        return self._read(name)

    def _save_data(self, name: str, data: Any) -> None:
        self._write(name, data)

    def _read(self, name: str) -> Any:
        path = Path(self._cache_path, name)
        make_safe(path.parent, file=name)
        content = path.read_bytes()
        digest, payload = content[:_N_DIGEST_BYTES], content[_N_DIGEST_BYTES:]
        if digest != _digest(payload):
            raise _DamagedFileError(f"{path} is damaged")
        return pickle.loads(payload)

    def _write(self, name: str, data: Any) -> None:
        payload = self._dump(data)
        with atomic_write(Path(self._cache_path, name)) as temporary:
            temporary.write_bytes(_digest(payload) + payload)


class _SafeLocator(_SourceFileBackedLocatorMixin, _CacheLocator):
    """Folder for the functions of one source folder, separate for each version."""

    def __init__(self, function: Callable[..., Any], file: str) -> None:
        self._function = function
        self._py_file = file
        self._lineno = function.__code__.co_firstlineno
        self._folder = _root() / _VERSIONS / self.get_suitable_cache_subpath(file)

    @classmethod
    def from_function(cls, function: Callable[..., Any], file: str) -> _SafeLocator | None:
        if not os.path.exists(file):
            return None
        locator = cls(function, file)
        locator.ensure_cache_path()
        return locator

    def ensure_cache_path(self) -> None:
        if not _root().parent.is_dir():
            make_safe(_root().parent)  # Private from the start, as the default store is there, too.
        make_safe(self._folder)

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        """Digest of everything that the machine code depends on.

        Unlike numba's own stamp, it covers global constants and called functions in other files,
        which are compiled into the code.
        """
        digest = hashlib.sha256()
        for part in _dependencies(self._function, set()):
            digest.update(part)
        return digest.hexdigest()


class _SafeImpl(CompileResultCacheImpl):
    _locator_classes = [_SafeLocator]


class _SafeCache(FunctionCache):
    """Cache of one function whose errors are logged and only cost the time of recompiling."""

    _impl_class = _SafeImpl

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _SafeFile(
            cache_path=self._cache_path,
            filename_base=self._impl.filename_base,
            source_stamp=self._impl.locator.get_source_stamp(),
        )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # A file of another program may raise anything.
            _warn_once("damage", error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Exception as error:  # The function is compiled; only the next process loses time.
            _warn_once("folder", error)


def prune_machine_code() -> int:
    """Remove the machine code of other versions of featx and numba; return its size in bytes.

    Files of other programs, as in ``NUMBA_CACHE_DIR``, are kept.
    """
    n_bytes = 0
    for folder in _root().glob("numba-*"):
        if folder.name == _VERSIONS or not _OURS.fullmatch(folder.name) or folder.is_symlink():
            continue
        for parent, _, names in os.walk(folder, topdown=False):
            for path in (Path(parent, name) for name in names if name.endswith(_SUFFIXES)):
                with suppress(OSError):
                    n_bytes += path.lstat().st_size
                    path.unlink()
            with suppress(OSError):  # It contains other files.
                os.rmdir(parent)
    return n_bytes


def _root() -> Path:
    if numba_cache_dir := getattr(config, "CACHE_DIR", ""):
        return Path(numba_cache_dir).absolute()
    return platformdirs.user_cache_path("featx") / "compiled"


def _dependencies(function: Callable[..., Any], seen: set[Any]) -> Iterator[bytes]:
    """What a function's machine code depends on: source files, constants, called functions."""
    if function in seen:
        return
    seen.add(function)
    yield Path(function.__code__.co_filename).read_bytes()
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, Dispatcher):
            yield from _dependencies(value.py_func, seen)
        elif isinstance(value, np.ndarray):
            yield f"{name} {value.dtype} {value.shape}".encode() + value.tobytes()
        elif isinstance(value, np.generic | int | float | complex | str | tuple):
            yield f"{name} {value!r}".encode()


def _digest(payload: bytes) -> bytes:
    return hashlib.sha256(payload).digest()


def _warn_once(kind: str, error: Exception) -> None:
    """Log one line for each kind of error, however many functions are affected."""
    if kind in _warned:
        return
    _warned.add(kind)
    if kind == "damage":
        logger.warning("Stored machine code cannot be read and is recompiled: %s.", error)
        return
    logger.warning(
        "Machine code cannot be stored and is recompiled by every process: %s. Name another "
        "folder by NUMBA_CACHE_DIR.",
        error,
    )
