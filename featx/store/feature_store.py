"""The on-disk store of features: one row per image and extractor setting, addressed by content.

An image is identified by the digest of its bytes, the settings of an extractor by their
fingerprint. Workers write rows to shards (`featx.store.shards`); only the parent process enters
them into the index (`featx.store.index`). A row that is not in the index does not exist, so that a
run may be killed at any time.
"""

from __future__ import annotations

import os
import time
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, overload

import joblib
import numpy.typing as npt
import platformdirs

from featx.data.blobs import Identity
from featx.data.images import Images
from featx.errors import DamagedRowWarning, ImageError, StoreError, UnstoredRowsWarning
from featx.process.phases import phase
from featx.store.index import INDEX_FILE, Entry
from featx.store.maintenance import Maintenance, is_good
from featx.store.private_folder import make_private, store_errors
from featx.store.shards import SHARD_FOLDER, Shard

_DEFAULT_STORE = "default"
"""Name of the user's own store for `open_store`."""

_MAX_FILES_PER_TASK = 16
"""Files that a thread hashes per task: hashing a small file is faster than scheduling a task."""

_N_PER_COMMIT = 4096
"""Images hashed between two writes of their digests to the index."""

_MAX_OPEN_SHARDS = 32
"""Shards that `FeatureStore.read` keeps mapped."""

_SETTLE_NS = 2 * 10**9
"""Files younger than this are not remembered: they may change again with the same time stamps."""


