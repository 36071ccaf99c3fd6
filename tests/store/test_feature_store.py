"""The store: what was written comes back bit by bit, or not at all."""

from __future__ import annotations

import copy
import os
import pickle
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import pytest

import featx.data.images
from featx.data.images import Images
from featx.errors import DamagedRowWarning, ImageError, StoreError, UnstoredRowsWarning
from featx.extractors.color import MeanColor
from featx.store.feature_store import FeatureStore, open_store, open_usable_store
from featx.store.index import INDEX_FILE, ShardFile
from featx.store.shards import _crc_of_parts, write_shard

FINGERPRINT = "f" * 32
DIGESTS = [f"{i:032x}" for i in range(6)]
ROWS = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


@pytest.fixture
def full(store: FeatureStore) -> FeatureStore:
    """Store with six rows of four columns in two shards."""
    assert store.missing(FINGERPRINT, DIGESTS) == list(range(6))
    for part in (slice(0, 4), slice(4, 6)):
        store.commit(
            write_shard(store.folder, FINGERPRINT, DIGESTS[part], ROWS[part]), {"extractor": "x"}
        )
    return store


@pytest.fixture
def n_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images whose content was read."""
    names: list[str] = []
    read = featx.data.images._read_content
    monkeypatch.setattr(
        featx.data.images,
        "_read_content",
        lambda item, name: (names.append(name), read(item, name))[1],
    )
    return names


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files made by the test itself count as old."""
    monkeypatch.setattr("featx.store.feature_store._SETTLE_NS", -(10**18))


def shards_of(store: FeatureStore) -> list[ShardFile]:
    return store._index.shard_files()


def flip_byte(path: Path, index: int) -> None:
    content = bytearray(path.read_bytes())
    content[index] ^= 0x10
    path.write_bytes(content)


def test_a_store_is_its_folder(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "a")
    assert store == FeatureStore(str(tmp_path / "a")) == copy.deepcopy(store)
    assert pickle.loads(pickle.dumps(store)) == store
    assert store != FeatureStore(tmp_path / "b")
    assert len({store, copy.copy(store)}) == 1
    assert not store.folder.exists()


def test_the_default_is_the_environment_s_else_the_user_s_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FEATX_STORE", str(tmp_path))
    assert FeatureStore().folder == tmp_path
    monkeypatch.delenv("FEATX_STORE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert "featx" in FeatureStore().folder.parts


def test_open_store_takes_none_paths_and_stores(store: FeatureStore) -> None:
    assert open_store(None) is None
    assert open_store(store) is store
    assert open_store(store.folder) == open_store(str(store.folder)) == store


def test_default_is_the_users_own_store_and_a_path_of_that_name_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_store("default") == FeatureStore()
    assert open_store("./default") == open_store(Path("default")) == FeatureStore("default")


def test_extractor_with_the_default_store_fills_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    MeanColor(store="default").fit_transform(np.zeros((2, 4, 4), np.uint8))
    assert FeatureStore().info().n_rows == 1
    assert list(tmp_path.iterdir()) == []


def test_rows_come_back_bit_by_bit_at_their_places(full: FeatureStore) -> None:
    out = np.zeros((9, 4), np.float32)
    assert full.fill(FINGERPRINT, DIGESTS[::-1], out, [8, 0, 2, 3, 4, 5]) == []
    np.testing.assert_array_equal(out[[8, 0, 2, 3, 4, 5]], ROWS[::-1])
    assert not out[[1, 6, 7]].any()


def test_missing_and_absent_rows_are_reported_by_index(full: FeatureStore) -> None:
    digests = ["a" * 32, DIGESTS[2], "b" * 32, DIGESTS[2]]
    assert full.missing(FINGERPRINT, digests) == [0, 2]
    out = np.zeros((8, 4), np.float32)
    assert full.fill(FINGERPRINT, digests, out, [7, 5, 3, 1]) == [7, 3]
    np.testing.assert_array_equal(out[[5, 1]], ROWS[[2, 2]])


def test_settings_do_not_see_each_other_s_rows(full: FeatureStore) -> None:
    assert full.width(FINGERPRINT) == 4
    assert full.width("e" * 32) is None
    assert full.missing("e" * 32, DIGESTS) == list(range(6))


def test_ragged_rows_are_read_in_the_order_asked_for(store: FeatureStore) -> None:
    parts = [np.full((k, 3), k, np.uint8) for k in (2, 0, 5)]
    store.missing(FINGERPRINT, [])
    for i in (0, 1):
        cut = slice(2 * i, 2 * i + 2)
        store.commit(write_shard(store.folder, FINGERPRINT, DIGESTS[:3][cut], parts[cut]), {})
    read = list(store.read(FINGERPRINT, [DIGESTS[2], "a" * 32, DIGESTS[0], DIGESTS[1], DIGESTS[2]]))
    assert [index for index, _ in read] == [0, 2, 3, 4]
    assert [len(row) for _, row in read] == [5, 2, 0, 5]
    assert all((row == len(row)).all() and row.shape[1] == 3 for _, row in read)


def test_more_shards_are_read_than_are_kept_open(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.store.feature_store._MAX_OPEN_SHARDS", 2)
    store.missing(FINGERPRINT, [])
    for i in range(6):
        store.commit(write_shard(store.folder, FINGERPRINT, [DIGESTS[i]], ROWS[i : i + 1]), {})
    read = dict(store.read(FINGERPRINT, DIGESTS * 2))
    np.testing.assert_array_equal(np.concatenate(list(read.values())), np.tile(ROWS, (2, 1)))


def test_a_damaged_row_is_left_out_with_one_warning_and_dropped(full: FeatureStore) -> None:
    shard = shards_of(full)[0]
    path = full.folder / shard.file
    flip_byte(path, path.read_bytes().index(ROWS[1].tobytes()) + 3)
    out = np.zeros((6, 4), np.float32)
    with pytest.warns(DamagedRowWarning, match=r"^1 rows .* recomputed") as seen:
        assert full.fill(FINGERPRINT, DIGESTS, out, range(6)) == [1]
    assert len(seen) == 1
    assert full.missing(FINGERPRINT, DIGESTS) == [1]
    np.testing.assert_array_equal(np.delete(out, 1, 0), np.delete(ROWS, 1, 0))


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: flip_byte(path, 2)])
def test_a_shard_gone_or_unreadable_loses_its_rows_only(full: FeatureStore, damage) -> None:
    damage(full.folder / shards_of(full)[0].file)
    with pytest.warns(DamagedRowWarning, match="^4 rows"):
        assert [i for i, _ in full.read(FINGERPRINT, DIGESTS)] == [4, 5]
    assert full.missing(FINGERPRINT, DIGESTS) == [0, 1, 2, 3]
    assert len(shards_of(full)) == len(list((full.folder / "shards").iterdir())) == 1


