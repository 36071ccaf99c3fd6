"""Merge the rows of several stores into one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import StoreError
from featx.store.feature_store import FeatureStore
from featx.store.private_folder import store_errors
from featx.store.shards import Shard, row_crc, write_shard


@dataclass(frozen=True)
class Merged:
    """Result of merging stores.

    Attributes
    ----------
    n_rows : int
        Number of copied rows.
    n_present : int
        Number of rows that the target already had.
    n_damaged : int
        Number of rows that failed their checksum and were not copied.
    n_unknown : int
        Number of files that were not copied, as they are damaged or of another version.
    """

    n_rows: int = 0
    n_present: int = 0
    n_damaged: int = 0
    n_unknown: int = 0

    def __add__(self, other: Merged) -> Merged:
        names = [field.name for field in fields(self)]
        return Merged(*(getattr(self, name) + getattr(other, name) for name in names))


def merge_stores(
    sources: Sequence[FeatureStore],
    target: FeatureStore,
    progress: Callable[[int], None] | None = None,
) -> Merged:
    """Copy the rows of several stores into another one, which may be new.

    Every row is verified before it is copied. Each file of rows is copied completely or not at all;
    a merge that was killed can be repeated and copies only what is missing. The sources are not
    changed. Complete files that a killed run has not entered into the index are copied, too.

    Parameters
    ----------
    sources : sequence of FeatureStore
        As for every store, no other user may be able to change them.
    target : FeatureStore
    progress : callable, optional
        Called with the number of images of each completed file.

    Returns
    -------
    Merged

    Raises
    ------
    StoreError
        If a store does not exist, is not safe to use, or is the target itself.

    Examples
    --------
    >>> import tempfile
    >>> from featx import FeatureStore, extract
    >>> folder = tempfile.mkdtemp()
    >>> stores = [FeatureStore(f"{folder}/{k}") for k in range(3)]
    >>> for part, store in zip(("1/2", "2/2"), stores):
    ...     _ = extract("digits", "color", part=part, store=store)
    >>> merge_stores(stores[:2], stores[2]).n_rows
    1797
    """
    for source in sources:
        if not source.folder.is_dir():
            raise StoreError(f"There is no store in {source.folder}.")
        if target.folder.is_dir() and source.folder.samefile(target.folder):
            raise StoreError(f"{source.folder} is the target; name another store to merge into it.")
    merged = Merged()
    for source in sources:
        for file in source.shard_names():
            n_images, counts = _merge_file(source, file, target)
            merged += counts
            if progress is not None:
                progress(n_images)
    return merged


def _merge_file(source: FeatureStore, file: str, target: FeatureStore) -> tuple[int, Merged]:
    """Copy the new rows of a file; return the number of its images, and the counts."""
    with store_errors(source.folder):
        shard, settings, rows = source.read_shard(file) or (None, {}, None)
    if shard is None or rows is None:
        return 0, Merged(n_unknown=1)
    missing = target.missing(shard.fingerprint, shard.digests)
    good = [i for i in missing if _is_good(shard, rows, i)]
    if good:
        target.commit(_copy(shard, rows, good, settings, target), settings)
    n_images = len(shard.digests)
    return n_images, Merged(len(good), n_images - len(missing), len(missing) - len(good))


def _is_good(shard: Shard, rows: npt.NDArray[Any], i: int) -> bool:
    """Whether the rows of an image match their checksum."""
    start, stop = shard.starts[i], shard.stops[i]
    is_within = start <= stop <= len(rows)
    return is_within and row_crc(shard.digests[i], rows[start:stop]) == shard.crcs[i]


def _copy(
    shard: Shard,
    rows: npt.NDArray[Any],
    indices: Sequence[int],
    settings: dict[str, Any],
    target: FeatureStore,
) -> Shard:
    """Write the rows of some of a file's images to a new file of the target."""
    parts = [rows[shard.starts[i] : shard.stops[i]] for i in indices]
    is_single = all(len(part) == 1 for part in parts)
    return write_shard(
        target.folder,
        shard.fingerprint,
        [shard.digests[i] for i in indices],
        np.concatenate(parts) if is_single else parts,
        shard.producer,
        settings,
    )
