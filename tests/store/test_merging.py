"""Merged stores hold the rows of all, whole and once."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from featx.errors import StoreError
from featx.store.feature_store import FeatureStore
from featx.store.merging import Merged, merge_stores
from featx.store.shards import write_shard

FINGERPRINT = "a" * 32
DIGESTS = [f"{i:032x}" for i in range(6)]
SETTINGS = {"extractor": "featx.extractors.color.MeanColor", "parameters": {}}
VALUES = np.arange(18, dtype=np.float32).reshape(6, 3)


def filled(folder: Path, part: slice, *, is_committed: bool = True) -> FeatureStore:
    """Store with the rows of some images."""
    store = FeatureStore(folder)
    store.missing(FINGERPRINT, [])
    producer = {"featx": "0", "device": "tpu"}
    shard = write_shard(folder, FINGERPRINT, DIGESTS[part], VALUES[part], producer, SETTINGS)
    if is_committed:
        store.commit(shard, SETTINGS)
    return store


def rows_of(store: FeatureStore) -> np.ndarray:
    out = np.zeros_like(VALUES)
    assert store.fill(FINGERPRINT, DIGESTS, out, range(6)) == []
    return out


def test_rows_of_all_sources_are_in_the_target(tmp_path: Path, store: FeatureStore) -> None:
    sources = [filled(tmp_path / "a", slice(0, 3)), filled(tmp_path / "b", slice(3, 6))]
    assert merge_stores(sources, store) == Merged(n_rows=6)
    np.testing.assert_array_equal(rows_of(store), VALUES)


def test_settings_and_producer_come_along(tmp_path: Path, store: FeatureStore) -> None:
    merge_stores([filled(tmp_path / "a", slice(0, 6))], store)
    [setting] = store.ls()
    assert setting.extractor == "MeanColor"
    [file] = store.shard_names()
    shard, settings, _ = store.read_shard(file) or pytest.fail("damaged")
    assert settings == SETTINGS
    assert shard.producer == {"featx": "0", "device": "tpu"}


def test_rows_that_are_there_are_not_copied_again(tmp_path: Path, store: FeatureStore) -> None:
    sources = [filled(tmp_path / "a", slice(0, 4)), filled(tmp_path / "b", slice(2, 6))]
    assert merge_stores(sources, store) == Merged(n_rows=6, n_present=2)
    assert merge_stores(sources, store) == Merged(n_present=8)
    assert store.info().n_rows == 6


def test_rows_of_a_killed_run_that_are_in_no_index_are_copied(
    tmp_path: Path, store: FeatureStore
) -> None:
    sources = [filled(tmp_path / "a", slice(0, 6), is_committed=False)]
    assert merge_stores(sources, store) == Merged(n_rows=6)


def test_ragged_rows_stay_those_of_their_images(tmp_path: Path, store: FeatureStore) -> None:
    rows = [VALUES[:2], VALUES[2:2], VALUES[2:6]]
    source = FeatureStore(tmp_path / "a")
    source.missing(FINGERPRINT, [])
    source.commit(write_shard(source.folder, FINGERPRINT, DIGESTS[:3], rows), SETTINGS)
    merge_stores([source], store)
    for (_, copied), expected in zip(store.read(FINGERPRINT, DIGESTS[:3]), rows, strict=True):
        np.testing.assert_array_equal(copied, expected)


def test_a_damaged_row_is_left_behind(tmp_path: Path, store: FeatureStore) -> None:
    source = filled(tmp_path / "a", slice(0, 6))
    path = source.folder / source.shard_names()[0]
    content = bytearray(path.read_bytes())
    content[content.index(VALUES[5].tobytes())] ^= 1
    path.write_bytes(content)
    assert merge_stores([source], store) == Merged(n_rows=5, n_damaged=1)


def test_a_truncated_file_is_left_behind(tmp_path: Path, store: FeatureStore) -> None:
    source = filled(tmp_path / "a", slice(0, 6))
    path = source.folder / source.shard_names()[0]
    path.write_bytes(path.read_bytes()[:-1])
    assert merge_stores([source], store) == Merged(n_unknown=1)


def test_a_store_that_is_not_there_is_named(tmp_path: Path, store: FeatureStore) -> None:
    with pytest.raises(StoreError, match=f"There is no store in {tmp_path}/none."):
        merge_stores([FeatureStore(tmp_path / "none")], store)
    assert not (tmp_path / "none").exists()


def test_a_store_is_not_merged_into_itself(tmp_path: Path) -> None:
    source = filled(tmp_path / "a", slice(0, 6))
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(StoreError, match="name another store"):
        merge_stores([source], FeatureStore(tmp_path / "link"))


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="modes are POSIX's")
def test_a_store_that_others_can_write_is_refused(tmp_path: Path, store: FeatureStore) -> None:
    source = filled(tmp_path / "a", slice(0, 6))
    source.folder.chmod(0o777)
    with pytest.raises(StoreError, match="could be changed by others"):
        merge_stores([source], store)
