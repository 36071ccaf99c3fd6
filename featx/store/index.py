"""Index of the store: which shard has which rows, and the digests of known image files.

The index is an SQLite database. Each operation opens its own connection, so that a store may be
used from any thread and on both sides of a fork. It uses a rollback journal rather than a
write-ahead log, which works on network file systems and needs no disk space for reading.
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
from typing import Any, NamedTuple

from featx.data.blobs import Identity
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
"""Files that SQLite may create beside the index, and opens together with it."""

_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
"""Last bytes of a journal that names another file, which SQLite would delete."""

_SCHEMA_VERSION = 2
_VERSION_QUERY = "PRAGMA user_version"
_DAMAGED = frozenset({"SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR"})
_SILENT_S, _WAIT_S = 5.0, 60.0
"""Seconds to wait for a lock before a message is logged, and after it."""

_N_PER_QUERY = 10_000
_TOUCH_S = 3600.0
"""The last use of a setting is recorded with a precision of an hour, so that reads rarely write."""

# AUTOINCREMENT: with a reused id, one process could drop rows that another has just recomputed.
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
"""Condition on a row of ``shards``; invalid rows are ignored, as a damaged index may hold any."""


class _ForeignIndexError(StoreError):
    """The index, or a file beside it, was not made by this version of featx."""


class Entry(NamedTuple):
    """Position of an image's rows in a shard, and their checksum."""

    digest: str
    shard: int
    start: int
    stop: int
    crc: int

    def is_within(self, n_rows: int) -> bool:
        """Whether the position is valid; a damaged index may hold any value."""
        is_integer = isinstance(self.start, int) and isinstance(self.stop, int)
        return is_integer and 0 <= self.start <= self.stop <= n_rows

    @property
    def is_single(self) -> bool:
        """Whether it is one row; only images with local descriptors have several."""
        return self.start + 1 == self.stop


class ShardFile(NamedTuple):
    """A shard in the index."""

    id: int
    setting: int
    file: str
    layout: ShardLayout