class FeatureStore(Maintenance):
    """Store of feature rows on disk, addressed by image content and extractor settings.

    Any number of processes may use a store at the same time.

    Parameters
    ----------
    folder : path, optional
        Folder of the store; by default the environment variable FEATX_STORE, else ``featx`` in
        the user's cache folder. It is created, private to the user, at first use.
    shared : bool, default=False
        Whether a group shares the store on purpose: the owners of its folders and their groups
        are trusted, and new files are writable by the folder's group.

    Attributes
    ----------
    folder : Path
    shared : bool

    Raises
    ------
    StoreError
        By every method, if others could change the folder or a parent of it, if the disk is full,
        or if the index is damaged.

    Notes
    -----
    Shards are joblib files, but they are never unpickled: reading or verifying a store executes
    nothing that is in it. Its rows are trusted, however, hence the private folder.
    """

    def __init__(
        self, folder: str | os.PathLike[str] | None = None, *, shared: bool = False
    ) -> None:
        chosen = folder or os.environ.get("FEATX_STORE") or platformdirs.user_cache_dir("featx")
        self.folder = Path(chosen).expanduser().absolute()
        self.shared = shared

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FeatureStore):
            return False
        return (self.folder, self.shared) == (other.folder, other.shared)

    def __hash__(self) -> int:
        return hash(self.folder)

    def __repr__(self) -> str:
        shared = ", shared=True" if self.shared else ""
        return f"FeatureStore({str(self.folder)!r}{shared})"

    @phase("hash files")
    def digests(self, images: Images) -> list[str | ImageError]:
        """Digest of each image's content, or the error if it cannot be read.

        A file is not read again if its path, size, times and inode have not changed.
        """
        digests: list[str | ImageError] = []
        with ThreadPoolExecutor(joblib.cpu_count(), "featx-hash") as pool:
            for i in range(0, len(images), _N_PER_COMMIT):
                indices = range(i, min(i + _N_PER_COMMIT, len(images)))
                digests.extend(self._digests(images, indices, pool))
        return digests

    def missing(self, fingerprint: str, digests: Sequence[str]) -> list[int]:
        """Indices of the digests that have no row in the index."""
        stored = self._index.stored_digests(fingerprint, digests)
        return [i for i, digest in enumerate(digests) if digest not in stored]

    def width(self, fingerprint: str) -> int | None:
        """Number of columns of a setting's rows; None if it has no readable rows."""
        shards = self._index.shard_files(self._index.shard_ids(fingerprint))
        readable = (shard.layout.width for shard in shards if self._open(shard) is not None)
        return next(readable, None)

    @phase("read rows")
    def fill(
        self,
        fingerprint: str,
        digests: Sequence[str],
        out: npt.NDArray[Any],
        indices: Sequence[int],
    ) -> list[int]:
        """Read the row of ``digests[i]`` into ``out[indices[i]]``.

        Parameters
        ----------
        fingerprint : str
        digests : sequence of str
        out : ndarray of shape (n, d)
        indices : sequence of int

        Returns
        -------
        list of int
            Indices that were not filled, as their rows are missing or damaged.

        Warns
        -----
        DamagedRowWarning
            Once, if rows failed their checksum; they are removed from the index.
        """
        hits: dict[int, list[tuple[int, Entry]]] = defaultdict(list)
        entries = self._index.find(fingerprint, digests)
        for index, digest in zip(indices, digests, strict=True):
            if entry := entries.get(digest):
                hits[entry.shard].append((index, entry))
        filled: set[int] = set()
        damaged: set[Entry] = set()
        files = {shard.id: shard for shard in self._index.shard_files(hits)}
        for shard_id, shard_hits in hits.items():
            rows = self._open(files.get(shard_id))
            if rows is not None and rows.shape[1] != out.shape[1]:
                rows = None
            good = [hit for hit in shard_hits if is_good(rows, hit[1]) and hit[1].is_single]
            if rows is not None and good:
                out[[index for index, _ in good]] = rows[[entry.start for _, entry in good]]
            filled.update(index for index, _ in good)
            if len(good) < len(shard_hits):
                damaged.update({entry for _, entry in shard_hits} - {entry for _, entry in good})
        self._index.touch(fingerprint)
        self._drop_damaged(damaged)
        return [index for index in indices if index not in filled]

    def read(
        self, fingerprint: str, digests: Sequence[str]
    ) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        """Iterate over the rows of each image, in the order of `digests`.

        Images whose rows are missing or damaged are skipped.

        Yields
        ------
        index : int
            Index of a digest.
        rows : ndarray of shape (n_rows, width)
            Read-only view of the memory-mapped shard.

        Warns
        -----
        DamagedRowWarning
            Once at the end, as in `fill`.
        """
        entries = self._index.find(fingerprint, digests)
        shards = self._index.shard_files({entry.shard for entry in entries.values()})
        files = {shard.id: shard for shard in shards}
        self._index.touch(fingerprint)
        open_cached = lru_cache(_MAX_OPEN_SHARDS)(lambda shard: self._open(files.get(shard)))
        damaged: set[Entry] = set()
        for i, entry in enumerate(map(entries.get, digests)):
            rows = None if entry is None else open_cached(entry.shard)
            if entry is not None and rows is not None and is_good(rows, entry):
                yield i, rows[entry.start : entry.stop]
            elif entry is not None:
                damaged.add(entry)
        self._drop_damaged(damaged)

    @phase("write rows")
    def commit(self, shard: Shard, settings: dict[str, Any]) -> None:
        """Enter a written shard into the index, in one transaction.

        Existing rows of the same images are kept; a shard without new rows is removed.

        Parameters
        ----------
        shard : Shard
            Returned by `write_shard`.
        settings : dict
            The settings behind the fingerprint, stored for `ls`.
        """
        if not self._index.add(shard, settings):
            self._remove([shard.file])

    def _digests(
        self, images: Images, indices: Sequence[int], pool: ThreadPoolExecutor
    ) -> list[str | ImageError]:
        """Digests of a few images; those of files are remembered in the index."""
        now = time.time_ns()
        files = dict(zip(indices, images.identities(indices)))
        remembered = self._index.remembered_files(file[0] for file in files.values() if file)
        digests: dict[int, str | ImageError] = {}
        for index, file in files.items():
            if file and file[0] in remembered and remembered[file[0]][0] == file[1]:
                digests[index] = remembered[file[0]][1]
        to_hash = [index for index in indices if index not in digests]
        length = min(_MAX_FILES_PER_TASK, max(1, len(to_hash) // (4 * joblib.cpu_count())))
        parts = [to_hash[i : i + length] for i in range(0, len(to_hash), length)]
        with images.reading_ahead(to_hash) as ahead:
            hashed = pool.map(lambda part: [_try_digest(ahead, i) for i in part], parts)
            digests |= zip(to_hash, chain.from_iterable(hashed))
        new = []
        for index in to_hash:
            file, digest = files[index], digests[index]
            if file and isinstance(digest, str) and _is_settled(file[1], now):
                new.append((*file, digest))
        if new:
            self._index.remember_files(new)
        return [digests[index] for index in indices]

    def _drop_damaged(self, entries: Collection[Entry]) -> None:
        """Warn of damaged rows, and remove them from the index."""
        if not entries:
            return
        self._remove(self._index.drop(entries))
        warnings.warn(
            f"{len(entries)} rows of the store in {self.folder} were damaged or missing and are "
            "recomputed. Check the others with `featx cache verify`.",
            DamagedRowWarning,
            stacklevel=3,
        )


@overload
def open_store(store: None) -> None: ...
@overload
def open_store(store: str | os.PathLike[str] | FeatureStore) -> FeatureStore: ...
def open_store(store: str | os.PathLike[str] | FeatureStore | None) -> FeatureStore | None:
    """Open the store of a parameter `store`.

    Parameters
    ----------
    store : {"default"}, path, FeatureStore or None
        ``"default"`` is the user's own store, see `FeatureStore`; write ``./default`` for a folder
        of that name. None is no store.

    Returns
    -------
    FeatureStore or None

    Examples
    --------
    >>> open_store("features").folder.name
    'features'
    >>> open_store("default") == FeatureStore()
    True
    """
    if store is None or isinstance(store, FeatureStore):
        return store
    return FeatureStore(None if store == _DEFAULT_STORE else store)


def open_usable_store(store: str | os.PathLike[str] | FeatureStore | None) -> FeatureStore | None:
    """Like `open_store`, but None instead of an error if the user's default store is unusable.

    Warns
    -----
    UnstoredRowsWarning
        If others could change the default store, or it can be neither opened nor created.
    """
    opened = open_store(store)
    if opened is None or store != _DEFAULT_STORE or os.environ.get("FEATX_STORE"):
        return opened
    try:
        with store_errors(opened.folder):
            make_private(opened.folder, file=INDEX_FILE, inner=SHARD_FOLDER)
    except StoreError as error:
        warnings.warn(f"Features are not stored. {error}", UnstoredRowsWarning, stacklevel=3)
        return None
    return opened


def find_digests(images: Images, store: FeatureStore | None) -> list[str | ImageError]:
    """Digest of each image's content, or its error; a store remembers the digests of files."""
    if store is not None:
        return store.digests(images)
    calls = (joblib.delayed(_try_digest)(images, index) for index in range(len(images)))
    return list(joblib.Parallel(joblib.cpu_count(), prefer="threads")(calls))


def _is_settled(identity: Identity, now_ns: int) -> bool:
    return now_ns - max(identity[1], identity[2]) > _SETTLE_NS


def _try_digest(images: Images, index: int) -> str | ImageError:
    try:
        return images.digest(index)
    except ImageError as error:
        return error
