"""Index of the store: which rows there are, in which shard, and which file has which content.

SQLite, one connection for each step, so that a store may be used from any thread and on both
sides of a fork. A rollback journal rather than a write-ahead log: reading needs no room on the
disk then, and network folders work.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from featx.errors import StoreError
from featx.process.lock_holders import find_lock_holder
from featx.store.private_folder import full_disk, make_private, store_errors
from featx.store.shards import (
    SHARD_FOLDER,
    SHARD_SUFFIX,
    Shard,
    ShardLayout,
    is_sound,
    plain_settings,
)

logger = logging.getLogger(__name__)

INDEX_FILE = "index.sqlite"
_SIDE_FILES = tuple(f"{INDEX_FILE}-{suffix}" for suffix in ("journal", "wal", "shm"))
"""What SQLite may keep beside the index, and opens with it."""

_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
"""At the end of a journal only where it names a file for SQLite to delete."""

_SCHEMA_VERSION = 2
_VERSION_QUERY = "PRAGMA user_version"
_DAMAGED = frozenset({"SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR"})
_SILENT_S, _WAIT_S = 5.0, 60.0
"""How long a lock is waited for without a word, and at all."""

_N_PER_QUERY = 10_000
_TOUCH_S = 3600.0
"""A setting's last use is kept to the hour, so that reading seldom writes."""

# AUTOINCREMENT, for an id given twice would let one process drop what another has healed.
SCHEMA = """
CREATE TABLE settings (
    id INTEGER PRIMARY KEY AUTOINCREMENT, fingerprint TEXT NOT NULL UNIQUE, settings TEXT NOT NULL,
    created REAL NOT NULL, used REAL NOT NULL);
CREATE TABLE shards (
    id INTEGER PRIMARY KEY AUTOINCREMENT, setting INTEGER NOT NULL, file TEXT NOT NULL UNIQUE,
    dtype TEXT NOT NULL, n_rows INTEGER NOT NULL, width INTEGER NOT NULL,
    offset INTEGER NOT NULL, n_bytes INTEGER NOT NULL, container_crc INTEGER NOT NULL,
    producer TEXT NOT NULL, created REAL NOT NULL);
CREATE INDEX shards_by_setting ON shards (setting);
CREATE TABLE entries (
    setting INTEGER NOT NULL, digest BLOB NOT NULL, shard INTEGER NOT NULL,
    start INTEGER NOT NULL, stop INTEGER NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY (setting, digest)) WITHOUT ROWID;
CREATE INDEX entries_by_shard ON entries (shard);
CREATE TABLE files (
    path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime INTEGER NOT NULL,
    ctime INTEGER NOT NULL, inode INTEGER NOT NULL, digest BLOB NOT NULL) WITHOUT ROWID;
"""

_STATEMENTS = [it for it in map(str.strip, SCHEMA.split(";")) if it]
_LAYOUT = ", ".join(ShardLayout._fields)
_IS_SOUND = f"is_sound(file, {_LAYOUT})"
"""Condition on a row of ``shards``; one that fails it counts as absent, for it may say anything."""

Identity: TypeAlias = tuple[int, int, int, int]
"""Size, time of change in ns, time of the inode's change in ns, inode of a file."""


class _ForeignIndexError(StoreError):
    """The index, or what lies beside it, has something in it that featx did not make."""


class Entry(NamedTuple):
    """Where the rows of one image are, and what they must sum to."""

    digest: str
    shard: int
    start: int
    stop: int
    crc: int

    def is_within(self, n_rows: int) -> bool:
        """Whether these are rows of an array; an index may hold anything."""
        is_whole = isinstance(self.start, int) and isinstance(self.stop, int)
        return is_whole and 0 <= self.start <= self.stop <= n_rows

    @property
    def is_single(self) -> bool:
        """Whether it is one row, as of all but local descriptors."""
        return self.start + 1 == self.stop