class Index:
    """The database of one store.

    Parameters
    ----------
    folder : Path
        The store's folder; created private to the user if it does not exist.
    shared : bool, default=False
        Whether a group shares the store, see `FeatureStore`.
    is_being_rebuilt : bool, default=False
        Whether shards without an index are expected.

    Raises
    ------
    StoreError
        By every method, if the folder is not safe to use, its disk is full, or the index is
        damaged.
    """

    def __init__(
        self, folder: Path, *, shared: bool = False, is_being_rebuilt: bool = False
    ) -> None:
        self.folder = folder
        self.shared = shared
        self.is_being_rebuilt = is_being_rebuilt

    def stored_digests(self, fingerprint: str, digests: Iterable[str]) -> set[str]:
        """The digests whose images have rows."""
        rows = self._find("digest", fingerprint, digests)
        return {digest.hex() for (digest,) in rows}

    def find(self, fingerprint: str, digests: Iterable[str]) -> dict[str, Entry]:
        """Entries of the images that have rows, by digest."""
        rows = self._find("digest, shard, start, stop, crc", fingerprint, digests)
        entries = (Entry(digest.hex(), *rest) for digest, *rest in rows)
        return {entry.digest: entry for entry in entries}

    def shard_files(self, ids: Iterable[int] | None = None) -> list[ShardFile]:
        """Shards with the given ids; by default all, of the least recently used setting first."""
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
        """Enter a shard; rows of images that have some are ignored. Return whether any was new."""
        now, producer = time.time(), json.dumps(dict(shard.producer))
        plain = plain_settings(settings)
        with self._write() as db:
            if not (self.folder / shard.file).exists():  # Cleared by another process.
                return False
            existing = db.execute("SELECT 1 FROM shards WHERE file = ?", (shard.file,))
            if existing.fetchone():  # Entered meanwhile by `cache rebuild` or `cache prune`.
                return True
            if self.shared:  # Workers write files with the user's umask.
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
        """Remove the index if it is damaged, and return whether it was.

        Raises
        ------
        StoreError
            If the index was not made by this version of featx; it is not removed.
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
        """Remove entries; return the files of shards that have none left."""
        keys = [(entry.shard, bytes.fromhex(entry.digest)) for entry in entries]
        with self._write() as db:
            db.executemany("DELETE FROM entries WHERE shard = ? AND digest = ?", keys)
            return _drop_empty(db)

    def drop_unsound(self) -> tuple[int, list[str]]:
        """Remove invalid shards and entries, which no writer enters, and entries without a shard.

        Returns
        -------
        n_rows : int
            Number of removed rows.
        files : list of str
            Files of shards that have none left.
        """
        unsound = {
            "shards": f"NOT {_IS_SOUND} OR setting NOT IN (SELECT id FROM settings)",
            "entries": "typeof(digest) != 'blob' OR shard NOT IN (SELECT id FROM shards)",
        }
        with self._read() as db:  # Do not write if all is valid: the store may be read-only.
            query = "SELECT EXISTS (SELECT 1 FROM {} WHERE {})"
            if not any(db.execute(query.format(*it)).fetchone()[0] for it in unsound.items()):
                return 0, []
        with self._write() as db:
            for table, condition in unsound.items():  # First shards, then entries without one.
                n_rows = db.execute(f"DELETE FROM {table} WHERE {condition}").rowcount
            return n_rows, _drop_empty(db)

    def drop_shards(self, ids: Sequence[int]) -> list[str]:
        """Remove whole shards; return their files."""
        with self._write() as db:
            db.executemany("DELETE FROM entries WHERE shard = ?", ((id_,) for id_ in ids))
            return _drop_empty(db)

    def touch(self, fingerprint: str) -> None:
        """Record that the rows of a setting are in use."""
        now = time.time()
        with self._read() as db:
            query = "SELECT 1 FROM settings WHERE fingerprint = ? AND used <= ?"
            if db.execute(query, (fingerprint, now - _TOUCH_S)).fetchone() is None:
                return
        self._write_optional(
            "UPDATE settings SET used = ? WHERE fingerprint = ?", [(now, fingerprint)]
        )

    def remembered_files(self, paths: Iterable[bytes]) -> dict[bytes, tuple[Identity, str]]:
        """Identity and digest of the files that were hashed before, by path."""
        query = (
            "SELECT path, size, mtime, ctime, inode, digest FROM files "
            "WHERE typeof(digest) = 'blob' AND path IN"
        )
        with self._read() as db:
            rows = _select_in(db, query, list(set(paths)))
            return {path: (tuple(identity), digest.hex()) for path, *identity, digest in rows}

    def remember_files(self, files: Iterable[tuple[bytes, Identity, str]]) -> None:
        """Record the identity and digest of files."""
        self._write_optional(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)",
            ((path, *identity, bytes.fromhex(digest)) for path, identity, digest in files),
        )

    def forget_files(self, paths: Iterable[bytes]) -> None:
        """Remove the record of files."""
        with self._write() as db:
            db.executemany("DELETE FROM files WHERE path = ?", ((path,) for path in paths))

    def paths(self) -> list[bytes]:
        """Paths of all files whose digests are recorded."""
        with self._read() as db:
            query = "SELECT path FROM files WHERE typeof(path) = 'blob'"
            return [path for (path,) in db.execute(query)]

    def settings(self) -> list[dict[str, Any]]:
        """Every setting with its counts, the most recently used first."""
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
        """Ids of settings not used since a time, in seconds since 1970."""
        query = "SELECT id FROM settings WHERE used < ?"
        with self._read() as db:
            return {id_ for (id_,) in db.execute(query, (unused_since,))}

    def counts(self) -> dict[str, int]:
        """Numbers of rows, distinct images, shards, their bytes, and recorded files."""
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
        """Remove everything and return the number of rows; delete an index that is unusable."""
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
        # Looking up digests in the order of the index is twice as fast.
        sorted_digests = sorted({bytes.fromhex(digest) for digest in digests})
        with self._read() as db:
            setting = _setting_id(db, fingerprint)
            if setting is None:
                return []
            query = f"SELECT {columns} FROM entries WHERE setting = {setting} AND digest IN"
            return _select_in(db, query, sorted_digests)

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        with _sqlite_errors(self.folder), store_errors(self.folder):
            make_private(self.folder, shared=self.shared, file=INDEX_FILE, inner=SHARD_FOLDER)
            self._check_side_files()
            with closing(self._connect()) as db:
                yield db

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """Context of one transaction, which is rolled back after an error."""
        with self._read() as db:  # Closing the connection rolls back.
            self._execute_locking(db, "BEGIN IMMEDIATE")
            yield db
            self._execute_locking(db, "COMMIT")

    def _write_optional(self, statement: str, values: Iterable[Sequence[Any]]) -> None:
        """Write what the store can do without; skipped if it is read-only, full or locked."""
        try:
            with self._write() as db:
                db.executemany(statement, values)
        except StoreError as error:
            if not any(test(error.__cause__) for test in (_is_full, _is_read_only, _is_busy)):
                raise
            logger.info("Use of the store in %s is not recorded: %s.", self.folder, error.__cause__)

    def _execute_locking(self, db: sqlite3.Connection, statement: str) -> sqlite3.Cursor:
        """Execute a statement that may wait for a lock; log the holder if it takes long."""
        db.execute(f"PRAGMA busy_timeout = {1000 * _SILENT_S:.0f}")
        try:
            return db.execute(statement)
        except sqlite3.OperationalError as error:
            if not _is_busy(error):
                raise
        finally:
            db.execute(f"PRAGMA busy_timeout = {1000 * _WAIT_S:.0f}")
        _log_lock_holder(self.folder, find_lock_holder(self.folder / INDEX_FILE))
        return db.execute(statement)

    def _connect(self) -> sqlite3.Connection:
        # Only SQLite may open the file: closing another descriptor releases its POSIX locks.
        db = sqlite3.connect(self.folder / INDEX_FILE, timeout=_SILENT_S, isolation_level=None)
        try:
            db.execute("PRAGMA trusted_schema = OFF")  # The file may come from another user.
            db.create_function("is_sound", 1 + len(ShardLayout._fields), is_sound)
            if self._execute_locking(db, _VERSION_QUERY).fetchone() != (_SCHEMA_VERSION,):
                self._create(db)
            if not _has_our_tables(db):
                raise self._foreign(f"The index of the store in {self.folder}")
        except BaseException:
            db.close()
            raise
        return db

    def _check_side_files(self) -> None:
        """Refuse pipes, which would block SQLite, and journals that make it delete other files."""
        for path in (self.folder / name for name in _SIDE_FILES):
            with suppress(FileNotFoundError):  # A writer may remove its journal meanwhile.
                if not stat.S_ISREG(path.lstat().st_mode) or _names_a_file(path):
                    raise self._foreign(str(path))

    def _foreign(self, what: str) -> _ForeignIndexError:
        return _ForeignIndexError(
            f"{what} was not made by featx. Start over with `featx cache clear`, or name another "
            "folder by --store or FEATX_STORE."
        )

    def _create(self, db: sqlite3.Connection) -> None:
        """Create the tables, unless another process has done so meanwhile."""
        if _schema_version(db) == 0 and _statements_of(db):  # Tables of another program.
            raise self._foreign(f"The index of the store in {self.folder}")
        mode = 0o660 if self.shared else 0o600
        (self.folder / INDEX_FILE).chmod(mode)  # SQLite creates it with the user's umask.
        db.execute("PRAGMA auto_vacuum = FULL")
        self._execute_locking(db, "BEGIN IMMEDIATE")
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
                    f"The store in {self.folder} was written by an older featx and cannot be read. "
                    "Start over with `featx cache clear`, or name another folder by --store or "
                    "FEATX_STORE."
                )
            if version == 0:
                if not self.is_being_rebuilt and any(
                    (self.folder / SHARD_FOLDER).glob(f"*{SHARD_SUFFIX}")
                ):
                    logger.warning(
                        "The store in %s has rows but no index; make one with `featx cache "
                        "rebuild`.",
                        self.folder,
                    )
                for statement in _STATEMENTS:
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")


@cache
def _log_lock_holder(folder: Path, holder: str) -> None:
    """Log the holder of a lock, once per process that holds it."""
    logger.warning(
        "Waiting for %s, which has locked the store in %s; this run continues when it is done.",
        holder,
        folder,
    )


@contextmanager
def _sqlite_errors(folder: Path) -> Iterator[None]:
    """Turn SQLite's errors into a `StoreError` with a message of one line."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if _is_full(error):
            raise full_disk(folder) from error
        if _is_busy(error):
            raise StoreError(
                f"The store in {folder} has been locked by {find_lock_holder(folder / INDEX_FILE)} "
                f"for over {_WAIT_S:.0f} s. Run this again when that process has ended; the stored "
                "rows remain valid."
            ) from error
        if _is_damaged(error):
            raise StoreError(
                f"The index of the store in {folder} is damaged ({error}). "
                "Rebuild it from the rows with `featx cache rebuild`."
            ) from error
        raise StoreError(
            f"The index of the store in {folder} cannot be used ({error}). "
            "Name another folder by --store or FEATX_STORE."
        ) from error