def change_index(store: FeatureStore, statement: str, *values: object) -> None:
    """Do to the index what featx never does."""
    with sqlite3.connect(store.folder / INDEX_FILE) as db:
        db.execute(statement, values)
    db.close()


class Crafted:
    """An object whose pickle makes a folder when it is read."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.sentinel),)


@pytest.fixture
def sentinel(tmp_path: Path) -> Iterator[Path]:
    """What a crafted shard makes if it is unpickled."""
    sentinel = tmp_path / "executed"
    pickle.loads(pickle.dumps(Crafted(sentinel)))
    sentinel.rmdir()
    yield sentinel
    assert not sentinel.exists()


def craft(
    store: FeatureStore, shard: ShardFile, sentinel: Path, *, is_in_index: bool = False
) -> None:
    """Put a pickle that runs code in the place of a shard, of the same size."""
    content = (store.folder / shard.file).read_bytes()
    header = pickle.dumps(Crafted(sentinel)).ljust(shard.layout.offset, b"\0")
    forged = header + content[len(header) :]
    (store.folder / shard.file).write_bytes(forged)
    if is_in_index:
        crc = _crc_of_parts(shard.layout, header, b".")
        change_index(store, "UPDATE shards SET container_crc = ? WHERE id = ?", crc, shard.id)


IMAGES = np.arange(4 * 27, dtype=np.uint8).reshape(4, 3, 3, 3)


def test_a_pickle_in_the_place_of_a_shard_is_not_run_and_its_rows_are_computed_anew(
    store: FeatureStore, sentinel: Path
) -> None:
    rows = MeanColor(store=store).fit_transform(IMAGES)
    for shard in shards_of(store):
        craft(store, shard, sentinel)
    with pytest.warns(DamagedRowWarning, match="^4 rows .* recomputed"):
        again = MeanColor(store=store).fit_transform(IMAGES)
    np.testing.assert_array_equal(again, rows)
    assert store.verify().n_damaged == 0


def test_a_pickle_that_the_index_vouches_for_is_not_run_either(
    full: FeatureStore, sentinel: Path
) -> None:
    craft(full, shards_of(full)[0], sentinel, is_in_index=True)
    out = np.zeros_like(ROWS)
    assert full.fill(FINGERPRINT, DIGESTS, out, range(6)) == []
    np.testing.assert_array_equal(out, ROWS)
    assert full.verify().n_damaged == 0


def test_verify_runs_no_pickle_but_reports_its_rows(full: FeatureStore, sentinel: Path) -> None:
    craft(full, shards_of(full)[0], sentinel)
    assert full.verify().n_damaged == 4
    assert full.missing(FINGERPRINT, DIGESTS) == [0, 1, 2, 3]


def test_a_store_is_used_without_any_unpickling(
    full: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("unpickled")

    for module, names in {
        pickle: ("load", "loads", "Unpickler", "_Unpickler"),
        joblib: ("load",),
        joblib.numpy_pickle: ("load", "Unpickler", "NumpyUnpickler"),
    }.items():
        for name in names:
            monkeypatch.setattr(module, name, fail)
    assert full.fill(FINGERPRINT, DIGESTS, np.zeros_like(ROWS), range(6)) == []
    assert [index for index, _ in full.read(FINGERPRINT, DIGESTS)] == list(range(6))
    assert full.verify().n_damaged == full.prune().n_rows == 0
    assert full.info().n_rows == full.ls()[0].n_rows == 6


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE shards SET file = '../x' || id",
        "UPDATE shards SET file = 'shards/../../' || id || '.joblib'",
        "UPDATE shards SET dtype = 'O'",
        "UPDATE shards SET dtype = '<i4'",
        "UPDATE shards SET width = 1 << 40, n_rows = 0",
        "UPDATE shards SET width = 'wide'",
        "UPDATE shards SET offset = 1 << 40",
        "UPDATE shards SET offset = -16",
        "UPDATE shards SET n_rows = n_rows + 1, offset = offset - 12",
        "UPDATE shards SET n_bytes = 1 << 60",
        "UPDATE entries SET start = -1",
        "UPDATE entries SET start = 'first'",
        "UPDATE entries SET stop = 1 << 60",
        "UPDATE entries SET stop = start",
        "UPDATE entries SET shard = 99",
        "UPDATE entries SET crc = 'sum'",
    ],
)
def test_rows_that_the_index_tells_wrong_are_damaged(store: FeatureStore, statement: str) -> None:
    rows = MeanColor(store=store).fit_transform(IMAGES)
    change_index(store, statement)
    with pytest.warns(DamagedRowWarning, match="^4 rows"):
        again = MeanColor(store=store).fit_transform(IMAGES)
    np.testing.assert_array_equal(again, rows)
    assert (store.verify().n_damaged, store.info().n_rows) == (0, 4)


def test_an_empty_row_is_no_row_of_features(store: FeatureStore) -> None:
    store.missing(FINGERPRINT, [])
    parts = [np.empty((0, 4), np.float32), ROWS[:1], np.empty((0, 4), np.float32)]
    store.commit(write_shard(store.folder, FINGERPRINT, DIGESTS[:3], parts), {})
    out = np.zeros((3, 4), np.float32)
    with pytest.warns(DamagedRowWarning, match="^2 rows"):
        assert store.fill(FINGERPRINT, DIGESTS[:3], out, range(3)) == [0, 2]
    np.testing.assert_array_equal(out[1], ROWS[0])


def test_a_healed_row_is_stored_and_read_again(full: FeatureStore) -> None:
    (full.folder / shards_of(full)[1].file).unlink()
    out = np.zeros((6, 4), np.float32)
    with pytest.warns(DamagedRowWarning):
        full.fill(FINGERPRINT, DIGESTS, out, range(6))
    full.commit(write_shard(full.folder, FINGERPRINT, DIGESTS[4:], ROWS[4:]), {})
    assert full.fill(FINGERPRINT, DIGESTS, out, range(6)) == []
    np.testing.assert_array_equal(out, ROWS)


def test_rows_of_another_width_are_no_rows(full: FeatureStore) -> None:
    with pytest.warns(DamagedRowWarning):
        assert full.fill(FINGERPRINT, DIGESTS[:1], np.zeros((1, 5), np.float32), [0]) == [0]


def test_a_shard_that_brings_nothing_new_is_removed(full: FeatureStore) -> None:
    full.commit(write_shard(full.folder, FINGERPRINT, DIGESTS, ROWS), {})
    assert len(list((full.folder / "shards").iterdir())) == 2


def test_reading_twice_writes_nothing(full: FeatureStore) -> None:
    before = (full.folder / "index.sqlite").stat().st_mtime_ns
    full.fill(FINGERPRINT, DIGESTS, np.zeros((6, 4), np.float32), range(6))
    assert (full.folder / "index.sqlite").stat().st_mtime_ns == before


def test_digests_are_those_of_the_content(store: FeatureStore, photos: list[str]) -> None:
    forms = [photos[0], Path(photos[1]).read_bytes(), np.zeros((4, 4), np.uint8), photos[1]]
    images = Images(forms)
    digests = store.digests(images)
    assert digests == [images.digest(i) for i in range(4)]
    assert digests[1] == digests[3]


def test_known_files_are_not_read_again(
    store: FeatureStore, photos: list[str], n_reads: list[str]
) -> None:
    first = store.digests(Images(photos))
    assert sorted(n_reads) == sorted(photos)
    n_reads.clear()
    assert FeatureStore(store.folder).digests(Images(photos[::-1])) == first[::-1]
    assert n_reads == []


def test_a_file_is_known_by_any_way_of_writing_its_path(
    store: FeatureStore, photos: list[str], n_reads: list[str]
) -> None:
    store.digests(Images(photos[:1]))
    n_reads.clear()
    store.digests(Images([os.path.relpath(photos[0]), Path(photos[0])]))
    assert n_reads == []


def test_a_file_just_written_is_hashed_again(
    store: FeatureStore, tmp_path: Path, n_reads: list[str]
) -> None:
    (tmp_path / "new.bin").write_bytes(b"new")
    for _ in range(2):
        store.digests(Images([tmp_path / "new.bin"]))
    assert len(n_reads) == 2


@pytest.mark.usefixtures("settled")
def test_a_changed_file_is_hashed_again(store: FeatureStore, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(b"one")
    before = store.digests(Images([path]))
    times = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # Same size and time of change.
    assert store.digests(Images([path])) != before


def test_what_cannot_be_read_is_an_error_in_its_place(
    store: FeatureStore, photos: list[str], tmp_path: Path
) -> None:
    (tmp_path / "empty.jpg").touch()
    names = [str(tmp_path / "gone.jpg"), photos[0], str(tmp_path / "empty.jpg"), "a\0b"]
    digests = store.digests(Images(names))
    assert [isinstance(digest, ImageError) for digest in digests] == [True, False, True, True]
    assert "empty" in digests[2].reason


def test_many_images_are_hashed_in_parts(
    store: FeatureStore, photos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.store.feature_store._N_PER_COMMIT", 5)
    images = Images(photos)
    assert store.digests(images) == [images.digest(i) for i in range(len(images))]


def test_nothing_stored_is_no_warning(store: FeatureStore) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.fill(FINGERPRINT, DIGESTS, np.zeros((6, 4), np.float32), range(6)) == list(
            range(6)
        )
        assert list(store.read(FINGERPRINT, DIGESTS)) == []


def test_threads_share_one_store(store: FeatureStore) -> None:
    def work(i: int) -> list[int]:
        digests = [f"{i * 100 + j:032x}" for j in range(20)]
        for digest in digests:
            store.missing(FINGERPRINT, digests)
            store.commit(write_shard(store.folder, FINGERPRINT, [digest], ROWS[:1]), {})
        return store.missing(FINGERPRINT, digests)

    store.missing(FINGERPRINT, [])
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [[]] * 8
    assert store.verify().n_rows == 160


def _open_to_all(store: Path) -> None:
    store.chmod(0o777)


def _shards_open_to_all(store: Path) -> None:
    (store / "shards").mkdir()
    (store / "shards").chmod(0o777)


def _shards_elsewhere(store: Path) -> None:
    (store.parent / "open").mkdir()
    (store.parent / "open").chmod(0o777)
    (store / "shards").symlink_to("../open")


def _index_elsewhere(store: Path) -> None:
    (store.parent / "index").touch()
    (store / INDEX_FILE).symlink_to("../index")


def _shards_are_a_file(store: Path) -> None:
    (store / "shards").touch()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="Windows has no modes")
@pytest.mark.parametrize(
    "spoil",
    [
        _open_to_all,
        _shards_open_to_all,
        _shards_elsewhere,
        _index_elsewhere,
        _shards_are_a_file,
        lambda store: os.chown(store, 12345, -1) if os.getuid() == 0 else pytest.skip("not root"),
    ],
)
def test_users_own_store_that_is_unsafe_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None]
) -> None:
    folder = tmp_path / "featx"
    folder.mkdir(mode=0o700)
    spoil(folder)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.delenv("FEATX_STORE", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / name))
    images = np.arange(384, dtype=np.uint8).reshape(2, 8, 8, 3)

    with pytest.warns(UnstoredRowsWarning, match=r"not stored\. The store in [^\n]*\.$") as warned:
        rows = MeanColor(store="default").fit_transform(images)

    assert len(warned) == 1
    np.testing.assert_array_equal(rows, MeanColor().fit_transform(images))
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(StoreError):
        MeanColor(store=folder).fit_transform(images)


def test_store_named_in_the_environment_is_the_users_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATX_STORE", str(tmp_path / "mine"))
    assert open_usable_store("default") == FeatureStore(tmp_path / "mine")
    assert not (tmp_path / "mine").exists()