class ShardFile(NamedTuple):
    """What the index knows of a shard."""

    id: int
    setting: int
    file: str
    layout: ShardLayout


class Index:
    """The database of one store.

    Parameters
    ----------
    folder : Path
        The store's folder; made private to the user when it is not there.
    shared : bool, default=False
        Whether a group shares the store, see `FeatureStore`.
    is_being_rebuilt : bool, default=False
        Whether rows without an index are expected.

    Raises
    ------
    StoreError
        By every method, if the folder is not safe to use, full, or its index damaged.
    """

    def __init__(
        self, folder: Path, *, shared: bool = False, is_being_rebuilt: bool = False
    ) -> None:
        self.folder = folder
        self.shared = shared
        self.is_being_rebuilt = is_being_rebuilt

    def known(self, fingerprint: str, digests: Iterable[str]) -> set[str]:
        """Those digests whose images have rows."""
        rows = self._find("digest", fingerprint, digests)
        return {digest.hex() for (digest,) in rows}

    def find(self, fingerprint: str, digests: Iterable[str]) -> dict[str, Entry]:
        """Entries of those images that have rows, by digest."""
        rows = self._find("digest, shard, start, stop, crc", fingerprint, digests)
        entries = (Entry(digest.hex(), *rest) for digest, *rest in rows)
        return {entry.digest: entry for entry in entries}

    def shard_files(self, ids: Iterable[int] | None = None) -> list[ShardFile]:
        """Shards with these ids; all by default, those of the least recent settings first."""
        columns = f"shards.id, setting, file, {_LAYOUT}"
        with self._read() as db:
            if ids is None:
                rows: Iterable[Any] = db.execute(
                    f"SELECT {columns} FROM shards JOIN settings ON settings.id = setting "
                    f"WHERE {_IS_SOUND} ORDER BY used, shards.id"
                )
            else:
                query = f"SELECT {columns} FROM shards WHERE {_IS_SOUND} AND id IN"
                rows = _select_in(db, query, list(ids))
            return [
                ShardFile(id_, setting, file, ShardLayout(*layout))
                for id_, setting, file, *layout in rows
            ]

    def entries(self, shard: int) -> list[Entry]:
        """All entries of one shard, in the order of its rows."""
        query = (
            "SELECT digest, shard, start, stop, crc FROM entries "
            "WHERE shard = ? AND typeof(digest) = 'blob' ORDER BY start"
        )
        with self._read() as db:
            return [Entry(row[0].hex(), *row[1:]) for row in db.execute(query, (shard,))]

    def shard_ids(self, fingerprint: str) -> list[int]:
        """Shards with rows of a setting."""
        query = (
            "SELECT shards.id FROM shards JOIN settings ON settings.id = setting "
            "WHERE fingerprint = ? ORDER BY shards.id"
        )
        with self._read() as db:
            return [id_ for (id_,) in db.execute(query, (fingerprint,))]

    def add(self, shard: Shard, settings: Mapping[str, Any]) -> bool:
        """Enter a shard's rows, except for images that have some; whether any was new."""
        now, producer = time.time(), json.dumps(dict(shard.producer))
        plain = plain_settings(settings)
        with self._write() as db:
            if not (self.folder / shard.file).exists():  # Cleared away by another process.
                return False
            known = db.execute("SELECT 1 FROM shards WHERE file = ?", (shard.file,))
            if known.fetchone():  # Entered meanwhile by `cache rebuild` or `cache prune`.
                return True
            if self.shared:  # Workers write by the user's umask.
                (self.folder / shard.file).chmod(0o660)
            db.execute(
                "INSERT OR IGNORE INTO settings (fingerprint, settings, created, used) "
                "VALUES (?, ?, ?, ?)",
                (shard.fingerprint, json.dumps(plain), now, now),
            )
            setting = _setting_id(db, shard.fingerprint)
            shard_id = db.execute(
                f"INSERT INTO shards (setting, file, {_LAYOUT}, producer, created) "
                f"VALUES (?, ?, {', '.join('?' * len(shard.layout))}, ?, ?)",
                (setting, shard.file, *shard.layout, producer, now),
            ).lastrowid
            rows = zip(shard.digests, shard.starts, shard.stops, shard.crcs, strict=True)
            is_new = db.executemany(
                f"INSERT OR IGNORE INTO entries VALUES ({setting}, ?, {shard_id}, ?, ?, ?)",
                ((bytes.fromhex(digest), *rest) for digest, *rest in rows),
            ).rowcount
            if not is_new:
                db.execute("DELETE FROM shards WHERE id = ?", (shard_id,))
            return bool(is_new)

    def remove_damaged(self) -> bool:
        """Remove an index that is damaged; whether it was.

        Raises
        ------
        StoreError
            If it was not made by featx, or not by this version: it stays.
        """
        try:
            with self._read() as db:
                if db.execute("PRAGMA integrity_check(1)").fetchall() == [("ok",)]:
                    return False
        except StoreError as error:
            if not _is_damaged(error.__cause__):
                raise
        for name in (*_SIDE_FILES, INDEX_FILE):
            (self.folder / name).unlink(missing_ok=True)
        return True

    def drop(self, entries: Iterable[Entry]) -> list[str]:
        """Take out entries; the files of shards that have none left."""
        keys = [(entry.shard, bytes.fromhex(entry.digest)) for entry in entries]
        with self._write() as db:
            db.executemany("DELETE FROM entries WHERE shard = ? AND digest = ?", keys)
            return _drop_empty(db)

    def drop_unsound(self) -> tuple[int, list[str]]:
        """Take out what no writer enters, and rows without a shard.

        Returns
        -------
        n_rows : int
            Rows taken out.
        files : list of str
            Shards that have none left.
        """
        unsound = {
            "shards": f"NOT {_IS_SOUND} OR setting NOT IN (SELECT id FROM settings)",
            "entries": "typeof(digest) != 'blob' OR shard NOT IN (SELECT id FROM shards)",
        }
        with self._read() as db:  # A store that is whole may be one that cannot be written.
            query = "SELECT EXISTS (SELECT 1 FROM {} WHERE {})"
            if not any(db.execute(query.format(*it)).fetchone()[0] for it in unsound.items()):
                return 0, []
        with self._write() as db:
            for table, condition in unsound.items():  # Shards first: their rows have none then.
                n_rows = db.execute(f"DELETE FROM {table} WHERE {condition}").rowcount
            return n_rows, _drop_empty(db)

    def drop_shards(self, ids: Sequence[int]) -> list[str]:
        """Take out whole shards; their files."""
        with self._write() as db:
            db.executemany("DELETE FROM entries WHERE shard = ?", ((id_,) for id_ in ids))
            return _drop_empty(db)

    def touch(self, fingerprint: str) -> None:
        """Note that a setting's rows are in use."""
        now = time.time()
        with self._read() as db:
            query = "SELECT 1 FROM settings WHERE fingerprint = ? AND used <= ?"
            if db.execute(query, (fingerprint, now - _TOUCH_S)).fetchone() is None:
                return
        self._note("UPDATE settings SET used = ? WHERE fingerprint = ?", [(now, fingerprint)])

    def known_files(self, paths: Iterable[bytes]) -> dict[bytes, tuple[Identity, str]]:
        """Remembered identity and content of those files that are known, by path."""
        query = (
            "SELECT path, size, mtime, ctime, inode, digest FROM files "
            "WHERE typeof(digest) = 'blob' AND path IN"
        )
        with self._read() as db:
            rows = _select_in(db, query, list(set(paths)))
            return {path: (tuple(identity), digest.hex()) for path, *identity, digest in rows}

    def remember_files(self, files: Iterable[tuple[bytes, Identity, str]]) -> None:
        """Remember the content of files."""
        self._note(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)",
            ((path, *identity, bytes.fromhex(digest)) for path, identity, digest in files),
        )

    def forget_files(self, paths: Iterable[bytes]) -> None:
        """Forget files."""
        with self._write() as db:
            db.executemany("DELETE FROM files WHERE path = ?", ((path,) for path in paths))

    def paths(self) -> list[bytes]:
        """All files that are remembered."""
        with self._read() as db:
            query = "SELECT path FROM files WHERE typeof(path) = 'blob'"
            return [path for (path,) in db.execute(query)]

    def settings(self) -> list[dict[str, Any]]:
        """Every setting with its counts, the last used first."""
        query = f"""
            SELECT fingerprint, settings, settings.created, used, sum(n_entries) AS n_rows,
                   count(*) AS n_shards, sum(n_bytes) AS n_bytes, max(width) AS width,
                   max(dtype) AS dtype
            FROM settings JOIN shards ON setting = settings.id
            JOIN (SELECT shard, count(*) AS n_entries FROM entries GROUP BY shard)
                ON shard = shards.id
            WHERE typeof(fingerprint) = 'text' AND {_IS_SOUND}
            GROUP BY settings.id ORDER BY used DESC, settings.id"""
        with self._read() as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(query)]

    def setting_ids(self, *, unused_since: float) -> set[int]:
        """Settings not used since a time, in seconds since 1970."""
        query = "SELECT id FROM settings WHERE used < ?"
        with self._read() as db:
            return {id_ for (id_,) in db.execute(query, (unused_since,))}

    def counts(self) -> dict[str, int]:
        """Numbers of rows, shards, their bytes, distinct images and remembered files."""
        queries = {
            "n_rows": "SELECT count(*) FROM entries",
            "n_images": "SELECT count(DISTINCT digest) FROM entries",
            "n_shards": f"SELECT count(*) FROM shards WHERE {_IS_SOUND}",
            "n_bytes": f"SELECT coalesce(sum(n_bytes), 0) FROM shards WHERE {_IS_SOUND}",
            "n_files": "SELECT count(*) FROM files",
        }
        with self._read() as db:
            return {name: int(db.execute(query).fetchone()[0]) for name, query in queries.items()}

    def empty(self) -> int:
        """Take out everything; number of rows. An index that cannot be written is removed."""
        try:
            with self._write() as db:
                for table in ("shards", "settings", "files"):
                    db.execute(f"DELETE FROM {table}")
                return db.execute("DELETE FROM entries").rowcount
        except StoreError as error:
            is_foreign = isinstance(error, _ForeignIndexError)
            if not (is_foreign or _is_damaged(error.__cause__) or _is_full(error.__cause__)):
                raise
            for name in (*_SIDE_FILES, INDEX_FILE):
                (self.folder / name).unlink(missing_ok=True)
            return 0

    def _find(self, columns: str, fingerprint: str, digests: Iterable[str]) -> list[Any]:
        # Sorted, for neighbours in the index are found twice as fast.
        wanted = sorted({bytes.fromhex(digest) for digest in digests})
        with self._read() as db:
            setting = _setting_id(db, fingerprint)
            if setting is None:
                return []
            query = f"SELECT {columns} FROM entries WHERE setting = {setting} AND digest IN"
            return _select_in(db, query, wanted)

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        with _sqlite_errors(self.folder), store_errors(self.folder):
            make_private(self.folder, shared=self.shared, file=INDEX_FILE, inner=SHARD_FOLDER)
            self._check_side_files()
            with closing(self._connect()) as db:
                yield db

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it, or nothing."""
        with self._read() as db:  # What is not committed when it is closed is undone.
            self._patiently(db, "BEGIN IMMEDIATE")
            yield db
            self._patiently(db, "COMMIT")

    def _note(self, statement: str, values: Iterable[Sequence[Any]]) -> None:
        """Write what the store is as good without, unless it is read-only, full or in use."""
        try:
            with self._write() as db:
                db.executemany(statement, values)
        except StoreError as error:
            if not any(it(error.__cause__) for it in (_is_full, _is_read_only, _is_busy)):
                raise
            logger.info("The store in %s takes no notes: %s.", self.folder, error.__cause__)

    def _patiently(self, db: sqlite3.Connection, statement: str) -> sqlite3.Cursor:
        """Execute what may have to wait for a lock; if it takes long, say once whose it is."""
        db.execute(f"PRAGMA busy_timeout = {1000 * _SILENT_S:.0f}")
        try:
            return db.execute(statement)
        except sqlite3.OperationalError as error:
            if not _is_busy(error):
                raise
        finally:
            db.execute(f"PRAGMA busy_timeout = {1000 * _WAIT_S:.0f}")
        _say_who_is_waited_for(self.folder, find_lock_holder(self.folder / INDEX_FILE))
        return db.execute(statement)

    def _connect(self) -> sqlite3.Connection:
        # Never opened but by SQLite: closing another handle would end the locks it holds.
        db = sqlite3.connect(self.folder / INDEX_FILE, timeout=_SILENT_S, isolation_level=None)
        try:
            db.execute("PRAGMA trusted_schema = OFF")  # The file may be somebody else's.
            db.create_function("is_sound", 1 + len(ShardLayout._fields), is_sound)
            if self._patiently(db, _VERSION_QUERY).fetchone() != (_SCHEMA_VERSION,):
                self._create(db)
            if not _has_our_tables(db):
                raise self._foreign(f"The index of the store in {self.folder}")
        except BaseException:
            db.close()
            raise
        return db

    def _check_side_files(self) -> None:
        """Refuse what SQLite would wait for without end, and journals that delete other files."""
        for path in (self.folder / name for name in _SIDE_FILES):
            with suppress(FileNotFoundError):  # A writer comes and goes.
                if not stat.S_ISREG(path.lstat().st_mode) or _names_a_file(path):
                    raise self._foreign(str(path))

    def _foreign(self, what: str) -> _ForeignIndexError:
        return _ForeignIndexError(
            f"{what} was not made by featx. Begin anew with `featx cache clear`, or name another "
            "folder by --store or FEATX_STORE."
        )

    def _create(self, db: sqlite3.Connection) -> None:
        """Make the tables, unless another process has done so meanwhile."""
        if _schema_version(db) == 0 and _statements_of(db):  # Another program's.
            raise self._foreign(f"The index of the store in {self.folder}")
        mode = 0o660 if self.shared else 0o600
        (self.folder / INDEX_FILE).chmod(mode)  # SQLite goes by the user's umask.
        db.execute("PRAGMA auto_vacuum = FULL")
        self._patiently(db, "BEGIN IMMEDIATE")
        with db:
            version = _schema_version(db)
            if version > _SCHEMA_VERSION:
                raise StoreError(
                    f"The store in {self.folder} was written by a newer featx (version {version} "
                    f"of its index; this one reads {_SCHEMA_VERSION}). Upgrade featx, or name "
                    "another folder by --store or FEATX_STORE."
                )
            if 0 < version < _SCHEMA_VERSION:
                raise _ForeignIndexError(
                    f"The store in {self.folder} was written by an older featx, whose rows this "
                    "one does not read. Begin anew with `featx cache clear`, or name another "
                    "folder by --store or FEATX_STORE."
                )
            if version == 0:
                if not self.is_being_rebuilt and any(
                    (self.folder / SHARD_FOLDER).glob(f"*{SHARD_SUFFIX}")
                ):
                    logger.warning(
                        "The store in %s has rows but no index of them; `featx cache rebuild` "
                        "makes one.",
                        self.folder,
                    )
                for statement in _STATEMENTS:
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")


@cache
def _say_who_is_waited_for(folder: Path, holder: str) -> None:
    """Log it once; a run takes many a lock, which the same process may hold."""
    logger.warning(
        "Waiting for %s, which has locked the store in %s; this run goes on when it is done.",
        holder,
        folder,
    )


@contextmanager
def _sqlite_errors(folder: Path) -> Iterator[None]:
    """SQLite's errors as a `StoreError` of one line."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if _is_full(error):
            raise full_disk(folder) from error
        if _is_busy(error):
            raise StoreError(
                f"The store in {folder} has been locked by {find_lock_holder(folder / INDEX_FILE)} "
                f"for over {_WAIT_S:.0f} s. Run this again when that process has ended: what is "
                "stored stays good."
            ) from error
        if _is_damaged(error):
            raise StoreError(
                f"The index of the store in {folder} is damaged ({error}). "
                "Make it anew from the rows with `featx cache rebuild`."
            ) from error
        raise StoreError(
            f"The index of the store in {folder} cannot be used ({error}). "
            "Name another folder by --store or FEATX_STORE."
        ) from error