def _is_full(error: BaseException | None) -> bool:
    """Whether the disk was full; a limit on the size of files appears as a failed write."""
    name = getattr(error, "sqlite_errorname", "")
    return name == "SQLITE_FULL" or name.startswith("SQLITE_IOERR")


def _is_busy(error: BaseException | None) -> bool:
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY")


def _is_read_only(error: BaseException | None) -> bool:
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN"))


def _is_damaged(error: BaseException | None) -> bool:
    # With a damaged table name, sqlite3 cannot decode SQLite's error message.
    is_garbled = isinstance(error, UnicodeDecodeError)
    return is_garbled or getattr(error, "sqlite_errorname", "") in _DAMAGED


def _schema_version(db: sqlite3.Connection) -> int:
    return int(db.execute(_VERSION_QUERY).fetchone()[0])


def _has_our_tables(db: sqlite3.Connection) -> bool:
    """Whether the tables are exactly those of `SCHEMA`, without triggers or views."""
    return _statements_of(db) == {statement.encode() for statement in _STATEMENTS}


def _statements_of(db: sqlite3.Connection) -> set[Any]:
    query = "SELECT CAST(sql AS BLOB) FROM sqlite_master WHERE name NOT LIKE 'sqlite%'"
    return {sql for (sql,) in db.execute(query)}


def _names_a_file(journal: Path) -> bool:
    """Whether a journal names another file, which SQLite would delete after a rollback.

    Only transactions in several databases, which featx does not use, write such a name.
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
    """Rows of a query that ends in ``IN``, run for a few thousand values at a time."""
    rows = []
    for i in range(0, len(values), _N_PER_QUERY):
        part = values[i : i + _N_PER_QUERY]
        rows += db.execute(f"{query} ({','.join('?' * len(part))})", part).fetchall()
    return rows


def _drop_empty(db: sqlite3.Connection) -> list[str]:
    """Remove shards and settings without rows; return the files of these shards."""
    is_empty = "NOT EXISTS (SELECT 1 FROM entries WHERE shard = shards.id)"
    query = f"SELECT file FROM shards WHERE {_IS_SOUND} AND {is_empty}"
    files = [file for (file,) in db.execute(query)]
    db.execute(f"DELETE FROM shards WHERE {is_empty}")
    db.execute("DELETE FROM settings WHERE id NOT IN (SELECT setting FROM shards)")
    return files
