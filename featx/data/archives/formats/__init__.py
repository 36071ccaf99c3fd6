"""The kinds of archives: each module here has one, as ``FORMAT``, and is found by being here."""

from __future__ import annotations

import os
import pkgutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from typing import Any, NamedTuple

from featx.data.archives.archive_files import ArchiveFile
from featx.data.blobs import Blob


class ArchiveEntry(NamedTuple):
    """One file in an archive.

    Attributes
    ----------
    name : str
        As the archive has it, with ``/``.
    blob : Blob, optional
        Its content; None of a text that was read already.
    label : str, optional
        Class, where the archive says so of each image; otherwise folders and sidecars do.
    text : bytes, optional
        Content of a small file that says something of an image.
    """

    name: str
    blob: Blob | None
    label: str | None = None
    text: bytes | None = None


@dataclass
class ArchiveContents:
    """What an archive holds.

    Attributes
    ----------
    entries : list of ArchiveEntry
        In the archive's order.
    failures : list of (str, str)
        Name in the archive, empty for the archive itself, and why it cannot be read.
    left_out : Counter
        Links and the like, by kind.
    is_table : bool
        Whether every entry is an image, whatever it is called.
    """

    entries: list[ArchiveEntry] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    is_table: bool = False


@dataclass(frozen=True)
class ArchiveFormat:
    """How one kind of archive is read.

    Attributes
    ----------
    suffixes : tuple of str
        Files so named are archives of this kind.
    read : callable
        Takes an `ArchiveFile` and gives its `ArchiveContents`. Raises `ValueError` or `OSError`
        where nothing can be read.
    accepts : callable
        Takes an `ArchiveFile` and returns whether it is an archive of images; by default any
        file of that suffix is.
    find_files : callable
        Takes the path of a folder and gives the archives in it that are one data set; empty
        for a folder of other files. By default no folder is an archive.
    """

    suffixes: tuple[str, ...]
    read: Callable[[ArchiveFile], ArchiveContents]
    accepts: Callable[[ArchiveFile], bool] | None = None
    find_files: Callable[[str], list[str]] | None = None


MAX_TEXT_BYTES = 2**16
"""Largest file beside an image that is read for what it says of the image."""

TEXT_SUFFIXES = frozenset({".cls", ".json"})
"""Files beside an image of the same key that say its class, as in WebDataset."""


def find_archive_format(location: str) -> ArchiveFormat | None:
    """Format of an archive by the suffix of its path or URL; None of other files.

    Examples
    --------
    >>> find_archive_format("shards/0001.TAR").suffixes
    ('.tar',)
    """
    suffix = os.path.splitext(location)[1].lower()
    return next((it for it in _formats() if suffix in it.suffixes), None)


def archive_suffixes() -> list[str]:
    """Suffixes of all kinds of archives, sorted."""
    return sorted(suffix for it in _formats() for suffix in it.suffixes)


def find_archives_in(folder: str) -> list[str]:
    """Archives in a folder that together are one data set; empty for a folder of files."""
    finders = [it.find_files for it in _formats() if it.find_files is not None]
    return next((files for find in finders if (files := find(folder))), [])


@lru_cache(maxsize=1)
def _formats() -> tuple[ArchiveFormat, ...]:
    return tuple(_found())


def _found() -> Iterator[Any]:
    for module in sorted(it.name for it in pkgutil.iter_modules(__path__)):
        yield import_module(f"{__name__}.{module}").FORMAT
