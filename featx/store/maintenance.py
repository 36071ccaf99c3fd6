"""Maintain a store: statistics, verification, pruning and rebuilding of the index."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.data.blobs import file_of
from featx.store.index import (
    INDEX_FILE,
    Entry,
    Index,
    ShardFile,
)
from featx.store.private_folder import make_private, store_errors
from featx.store.shards import (
    SHARD_FOLDER,
    SHARD_SUFFIX,
    Shard,
    describe,
    is_orphan,
    is_shard_name,
    open_shard,
    row_crc,
)

_DAY_S = 86_400.0
_MAX_TIME_S = 2.0**32
"""In the year 2106."""


@dataclass(frozen=True)
class StoreInfo:
    """Statistics of a store.

    Attributes
    ----------
    folder : str
        Folder of the store.
    n_settings : int
        Number of extractor settings (and layers) with rows.
    n_rows : int
        Number of rows, one per image and setting.
    n_images : int
        Number of images of different content with rows.
    n_shards : int
        Number of files of rows.
    n_files : int
        Number of image files with a recorded digest, which are not read again.
    n_bytes : int
        Size of the shards.
    index_bytes : int
        Size of the index.
    free_bytes : int
        Free space on the disk.
    """

    folder: str
    n_settings: int
    n_rows: int
    n_images: int
    n_shards: int
    n_files: int
    n_bytes: int
    index_bytes: int
    free_bytes: int


@dataclass(frozen=True)
class StoredSetting:
    """One extractor setting (and layer) in a store.

    Attributes
    ----------
    fingerprint : str
        Digest of the settings: 32 hexadecimal characters.
    extractor : str
        Name of the extractor's class.
    settings : dict
        The settings behind the fingerprint; arrays are replaced by their type and shape.
    n_rows : int
        Number of images with rows.
    n_shards : int
        Number of files of rows.
    n_bytes : int
        Size of these files.
    width : int
        Number of columns.
    dtype : str
        Type of the values.
    created, used : float
        Times at which the first row was stored and rows were last used (to the hour), in seconds
        since 1970.
    """

    fingerprint: str
    extractor: str
    settings: dict[str, Any]
    n_rows: int
    n_shards: int
    n_bytes: int
    width: int
    dtype: str
    created: float
    used: float


@dataclass(frozen=True)
class Verified:
    """Result of `Maintenance.verify`.

    Attributes
    ----------
    n_rows : int
        Number of rows read.
    n_damaged : int
        Number of rows that failed their checksum; they were removed, to be recomputed on demand.
    damaged_files : list of str
        Shards with such rows.
    """

    n_rows: int
    n_damaged: int
    damaged_files: list[str]


@dataclass(frozen=True)
class Pruned:
    """What was removed from a store.

    Attributes
    ----------
    n_rows : int
        Number of rows.
    n_shards : int
        Number of files of rows.
    n_orphans : int
        Number of files that were not in the index, left by killed runs.
    n_forgotten : int
        Number of recorded image files that no longer exist.
    n_bytes : int
        Disk space that was freed.
    """

    n_rows: int
    n_shards: int
    n_orphans: int
    n_forgotten: int
    n_bytes: int


@dataclass(frozen=True)
class Rebuilt:
    """What was entered into a new or an incomplete index.

    Attributes
    ----------
    is_new : bool
        Whether there was no index, or a damaged one.
    n_rows : int
        Number of rows that were entered.
    n_shards : int
        Number of files with these rows.
    n_unknown : int
        Number of files that are damaged, or that an older featx wrote without a description; they
        are not changed.
    """

    is_new: bool
    n_rows: int
    n_shards: int
    n_unknown: int


class Maintenance:
    """Mixin of `featx.store.feature_store.FeatureStore` with the functions of ``featx cache``.

    Attributes
    ----------
    folder : Path
        Folder of the store.
    shared : bool
        Whether a group shares the store.
    """

    folder: Path
    shared: bool

    def info(self) -> StoreInfo:
        """Statistics of the store."""
        counts = self._index.counts()
        with store_errors(self.folder):
            return StoreInfo(
                folder=str(self.folder),
                n_settings=len(self._index.settings()),
                **counts,
                index_bytes=(self.folder / INDEX_FILE).stat().st_size,
                free_bytes=shutil.disk_usage(self.folder).free,
            )

    def ls(self) -> list[StoredSetting]:
        """Every setting with rows, the most recently used first."""
        return [_stored_setting(row) for row in self._index.settings()]

    def verify(self) -> Verified:
        """Check every row, and remove damaged ones, to be recomputed on demand.

        Returns
        -------
        Verified
        """
        n_rows = n_unsound = self._drop_unsound()
        damaged: list[Entry] = []
        files = []
        for shard in self._index.shard_files():
            entries = self._index.entries(shard.id)
            rows = self._open(shard)
            bad = [entry for entry in entries if not is_good(rows, entry)]
            damaged.extend(bad)
            files.extend([shard.file] if bad else [])
            n_rows += len(entries)
        if damaged:
            self._remove(self._index.drop(damaged))
        return Verified(n_rows, n_unsound + len(damaged), files)

    def prune(self, *, unused_days: float | None = None, max_bytes: int | None = None) -> Pruned:
        """Remove incomplete files of killed runs, and optionally rows.

        Complete files that a killed run has not entered into the index are kept, see `rebuild`.

        Parameters
        ----------
        unused_days : float, optional
            Remove the rows of settings that were not used for this number of days.
        max_bytes : int, optional
            Remove rows, those of the least recently used setting first, until the shards
            are not larger than this.

        Returns
        -------
        Pruned
        """
        self.rebuild()
        orphans = self._orphans()
        shards = set(self._unused(unused_days) + self._over(max_bytes))
        before = self._index.counts()
        # Files first: on a full disk the index cannot be written before space has been freed.
        n_bytes = self._remove([*orphans, *(shard.file for shard in shards)])
        self._index.drop_shards([shard.id for shard in shards])
        self._drop_unsound()
        after = self._index.counts()
        missing = [key for key in self._index.paths() if _is_gone(key)]
        self._index.forget_files(missing)
        return Pruned(
            n_rows=before["n_rows"] - after["n_rows"],
            n_shards=before["n_shards"] - after["n_shards"],
            n_orphans=len(orphans),
            n_forgotten=len(missing),
            n_bytes=n_bytes,
        )

    def rebuild(self) -> Rebuilt:
        """Enter shards into the index by their own descriptions; replace a damaged index.

        Returns
        -------
        Rebuilt
        """
        index = Index(self.folder, shared=self.shared, is_being_rebuilt=True)
        is_new = not (self.folder / INDEX_FILE).exists() or index.remove_damaged()
        files = self._files()  # Before the index is read: another run may commit in between.
        entered = {shard.file for shard in index.shard_files()}
        n_before = index.counts()["n_rows"]
        n_shards = n_unknown = 0
        for file in sorted(set(files) - entered):
            if not file.endswith(SHARD_SUFFIX):
                continue
            if (description := describe(self.folder, file)) is None:
                n_unknown += 1
            else:
                n_shards += index.add(*description)
        n_rows = index.counts()["n_rows"] - n_before
        return Rebuilt(is_new, n_rows, n_shards, n_unknown)

    def shard_names(self) -> list[str]:
        """Every complete file of rows, in the index or not, relative to the folder."""
        make_private(self.folder, shared=self.shared, file=INDEX_FILE, inner=SHARD_FOLDER)
        return sorted(file for file in self._files() if file.endswith(SHARD_SUFFIX))

    def read_shard(self, file: str) -> tuple[Shard, dict[str, Any], npt.NDArray[Any]] | None:
        """Read a file of `shard_names` by its own description, without the index.

        Returns
        -------
        (Shard, dict, ndarray of shape (n_rows, width)) or None
            The shard and its settings, see `featx.store.shards.describe`, and its rows,
            memory-mapped and read-only. None if the file is damaged or has no description.
        """
        if (description := describe(self.folder, file)) is None:
            return None
        rows = open_shard(self.folder, file, description[0].layout)
        return None if rows is None else (*description, rows)

    def clear(self) -> Pruned:
        """Remove everything, even if the index is damaged.

        Returns
        -------
        Pruned
        """
        files = self._files()
        n_rows = self._index.empty()
        return Pruned(n_rows, len(files), 0, 0, self._remove(files))

    @property
    def _index(self) -> Index:
        return Index(self.folder, shared=self.shared)

    def _open(self, shard: ShardFile | None) -> npt.NDArray[Any] | None:
        """Rows of a shard; None if the shard is missing or damaged."""
        if shard is None:
            return None
        return open_shard(self.folder, shard.file, shard.layout)

    def _drop_unsound(self) -> int:
        """Remove invalid entries from the index; return the number of rows."""
        n_rows, files = self._index.drop_unsound()
        self._remove(files)
        return n_rows

    def _unused(self, days: float | None) -> list[ShardFile]:
        """Shards of settings that were not used for this number of days."""
        if days is None:
            return []
        since = time.time() - days * _DAY_S
        unused = self._index.setting_ids(unused_since=since)
        return [shard for shard in self._index.shard_files() if shard.setting in unused]

    def _over(self, max_bytes: int | None) -> list[ShardFile]:
        """Least recently used shards whose removal brings the store below a size."""
        if max_bytes is None:
            return []
        shards = self._index.shard_files()
        excess = sum(shard.layout.n_bytes for shard in shards) - max_bytes
        sizes = np.cumsum([0] + [shard.layout.n_bytes for shard in shards])
        return [shard for shard, size in zip(shards, sizes) if size < excess]

    def _orphans(self) -> list[str]:
        """Files that killed runs have not committed."""
        files = self._files()  # Before the index is read: another run may commit in between.
        entered = {shard.file for shard in self._index.shard_files()}
        return [file for file in files if file not in entered and is_orphan(self.folder / file)]

    def _files(self) -> list[str]:
        """All existing files of rows, in the index or not, relative to the folder."""
        with store_errors(self.folder):
            paths = (self.folder / SHARD_FOLDER).glob("*")
            names = [path.name for path in paths if path.is_symlink() or not path.is_dir()]
            return [f"{SHARD_FOLDER}/{name}" for name in names if is_shard_name(name)]

    def _remove(self, files: Iterable[str]) -> int:
        """Remove files in the folder of shards, never others; return their size in bytes."""
        n_bytes = 0
        with store_errors(self.folder):
            for file in files:
                path = self.folder / SHARD_FOLDER / Path(file).name
                if path.is_symlink() or path.is_file():
                    n_bytes += path.lstat().st_size
                    path.unlink(missing_ok=True)
        return n_bytes


def _is_gone(key: bytes) -> bool:
    """Whether a remembered file is not there any more; of remote ones nothing is known."""
    path = file_of(key)
    return path is not None and not os.path.exists(path)


def is_good(rows: npt.NDArray[Any] | None, entry: Entry) -> bool:
    """Whether an image's rows match their checksum."""
    if rows is None or not entry.is_within(len(rows)):
        return False
    return row_crc(entry.digest, rows[entry.start : entry.stop]) == entry.crc


def _stored_setting(row: dict[str, Any]) -> StoredSetting:
    """Convert a row of the index; invalid settings and times are replaced by empty values."""
    settings = _settings(row.pop("settings"))
    extractor = str(settings.get("extractor", "")).rpartition(".")[2]
    dtype = np.dtype(row.pop("dtype")).name
    row |= {name: _seconds(row[name]) for name in ("created", "used")}
    return StoredSetting(extractor=extractor, settings=settings, dtype=dtype, **row)


def _settings(text: Any) -> dict[str, Any]:
    try:
        settings = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return {}
    is_sound = isinstance(settings, dict) and isinstance(settings.get("parameters", {}), dict)
    return settings if is_sound else {}


def _seconds(value: Any) -> float:
    is_time = isinstance(value, int | float) and 0 <= value < _MAX_TIME_S
    return float(value) if is_time else 0.0
