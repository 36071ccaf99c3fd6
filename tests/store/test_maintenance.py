"""Upkeep of a store: numbers that add up, and nothing removed that is of use."""

from __future__ import annotations

import os
import sqlite3
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from featx.data.images import Images
from featx.errors import StoreError
from featx.store.feature_store import FeatureStore
from featx.store.index import INDEX_FILE
from featx.store.shards import write_shard

OLD, NEW = "a" * 32, "b" * 32
DIGESTS = [f"{i:032x}" for i in range(4)]


@pytest.fixture
def full(store: FeatureStore) -> FeatureStore:
    """Store with four rows of each of two settings; the first was last used ten days ago."""
    store.missing(OLD, [])
    for fingerprint, width in ((OLD, 100), (NEW, 50)):
        for part in (DIGESTS[:2], DIGESTS[2:]):
            rows = np.ones((2, width), np.float32)
            settings = {"extractor": "featx.extractors.color.MeanColor", "parameters": {"n": width}}
            shard = write_shard(store.folder, fingerprint, part, rows, settings=settings)
            store.commit(shard, settings)
    age(store, OLD, days=10)
    return store


def age(store: FeatureStore, fingerprint: str, days: float) -> None:
    """Make a setting's last use lie in the past."""
    with sqlite3.connect(store.folder / INDEX_FILE) as db:
        used = time.time() - days * 86_400
        db.execute("UPDATE settings SET used = ? WHERE fingerprint = ?", (used, fingerprint))
    db.close()


def files(store: FeatureStore) -> list[Path]:
    return sorted((store.folder / "shards").iterdir())


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b'{"fingerprint"') - 10] ^= 1  # In the last row.
    path.write_bytes(content)


def test_info_counts_everything(full: FeatureStore) -> None:
    info = full.info()
    assert (info.n_settings, info.n_rows, info.n_images, info.n_shards) == (2, 8, 4, 4)
    assert info.n_bytes == sum(path.stat().st_size for path in files(full))
    assert info.index_bytes == (full.folder / INDEX_FILE).stat().st_size
    assert info.folder == str(full.folder)
    assert info.free_bytes > 0


def test_info_of_a_store_never_used_is_zero(store: FeatureStore) -> None:
    assert store.info().n_rows == store.info().n_bytes == 0
    assert store.ls() == []


def test_ls_tells_settings_the_last_used_first(full: FeatureStore) -> None:
    new, old = full.ls()
    assert (new.fingerprint, new.extractor, new.width, new.dtype) == (
        NEW,
        "MeanColor",
        50,
        "float32",
    )
    assert (old.n_rows, old.n_shards, old.settings["parameters"]) == (4, 2, {"n": 100})
    assert sum(setting.n_bytes for setting in (new, old)) == full.info().n_bytes
    assert new.used - old.used == pytest.approx(10 * 86_400, abs=60)


def test_use_is_noted_to_the_hour(full: FeatureStore) -> None:
    full.fill(OLD, DIGESTS, np.empty((4, 100), np.float32), range(4))
    assert time.time() - full.ls()[0].used < 60


def test_verify_accepts_intact_rows(full: FeatureStore) -> None:
    assert asdict(full.verify()) == {"n_rows": 8, "n_damaged": 0, "damaged_files": []}


def test_verify_drops_damaged_rows(full: FeatureStore) -> None:
    victim = full._index.shard_files()[0]
    damage(full.folder / victim.file)
    verified = full.verify()
    assert (verified.n_damaged, verified.damaged_files) == (1, [victim.file])
    assert full.missing(OLD, DIGESTS) == [1]
    assert full.verify().n_damaged == 0


def test_prune_alone_removes_nothing_of_use(full: FeatureStore) -> None:
    assert full.prune().n_bytes == 0
    assert full.info().n_rows == 8


def test_prune_removes_settings_not_used_for_long(full: FeatureStore) -> None:
    n_bytes = full.ls()[1].n_bytes
    pruned = full.prune(unused_days=9)
    assert (pruned.n_rows, pruned.n_shards, pruned.n_bytes) == (4, 2, n_bytes)
    assert [setting.fingerprint for setting in full.ls()] == [NEW]
    assert len(files(full)) == 2


