"""The index: private, transactional, quick, and clear about what is wrong with it."""

from __future__ import annotations

import os
import re
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.errors import StoreError
from featx.store.index import _SCHEMA_VERSION, INDEX_FILE, Index, _select_in
from featx.store.private_folder import make_private
from featx.store.shards import Shard, write_shard

FINGERPRINT = "f" * 32
DIGESTS = [f"{i:032x}" for i in range(4)]


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(tmp_path / "store")


def entered(index: Index, digests: list[str], fingerprint: str = FINGERPRINT) -> Shard:
    make_private(index.folder)
    rows = np.ones((len(digests), 2), np.float32)
    shard = write_shard(index.folder, fingerprint, digests, rows)
    assert index.add(shard, {"extractor": "Test"})
    return shard


def change(index: Index, statement: str) -> None:
    """Do to an index what none of its writers does."""
    with sqlite3.connect(index.folder / INDEX_FILE) as db:
        db.execute(statement)
    db.close()


def test_entries_are_found_by_setting_and_digest(index: Index) -> None:
    shard = entered(index, DIGESTS[:3])
    entries = index.find(FINGERPRINT, DIGESTS)
    assert sorted(entries) == DIGESTS[:3]
    assert [entries[it].start for it in DIGESTS[:3]] == [0, 1, 2]
    assert [entries[it].crc for it in DIGESTS[:3]] == list(shard.crcs)
    assert index.stored_digests(FINGERPRINT, DIGESTS) == set(DIGESTS[:3])
    assert index.find("e" * 32, DIGESTS) == {}


def test_an_image_keeps_its_first_rows(index: Index) -> None:
    entered(index, DIGESTS[:2])
    first = index.find(FINGERPRINT, DIGESTS)
    entered(index, DIGESTS[1:])
    assert index.find(FINGERPRINT, DIGESTS)[DIGESTS[1]] == first[DIGESTS[1]]
    assert index.counts()["n_rows"] == 4


def test_a_shard_without_news_is_not_entered(index: Index) -> None:
    shard = entered(index, DIGESTS)
    again = replace(
        shard, file=write_shard(index.folder, FINGERPRINT, DIGESTS, np.ones((4, 2))).file
    )
    assert not index.add(again, {})
    assert index.counts()["n_shards"] == 1


def test_a_shard_whose_file_is_gone_is_not_entered(index: Index) -> None:
    make_private(index.folder)
    shard = write_shard(index.folder, FINGERPRINT, DIGESTS, np.ones((4, 2)))
    (index.folder / shard.file).unlink()
    assert not index.add(shard, {})
    assert index.stored_digests(FINGERPRINT, DIGESTS) == set()


def test_a_transaction_that_fails_leaves_nothing(index: Index) -> None:
    make_private(index.folder)
    shard = write_shard(index.folder, FINGERPRINT, DIGESTS, np.ones((4, 2)))
    with pytest.raises(ValueError, match="shorter"):
        index.add(replace(shard, crcs=shard.crcs[:2]), {})
    assert index.counts()["n_rows"] == index.counts()["n_shards"] == 0


def test_a_shard_goes_with_its_last_row(index: Index) -> None:
    shard = entered(index, DIGESTS[:2])
    entries = index.find(FINGERPRINT, DIGESTS)
    assert index.drop([entries[DIGESTS[0]]]) == []
    assert index.drop([entries[DIGESTS[1]]]) == [shard.file]
    assert index.settings() == []


def test_dropping_damaged_rows_spares_those_healed_meanwhile(index: Index) -> None:
    entered(index, DIGESTS[:1])
    old = index.find(FINGERPRINT, DIGESTS)[DIGESTS[0]]
    index.drop([old])
    entered(index, DIGESTS)
    index.drop([old])
    assert index.stored_digests(FINGERPRINT, DIGESTS) == set(DIGESTS)


def test_arrays_in_settings_are_shortened(index: Index) -> None:
    make_private(index.folder)
    shard = write_shard(index.folder, FINGERPRINT, DIGESTS, np.ones((4, 2)))
    index.add(shard, {"words": np.zeros((5, 64)), "n": np.int64(3), "path": Path("a")})
    assert index.settings()[0]["settings"] == '{"words": "float64[5, 64]", "n": 3, "path": "a"}'