def _is_full(error: BaseException | None) -> bool:
    """Whether there was no room; a limit on the size of files comes as a failed write."""
    name = getattr(error, "sqlite_errorname", "")
    return name == "SQLITE_FULL" or name.startswith("SQLITE_IOERR")


def _is_busy(error: BaseException | None) -> bool:
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY")


def _is_read_only(error: BaseException | None) -> bool:
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN"))


def _is_damaged(error: BaseException | None) -> bool:
    # A damaged name of a table makes a message that sqlite3 cannot decode.
    is_garbled = isinstance(error, UnicodeDecodeError)
    return is_garbled or getattr(error, "sqlite_errorname", "") in _DAMAGED


def _schema_version(db: sqlite3.Connection) -> int:
    return int(db.execute(_VERSION_QUERY).fetchone()[0])


def _has_our_tables(db: sqlite3.Connection) -> bool:
    """Whether the tables are those of `SCHEMA`, with no trigger or view beside them."""
    return _statements_of(db) == {it.encode() for it in _STATEMENTS}


def _statements_of(db: sqlite3.Connection) -> set[Any]:
    query = "SELECT CAST(sql AS BLOB) FROM sqlite_master WHERE name NOT LIKE 'sqlite%'"
    return {sql for (sql,) in db.execute(query)}