def test_prune_to_a_size_spares_the_last_used(full: FeatureStore) -> None:
    new, old = full.ls()
    pruned = full.prune(max_bytes=new.n_bytes + old.n_bytes - 1)
    assert (pruned.n_rows, full.info().n_rows) == (2, 6)
    full.prune(max_bytes=new.n_bytes)
    assert [setting.fingerprint for setting in full.ls()] == [NEW]
    full.prune(max_bytes=0)
    assert files(full) == []


def test_prune_removes_what_killed_runs_left(full: FeatureStore) -> None:
    young = full.folder / write_shard(full.folder, NEW, DIGESTS, np.ones((4, 50))).file
    orphan = full.folder / write_shard(full.folder, NEW, DIGESTS, np.ones((4, 50))).file
    torn = orphan.with_name(orphan.name + ".tmp")
    torn.write_bytes(b"half")
    for path in (orphan, torn, files(full)[0]):
        os.utime(path, (0, 0))
    assert full.prune().n_orphans == 2
    assert young.exists()
    assert not orphan.exists()
    assert not torn.exists()
    assert full.verify().n_damaged == 0


@pytest.mark.parametrize("name", ["notes.txt", "classifier.joblib", "a.joblib.tmp"])
def test_strangers_files_are_left_alone(full: FeatureStore, name: str) -> None:
    stranger = full.folder / "shards" / name
    stranger.touch()
    os.utime(stranger, (0, 0))
    full.prune()
    full.clear()
    assert stranger.exists()