def test_a_hundred_thousand_digests_are_searched_for_and_not_scanned(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = [f"{i * 7919 % 2**64:016x}" * 2 for i in range(100_000)]
    entered(index, digests[::2])
    plans: list[str] = []

    def explained(db: sqlite3.Connection, query: str, values: list[bytes]) -> list[Any]:
        plan = db.execute(f"EXPLAIN QUERY PLAN {query} (?)", values[:1])
        plans.extend(row[-1] for row in plan)
        return _select_in(db, query, values)

    monkeypatch.setattr("featx.store.index._select_in", explained)
    assert len(index.stored_digests(FINGERPRINT, digests)) == 50_000
    assert plans
    assert all(plan.startswith("SEARCH entries USING") for plan in plans)


def test_files_are_remembered_by_any_name(index: Index) -> None:
    identity = (1, 2, 3, 2**63 - 1)
    index.remember_files([(b"/caf\xe9.jpg", identity, DIGESTS[0])])
    assert index.remembered_files([b"/caf\xe9.jpg", b"/b"]) == {
        b"/caf\xe9.jpg": (identity, DIGESTS[0])
    }
    index.forget_files(index.paths())
    assert index.paths() == []


def test_a_newer_index_is_refused_by_its_version(index: Index) -> None:
    index.counts()
    with sqlite3.connect(index.folder / INDEX_FILE) as db:
        db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION + 1}")
    db.close()
    with pytest.raises(StoreError, match=r"newer featx \(version 3 .*Upgrade featx"):
        index.counts()


def test_an_older_index_is_refused_until_it_is_cleared(index: Index) -> None:
    index.counts()
    with sqlite3.connect(index.folder / INDEX_FILE) as db:
        db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION - 1}")
    db.close()
    with pytest.raises(StoreError, match=r"older featx.* `featx cache clear`"):
        index.counts()
    assert index.empty() == 0
    entered(index, DIGESTS)
    assert index.counts()["n_rows"] == 4


def test_a_shard_that_no_writer_entered_counts_as_absent(index: Index) -> None:
    entered(index, DIGESTS[:2])
    good = entered(index, DIGESTS[2:])
    change(index, "UPDATE shards SET file = '../x' WHERE id = 1")
    assert [shard.file for shard in index.shard_files()] == [good.file]
    assert [shard.file for shard in index.shard_files([1, 2])] == [good.file]
    assert index.settings()[0]["n_rows"] == 2
    assert index.counts()["n_bytes"] == good.layout.n_bytes


def test_unsound_rows_are_dropped_with_their_entries(index: Index) -> None:
    shards = [entered(index, [digest]) for digest in DIGESTS]
    change(index, "UPDATE shards SET file = '../x' WHERE id = 1")
    change(index, "UPDATE entries SET digest = 'text' WHERE shard = 2")
    change(index, "UPDATE entries SET shard = 99 WHERE shard = 3")
    assert index.drop_unsound() == (3, [shards[1].file, shards[2].file])
    assert index.stored_digests(FINGERPRINT, DIGESTS) == {DIGESTS[3]}
    assert index.drop_unsound() == (0, [])


def test_a_damaged_index_says_how_to_make_it_anew(index: Index) -> None:
    index.counts()
    (index.folder / INDEX_FILE).write_bytes(b"no database " * 1000)
    with pytest.raises(StoreError, match=r"index .* is damaged .*featx cache rebuild"):
        index.counts()
    assert index.empty() == 0
    assert index.counts()["n_rows"] == 0


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE shards RENAME COLUMN width TO girth",
        "DROP TABLE files",
        "CREATE VIEW other AS SELECT 1",
        "CREATE TRIGGER t AFTER DELETE ON shards BEGIN DELETE FROM files; END",
    ],
)
def test_an_index_with_other_tables_is_refused_until_it_is_cleared(
    index: Index, statement: str
) -> None:
    entered(index, DIGESTS)
    change(index, statement)
    with pytest.raises(StoreError, match=r"index .* was not made by featx.*featx cache clear"):
        index.stored_digests(FINGERPRINT, DIGESTS)
    index.empty()
    assert index.counts()["n_rows"] == 0


def test_text_that_cannot_be_decoded_is_damage(index: Index) -> None:
    entered(index, DIGESTS)
    change(index, "UPDATE shards SET file = CAST(x'ff' AS TEXT)")
    with pytest.raises(StoreError, match=r"index .* is damaged .*featx cache rebuild"):
        index.shard_files()


