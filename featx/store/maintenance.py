"""Look after a store: what it holds, whether it is whole, and what can go."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

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
_LAST_S = 2.0**32
"""In 2106."""


@dataclass(frozen=True)
class StoreInfo:
    """What a store holds, in numbers.

    Attributes
    ----------
    folder : str
        Where it is.
    n_settings : int
        Extractor settings (and layers) that have rows.
    n_rows : int
        Rows, one for each image and setting.
    n_images : int
        Images, different in content, that have rows.
    n_shards : int
        Files of rows.
    n_files : int
        Image files whose content is remembered, so that they are not read again.
    n_bytes : int
        Size of the shards.
    index_bytes : int
        Size of the index.
    free_bytes : int
        Room left on the disk.
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
        Its digest: 32 hexadecimal characters.
    extractor : str
        Name of the class.
    settings : dict
        What the fingerprint was taken of; arrays are told by type and shape.
    n_rows : int
        Images that have rows.
    n_shards : int
        Files that they are in.
    n_bytes : int
        Size of these files.
    width : int
        Columns.
    dtype : str
        Type of the values.
    created, used : float
        When the first row was stored and when rows were last used (to the hour), in seconds
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
    """What reading every row of a store showed.

    Attributes
    ----------
    n_rows : int
        Rows read.
    n_damaged : int
        Rows that failed their check; they were dropped, and are computed when next wanted.
    damaged_files : list of str
        Shards that had such rows.
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
        Rows dropped.
    n_shards : int
        Files of rows removed.
    n_orphans : int
        Files removed that were in no index: of runs that were killed.
    n_forgotten : int
        Remembered image files that are no longer there.
    n_bytes : int
        Room gained.
    """

    n_rows: int
    n_shards: int
    n_orphans: int
    n_forgotten: int
    n_bytes: int


@dataclass(frozen=True)
class Rebuilt:
    """What was entered into an index that was made anew, or completed.

    Attributes
    ----------
    is_new : bool
        Whether there was no index, or a damaged one.
    n_rows : int
        Rows entered.
    n_shards : int
        Files that they are in.
    n_unknown : int
        Files left alone, as they are damaged, or written by a featx that did not say what they
        hold.
    """

    is_new: bool
    n_rows: int
    n_shards: int
    n_unknown: int