def test_prune_forgets_files_that_are_gone(
    full: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.store.feature_store._SETTLE_NS", -(10**18))
    path = tmp_path / "image"
    path.write_bytes(b"one")
    full.digests(Images([path]))
    assert full.prune().n_forgotten == 0
    path.unlink()
    assert full.prune().n_forgotten == 1
    assert full.info().n_files == 0


def test_clear_removes_everything(full: FeatureStore) -> None:
    n_bytes = full.info().n_bytes
    cleared = full.clear()
    assert (cleared.n_rows, cleared.n_shards, cleared.n_bytes) == (8, 4, n_bytes)
    assert files(full) == full.ls() == []
    assert full.missing(NEW, DIGESTS) == [0, 1, 2, 3]


def test_clear_begins_anew_after_damage(full: FeatureStore) -> None:
    (full.folder / INDEX_FILE).write_bytes(b"no database " * 1000)
    assert full.clear().n_shards == 4
    assert full.info().n_rows == 0
    assert files(full) == []


def change_index(store: FeatureStore, statement: str) -> None:
    """Do to the index what featx never does."""
    with sqlite3.connect(store.folder / INDEX_FILE) as db:
        db.execute(statement)
    db.close()


@pytest.mark.parametrize("name", ["../outside", "shards/../../outside", "{folder}/outside", ".."])
@pytest.mark.parametrize("act", ["verify", "prune", "prune to nothing", "clear"])
def test_no_file_outside_the_store_is_removed(
    full: FeatureStore, tmp_path: Path, name: str, act: str
) -> None:
    (tmp_path / "outside").touch()
    name = name.format(folder=tmp_path)
    change_index(full, f"UPDATE shards SET file = '{name}' WHERE id = 1")
    acts = {
        "verify": lambda: full.verify().n_damaged,
        "prune": lambda: full.prune().n_rows,
        "prune to nothing": lambda: full.prune(max_bytes=0).n_rows,
        "clear": lambda: full.clear().n_rows,
    }
    assert acts[act]() in (2, 8)
    assert (tmp_path / "outside").exists()
    assert full.verify().n_damaged == 0


def test_rows_of_a_damaged_entry_are_entered_anew_from_their_file(full: FeatureStore) -> None:
    change_index(full, "UPDATE shards SET offset = 1 WHERE id = 1")
    assert (full.verify().n_damaged, len(files(full))) == (2, 4)
    assert full.info().n_rows == 6
    full.prune()
    assert (full.info().n_rows, len(files(full)), full.verify().n_damaged) == (8, 4, 0)


@pytest.mark.parametrize("settings", ["", "[1]", "[" * 10**5, '{"parameters": 3}', b"\xff"])
def test_a_setting_that_cannot_be_read_is_listed_without_what_it_says(
    full: FeatureStore, settings: str | bytes
) -> None:
    with sqlite3.connect(full.folder / INDEX_FILE) as db:
        db.execute("UPDATE settings SET settings = ?, created = 'x', used = 9e999", (settings,))
    db.close()
    assert [(it.settings, it.created, it.used) for it in full.ls()] == [({}, 0, 0)] * 2


def fill_disk(folder: Path) -> None:
    handle = os.open(folder / "filler", os.O_CREAT | os.O_WRONLY)
    try:
        while os.write(handle, bytes(512)):
            pass
    except OSError:
        os.close(handle)


def test_a_full_disk_is_read_pruned_and_cleared(tiny_disk: Path) -> None:
    store = FeatureStore(tiny_disk)
    store.missing(OLD, [])
    rows = np.ones((4, 4000), np.float32)
    store.commit(write_shard(tiny_disk, OLD, DIGESTS, rows), {})
    store.commit(write_shard(tiny_disk, NEW, DIGESTS, rows), {})
    age(store, OLD, days=10)
    fill_disk(tiny_disk)
    assert store.info().free_bytes == 0
    assert store.fill(OLD, DIGESTS, rows, range(4)) == []
    assert store.prune(unused_days=9).n_rows == 4
    fill_disk(tiny_disk)
    store.clear()
    assert files(store) == store.ls() == []


@pytest.mark.parametrize("lost", ["gone", "damaged", "half"])
def test_rebuild_restores_every_row_of_a_lost_index(full: FeatureStore, lost: str) -> None:
    index = full.folder / INDEX_FILE
    before, listed = rows_of(full), [(it.fingerprint, it.settings) for it in full.ls()]
    content = index.read_bytes()
    changed = {"gone": b"", "damaged": b"x" * 9999, "half": content[: len(content) // 2]}[lost]
    index.unlink() if lost == "gone" else index.write_bytes(changed)

    assert asdict(full.rebuild()) == {"is_new": True, "n_rows": 8, "n_shards": 4, "n_unknown": 0}

    np.testing.assert_equal(rows_of(full), before)
    assert sorted((it.fingerprint, it.settings) for it in full.ls()) == sorted(listed)
    assert full.verify().n_damaged == 0


def rows_of(store: FeatureStore) -> dict[str, np.ndarray]:
    return {key: np.stack([row for _, row in store.read(key, DIGESTS)]) for key in (OLD, NEW)}


def test_rebuild_does_not_advise_to_rebuild(
    full: FeatureStore, caplog: pytest.LogCaptureFixture
) -> None:
    (full.folder / INDEX_FILE).unlink()
    assert full.rebuild().n_rows == 8
    assert not caplog.messages


def test_prune_removes_no_row_of_a_lost_index(
    full: FeatureStore, caplog: pytest.LogCaptureFixture
) -> None:
    before = rows_of(full)
    (full.folder / INDEX_FILE).unlink()
    for path in files(full):
        os.utime(path, (0, 0))
    assert full.prune().n_orphans == 0
    np.testing.assert_equal(rows_of(full), before)
    assert not caplog.messages


def test_rebuild_of_a_whole_index_enters_what_is_not_in_it(full: FeatureStore) -> None:
    write_shard(full.folder, NEW, ["aa" * 16], np.ones((1, 50), np.float32))
    rebuilt = full.rebuild()
    assert (rebuilt.is_new, rebuilt.n_rows, rebuilt.n_shards) == (False, 1, 1)
    assert full.missing(NEW, ["aa" * 16]) == []
    assert full.rebuild().n_rows == 0


def test_rebuild_leaves_shards_alone_that_do_not_say_what_they_hold(full: FeatureStore) -> None:
    old, torn, *_ = files(full)
    content = old.read_bytes()
    old.write_bytes(content[: content.index(b'{"fingerprint"')])  # As joblib wrote it.
    torn.write_bytes(torn.read_bytes()[:-40])
    (full.folder / INDEX_FILE).unlink()
    assert asdict(full.rebuild()) == {"is_new": True, "n_rows": 4, "n_shards": 2, "n_unknown": 2}
    assert len(files(full)) == 4


def test_rebuild_leaves_an_index_alone_that_is_another_programs(full: FeatureStore) -> None:
    (full.folder / INDEX_FILE).unlink()
    with sqlite3.connect(full.folder / INDEX_FILE) as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    content = (full.folder / INDEX_FILE).read_bytes()
    with pytest.raises(StoreError, match="was not made by featx"):
        full.rebuild()
    assert (full.folder / INDEX_FILE).read_bytes() == content
