"""The on-disk cache: one row per image and extractor setting, found by content.

An image is known by the digest of its bytes, an extractor's settings by their fingerprint.
Rows lie in shards (`featx.store.shards`), which workers write; an index (`featx.store.index`),
which only the parent writes, says where. What is not in the index does not exist, so that a run
may be killed at any moment.
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

from featx.data.images import Images
from featx.errors import DamagedRowWarning, ImageError, StoreError, UnstoredRowsWarning
from featx.process.phases import phase
from featx.store.index import INDEX_FILE, Entry, Identity
from featx.store.maintenance import Maintenance, is_good
from featx.store.private_folder import make_private, store_errors
from featx.store.shards import SHARD_FOLDER, Shard

_DEFAULT_STORE = "default"
"""What `open_store` takes for the user's own store."""

_N_AT_ONCE = 16
"""Most files that a thread hashes before it reports: a small one takes less than the report."""

_N_HASHED = 4096
"""Images hashed before what was learnt is written down."""

_N_OPEN = 32
"""Shards that `FeatureStore.read` keeps mapped."""

_SETTLE_NS = 2 * 10**9
"""A file changed so shortly before it was hashed may change again under the same times."""


class FeatureStore(Maintenance):
    """Rows of features on disk, by content of the image and settings of the extractor.

    Any number of processes may use one store at a time.

    Parameters
    ----------
    folder : path, optional
        Where it is; by default the environment's FEATX_STORE, else ``featx`` in the user's
        cache folder. It is made, private to the user, at first use.
    shared : bool, default=False
        Whether a group shares the store on purpose: owners of its folders and their groups are
        trusted, and what is new is writable by the folder's group.

    Attributes
    ----------
    folder : Path
    shared : bool

    Raises
    ------
    StoreError
        By every method, if others could change the folder or anything on the way to it, if the
        disk is full, or if the index is damaged.

    Notes
    -----
    Shards are joblib files, but they are never unpickled: reading a store, or verifying it, runs
    nothing that is in it. Its rows are believed, though: hence the private folder.
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
        """Digest of each image's content, or the error of one that cannot be read.

        A file whose path, size, times and inode are those remembered is not read.
        """
        found: list[str | ImageError] = []
        with ThreadPoolExecutor(joblib.cpu_count(), "featx-hash") as pool:
            for i in range(0, len(images), _N_HASHED):
                indices = range(i, min(i + _N_HASHED, len(images)))
                found.extend(self._digests(images, indices, pool))
        return found

    def missing(self, fingerprint: str, digests: Sequence[str]) -> list[int]:
        """Indices of the digests that have no row in the index."""
        known = self._index.known(fingerprint, digests)
        return [i for i, digest in enumerate(digests) if digest not in known]

    def width(self, fingerprint: str) -> int | None:
        """Columns of a setting's rows; None if it has none that can be read."""
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
            Indices that were not filled, since their rows are absent or damaged.

        Warns
        -----
        DamagedRowWarning
            Once, if rows failed their check; they are dropped from the index.
        """
        hits: dict[int, list[tuple[int, Entry]]] = defaultdict(list)
        entries = self._index.find(fingerprint, digests)
        for index, digest in zip(indices, digests, strict=True):
            if digest in entries:
                hits[entries[digest].shard].append((index, entries[digest]))
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
            damaged.update({entry for _, entry in shard_hits} - {entry for _, entry in good})
        self._index.touch(fingerprint)
        self._drop_damaged(damaged)
        return [index for index in indices if index not in filled]

    def read(
        self, fingerprint: str, digests: Sequence[str]
    ) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        """Rows of each image as ``(index, array of shape (k, w))``, in the order of `digests`.

        The arrays are views of the file, mapped into memory and read-only. Images whose
        rows are absent or damaged are left out.

        Warns
        -----
        DamagedRowWarning
            Once at the end, as `fill` does.
        """
        entries = self._index.find(fingerprint, digests)
        files = {it.id: it for it in self._index.shard_files({it.shard for it in entries.values()})}
        self._index.touch(fingerprint)
        open_cached = lru_cache(_N_OPEN)(lambda shard: self._open(files.get(shard)))
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
        """Enter a written shard into the index, at once and as a whole.

        Rows that images have already stay; a shard that brings nothing new is removed.

        Parameters
        ----------
        shard : Shard
            What `write_shard` gave.
        settings : dict
            What the fingerprint was taken of, kept for `ls`.
        """
        if not self._index.add(shard, settings):
            self._remove([shard.file])

    def _digests(
        self, images: Images, indices: Sequence[int], pool: ThreadPoolExecutor
    ) -> list[str | ImageError]:
        """Digests of a few images; what was learnt of their files is remembered."""
        now = time.time_ns()
        identities = {index: _identity(images.path(index)) for index in indices}
        known = self._index.known_files(it[0] for it in identities.values() if it is not None)
        found: dict[int, str | ImageError] = {}
        for index, it in identities.items():
            if it is not None and it[0] in known and known[it[0]][0] == it[1]:
                found[index] = known[it[0]][1]
        unknown = [index for index in indices if index not in found]
        new = []
        length = min(_N_AT_ONCE, max(1, len(unknown) // (4 * joblib.cpu_count())))
        parts = [unknown[i : i + length] for i in range(0, len(unknown), length)]
        hashed = pool.map(lambda part: [_try_digest(images, i) for i in part], parts)
        for index, digest in zip(unknown, chain.from_iterable(hashed)):
            found[index] = digest
            it = identities[index]
            if it is not None and isinstance(digest, str) and _is_settled(it[1], now):
                new.append((*it, digest))
        if new:
            self._index.remember_files(new)
        return [found[index] for index in indices]

    def _drop_damaged(self, entries: Collection[Entry]) -> None:
        """Warn of damaged rows, and take them out of the index."""
        if not entries:
            return
        self._remove(self._index.drop(entries))
        warnings.warn(
            f"{len(entries)} rows of the store in {self.folder} were damaged or gone; they are "
            "computed anew. Check the others with `featx cache verify`.",
            DamagedRowWarning,
            stacklevel=3,
        )


@overload
def open_store(store: None) -> None: ...
@overload
def open_store(store: str | os.PathLike[str] | FeatureStore) -> FeatureStore: ...
def open_store(store: str | os.PathLike[str] | FeatureStore | None) -> FeatureStore | None:
    """Store that a parameter `store` means.

    Parameters
    ----------
    store : {"default"}, path, FeatureStore or None
        The text ``default`` is the user's own store, see `FeatureStore`; a folder of that name
        is ``./default``. None is no store.

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
    """As `open_store`, but without a store where the user's own, which nobody named, is unusable.

    Warns
    -----
    UnstoredRowsWarning
        If others could change the user's own store, or it can be neither entered nor made.
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
    """Digest of each image's content, or its error, with the help of a store if there is one."""
    if store is not None:
        return store.digests(images)
    calls = (joblib.delayed(_try_digest)(images, index) for index in range(len(images)))
    return list(joblib.Parallel(joblib.cpu_count(), prefer="threads")(calls))


def _identity(path: str | None) -> tuple[bytes, Identity] | None:
    """Absolute path of a file and what changes when it does; None for what is no file."""
    if path is None:
        return None
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    # SQLite has no unsigned 64-bit numbers, which some file systems have as inodes.
    inode = status.st_ino & (2**63 - 1)
    name = os.fsencode(os.path.abspath(path))
    return name, (status.st_size, status.st_mtime_ns, status.st_ctime_ns, inode)


def _is_settled(identity: Identity, now_ns: int) -> bool:
    return now_ns - max(identity[1], identity[2]) > _SETTLE_NS


def _try_digest(images: Images, index: int) -> str | ImageError:
    try:
        return images.digest(index)
    except ImageError as error:
        return error