class Maintenance:
    """The half of `featx.store.feature_store.FeatureStore` that `featx cache` shows.

    Attributes
    ----------
    folder : Path
        Where the store is.
    shared : bool
        Whether a group shares it.
    """

    folder: Path
    shared: bool

    def info(self) -> StoreInfo:
        """Numbers of everything in the store."""
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
        """Every setting that has rows, the last used first."""
        return [_stored_setting(row) for row in self._index.settings()]

    def verify(self, watch: Callable[[int], None] | None = None) -> Verified:
        """Check every row; drop those that are damaged, to be computed when next wanted.

        Parameters
        ----------
        watch : callable, optional
            Called with the number of rows of each shard that is done.

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
            if watch is not None:
                watch(len(entries))
        if damaged:
            self._remove(self._index.drop(damaged))
        return Verified(n_rows, n_unsound + len(damaged), files)

    def prune(self, *, unused_days: float | None = None, max_bytes: int | None = None) -> Pruned:
        """Remove what is of no use: always what killed runs left, and what is asked for.

        Rows that a killed run had written whole, but not entered, are kept: see `rebuild`.

        Parameters
        ----------
        unused_days : float, optional
            Remove the rows of settings that were not used for so many days.
        max_bytes : int, optional
            Remove rows, those of the least recently used setting first, until the shards
            take no more room than this.

        Returns
        -------
        Pruned
        """
        self.rebuild()
        orphans = self._orphans()
        shards = set(self._unused(unused_days) + self._over(max_bytes))
        before = self._index.counts()
        # Files first: on a full disk the index cannot be written before there is room.
        n_bytes = self._remove([*orphans, *(shard.file for shard in shards)])
        self._index.drop_shards([shard.id for shard in shards])
        self._drop_unsound()
        after = self._index.counts()
        gone = [path for path in self._index.paths() if not os.path.exists(path)]
        self._index.forget_files(gone)
        return Pruned(
            n_rows=before["n_rows"] - after["n_rows"],
            n_shards=before["n_shards"] - after["n_shards"],
            n_orphans=len(orphans),
            n_forgotten=len(gone),
            n_bytes=n_bytes,
        )

    def rebuild(self) -> Rebuilt:
        """Enter what the shards say that they hold; into a new index if it is damaged or gone.

        Returns
        -------
        Rebuilt
        """
        index = Index(self.folder, shared=self.shared, is_being_rebuilt=True)
        is_new = not (self.folder / INDEX_FILE).exists() or index.remove_damaged()
        files = self._files()  # Before the index is read, for a commit may come between.
        entered = {shard.file for shard in index.shard_files()}
        n_before = index.counts()["n_rows"]
        n_shards = n_unknown = 0
        for file in sorted(set(files) - entered):
            if not file.endswith(SHARD_SUFFIX):
                continue
            if (held := describe(self.folder, file)) is None:
                n_unknown += 1
            else:
                n_shards += index.add(*held)
        n_rows = index.counts()["n_rows"] - n_before
        return Rebuilt(is_new, n_rows, n_shards, n_unknown)

    def shard_names(self) -> list[str]:
        """Every whole file of rows, entered in the index or not, relative to the folder."""
        make_private(self.folder, shared=self.shared, file=INDEX_FILE, inner=SHARD_FOLDER)
        return sorted(file for file in self._files() if file.endswith(SHARD_SUFFIX))

    def read_shard(self, file: str) -> tuple[Shard, dict[str, Any], npt.NDArray[Any]] | None:
        """What a file of `shard_names` holds, by what it says itself.

        Returns
        -------
        shard, settings : Shard, dict
            As of `featx.store.shards.describe`.
        rows : ndarray of shape (n_rows, width)
            Mapped into memory, read-only.
        None instead, if the file is damaged, or of a featx whose files do not say what they hold.
        """
        if (held := describe(self.folder, file)) is None:
            return None
        rows = open_shard(self.folder, file, held[0].layout)
        return None if rows is None else (*held, rows)

    def clear(self) -> Pruned:
        """Remove everything, and begin anew if the index is damaged.

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
        """A shard's array; None if it is gone or damaged."""
        if shard is None:
            return None
        return open_shard(self.folder, shard.file, shard.layout)

    def _drop_unsound(self) -> int:
        """Take out of the index what cannot be right; number of rows."""
        n_rows, files = self._index.drop_unsound()
        self._remove(files)
        return n_rows

    def _unused(self, days: float | None) -> list[ShardFile]:
        """Shards of settings not used for so many days."""
        if days is None:
            return []
        since = time.time() - days * _DAY_S
        old = self._index.setting_ids(unused_since=since)
        return [shard for shard in self._index.shard_files() if shard.setting in old]

    def _over(self, max_bytes: int | None) -> list[ShardFile]:
        """Shards that have to go, from the least recently used on, to come under a size."""
        if max_bytes is None:
            return []
        shards = self._index.shard_files()
        excess = sum(shard.layout.n_bytes for shard in shards) - max_bytes
        sizes = np.cumsum([0] + [shard.layout.n_bytes for shard in shards])
        return [shard for shard, size in zip(shards, sizes) if size < excess]

    def _orphans(self) -> list[str]:
        """Files of runs that were killed before they committed them."""
        files = self._files()  # Before the index is read, for a commit may come between.
        entered = {shard.file for shard in self._index.shard_files()}
        return [it for it in files if it not in entered and is_orphan(self.folder / it)]

    def _files(self) -> list[str]:
        """Every file of rows that is there, entered or not, relative to the folder."""
        with store_errors(self.folder):
            paths = (self.folder / SHARD_FOLDER).glob("*")
            names = [it.name for it in paths if it.is_symlink() or not it.is_dir()]
            return [f"{SHARD_FOLDER}/{name}" for name in names if is_shard_name(name)]

    def _remove(self, files: Iterable[str]) -> int:
        """Remove files of the folder of shards, never others; their size in bytes."""
        n_bytes = 0
        with store_errors(self.folder):
            for file in files:
                path = self.folder / SHARD_FOLDER / Path(file).name
                if path.is_symlink() or path.is_file():
                    n_bytes += path.lstat().st_size
                    path.unlink(missing_ok=True)
        return n_bytes


def is_good(rows: npt.NDArray[Any] | None, entry: Entry) -> bool:
    """Whether an image's rows are those that were written."""
    if rows is None or not entry.is_within(len(rows)):
        return False
    return row_crc(entry.digest, rows[entry.start : entry.stop]) == entry.crc


def _stored_setting(row: dict[str, Any]) -> StoredSetting:
    """A row of the index for people; what is not what it should be is left out."""
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
    is_time = isinstance(value, int | float) and 0 <= value < _LAST_S
    return float(value) if is_time else 0.0