def _names_a_file(journal: Path) -> bool:
    """Whether SQLite would delete the file that a journal names, once it is rolled back.

    Such names belong to transactions in several databases, of which there are none here.
    """
    with journal.open("rb") as file:
        n_bytes = file.seek(0, os.SEEK_END)
        file.seek(max(0, n_bytes - len(_JOURNAL_MAGIC)))
        return n_bytes > len(_JOURNAL_MAGIC) and file.read() == _JOURNAL_MAGIC


def _setting_id(db: sqlite3.Connection, fingerprint: str) -> int | None:
    query = "SELECT id FROM settings WHERE fingerprint = ?"
    row = db.execute(query, (fingerprint,)).fetchone()
    return None if row is None else int(row[0])


def _select_in(db: sqlite3.Connection, query: str, values: Sequence[Any]) -> list[Any]:
    """Rows of a query that ends in IN, a few thousand values at a time."""
    rows = []
    for i in range(0, len(values), _N_PER_QUERY):
        part = values[i : i + _N_PER_QUERY]
        rows += db.execute(f"{query} ({','.join('?' * len(part))})", part).fetchall()
    return rows


def _drop_empty(db: sqlite3.Connection) -> list[str]:
    """Take out shards and settings that have no rows; the files of those shards."""
    is_empty = "NOT EXISTS (SELECT 1 FROM entries WHERE shard = shards.id)"
    query = f"SELECT file FROM shards WHERE {_IS_SOUND} AND {is_empty}"
    files = [file for (file,) in db.execute(query)]
    db.execute(f"DELETE FROM shards WHERE {is_empty}")
    db.execute("DELETE FROM settings WHERE id NOT IN (SELECT setting FROM shards)")
    return files