def test_an_index_in_use_elsewhere_is_waited_for(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.counts()
    monkeypatch.setattr("featx.store.index._SILENT_S", 0.1)
    monkeypatch.setattr("featx.store.index._WAIT_S", 0.1)
    other = sqlite3.connect(index.folder / INDEX_FILE, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="locked"):
        index.counts()
    other.close()
    assert index.counts()["n_rows"] == 0


LOCKS = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute(sys.argv[2])
db.execute("SELECT * FROM sqlite_master").fetchone()
print(flush=True)
input()
"""


@pytest.fixture
def hold_lock(index: Index, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], int]]:
    """Let another process lock the index, and wait for it but a moment; its number."""
    index.counts()
    monkeypatch.setattr("featx.store.index._SILENT_S", 0.05)
    monkeypatch.setattr("featx.store.index._WAIT_S", 0.05)
    holders = []

    def hold(statement: str) -> int:
        holders.append(
            subprocess.Popen(
                [sys.executable, "-c", LOCKS, str(index.folder / INDEX_FILE), statement],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        )
        assert holders[-1].stdout is not None
        holders[-1].stdout.readline()
        return holders[-1].pid

    yield hold
    for holder in holders:
        holder.communicate(b"\n")


@pytest.mark.parametrize(
    ("statement", "act"),
    [
        ("BEGIN IMMEDIATE", lambda index: index.forget_files([b"x"])),
        ("BEGIN EXCLUSIVE", lambda index: index.counts()),
        ("BEGIN", lambda index: index.forget_files([b"x"])),
    ],
    ids=["a writer waits for a writer", "a reader for a writer", "a writer for a reader"],
)
def test_who_holds_a_lock_is_named_once(
    index: Index,
    hold_lock: Callable[[str], int],
    caplog: pytest.LogCaptureFixture,
    statement: str,
    act: Callable[[Index], object],
) -> None:
    entered(index, DIGESTS)
    index.remember_files([(b"x", (1, 2, 3, 4), DIGESTS[0])])
    name = rf"process {hold_lock(statement)} on \S+ \(python.*running since .*\)"
    if sys.platform != "linux":
        name = "another process"
    for _ in range(2):
        with pytest.raises(StoreError, match=rf"locked by {name}.* Run this again when"):
            act(index)
    [message] = caplog.messages
    assert re.search(rf"^Waiting for {name}.*; this run continues when it is done\.$", message)


def test_notes_are_done_without_while_the_store_is_in_use(
    index: Index, hold_lock: Callable[[str], int]
) -> None:
    hold_lock("BEGIN IMMEDIATE")
    index.remember_files([(b"a.png", (1, 2, 3, 4), DIGESTS[0])])
    assert index.remembered_files([b"a.png"]) == {}


def test_a_read_only_store_is_read_after_two_hours_too(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered(index, DIGESTS)
    connect, later = sqlite3.connect, time.time() + 7200
    monkeypatch.setattr(
        "featx.store.index.sqlite3.connect",
        lambda path, **options: connect(f"file:{path}?mode=ro", uri=True, **options),
    )
    monkeypatch.setattr("featx.store.index.time.time", lambda: later)

    index.touch(FINGERPRINT)
    index.remember_files([(b"a.png", (1, 2, 3, 4), DIGESTS[0])])

    assert index.stored_digests(FINGERPRINT, DIGESTS) == set(DIGESTS)
    assert index.remembered_files([b"a.png"]) == {}
    with pytest.raises(StoreError, match="readonly"):
        index.empty()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW more AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) "
        "SELECT i FROM n",
        "CREATE TRIGGER more BEFORE DELETE ON entries BEGIN DELETE FROM shards; END",
        "ALTER TABLE shards DROP COLUMN producer",
    ],
)
def test_what_featx_did_not_make_is_refused_until_cleared(index: Index, statement: str) -> None:
    entered(index, DIGESTS)
    change(index, statement)
    with pytest.raises(StoreError, match="was not made by featx"):
        index.counts()
    index.empty()
    assert index.counts()["n_rows"] == 0


def journal_naming(path: Path) -> bytes:
    """A rollback journal that tells SQLite to delete a file once it is rolled back."""
    magic = bytes.fromhex("d9d505f920a163d7")
    header = magic + struct.pack(">5I", 0, 0, 1, 512, 4096)
    name = bytes(path)
    page = 2**30 // 4096 + 1
    trailer = struct.pack(">I", page) + name + struct.pack(">2I", len(name), sum(name)) + magic
    return header.ljust(512, b"\0") + trailer


def test_a_journal_deletes_no_file_elsewhere(index: Index, tmp_path: Path) -> None:
    entered(index, DIGESTS)
    victim = tmp_path / "victim"
    victim.write_bytes(b"dear")
    (index.folder / f"{INDEX_FILE}-journal").write_bytes(journal_naming(victim))
    with pytest.raises(StoreError, match="journal"):
        index.counts()
    index.empty()
    assert victim.exists()
    assert index.counts()["n_rows"] == 0


@pytest.mark.parametrize("suffix", ["-journal", "-wal", "-shm"])
def test_a_pipe_beside_the_index_is_not_waited_for(index: Index, suffix: str) -> None:
    entered(index, DIGESTS)
    os.mkfifo(index.folder / f"{INDEX_FILE}{suffix}")
    with pytest.raises(StoreError, match=rf"index\.sqlite{suffix}"):
        index.counts()


def test_a_shard_entered_by_a_rebuild_is_entered_once(index: Index) -> None:
    shard = entered(index, DIGESTS)
    assert index.add(shard, {})
    assert index.counts()["n_rows"] == len(DIGESTS)


def test_store_that_lost_its_index_says_so(index: Index, caplog: pytest.LogCaptureFixture) -> None:
    assert index.counts()["n_rows"] == 0  # Every run asks before it writes.
    entered(index, DIGESTS)
    assert not caplog.messages
    (index.folder / INDEX_FILE).unlink()
    assert index.counts()["n_rows"] == 0
    assert "has rows but no index; make one with `featx cache rebuild`" in caplog.text
