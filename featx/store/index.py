"""Index of the store: which rows there are, in which shard, and which file has which content.

SQLite, one connection for each step, so that a store may be used from any thread and on both
sides of a fork. A rollback journal rather than a write-ahead log: reading needs no room on the
disk then, and network folders work.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy.typing as npt

from featx._files import to_plain
from featx.errors import StoreError
from featx.store.private_folder import full_disk, make_private, store_errors
from featx.store.shards import Shard

logger = logging.getLogger(__name__)

INDEX_FILE = "index.sqlite"
_SCHEMA_VERSION = 1
_WAIT_S = 60.0
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
    dtype TEXT NOT NULL, width INTEGER NOT NULL, n_bytes INTEGER NOT NULL,
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

Identity: TypeAlias = tuple[int, int, int, int]
"""Size, time of change in ns, time of the inode's change in ns, inode of a file."""


class Entry(NamedTuple):
    """Where the rows of one picture are, and what they must sum to."""

    digest: str
    shard: int
    start: int
    stop: int
    crc: int


class ShardFile(NamedTuple):
    """What the index knows of a shard."""

    id: int
    setting: int
    file: str
    dtype: str
    width: int
    n_bytes: int


class Index:
    """The database of one store.

    Parameters
    ----------
    folder : Path
        The store's folder; made private to the user when it is not there.

    Raises
    ------
    StoreError
        By every method, if the folder is not safe to use, full, or its index damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def known(self, fingerprint: str, digests: Iterable[str]) -> set[str]:
        """Those digests whose pictures have rows."""
        rows = self._find("digest", fingerprint, digests)
        return {digest.hex() for (digest,) in rows}

    def find(self, fingerprint: str, digests: Iterable[str]) -> dict[str, Entry]:
        """Entries of those pictures that have rows, by digest."""
        rows = self._find("digest, shard, start, stop, crc", fingerprint, digests)
        entries = (Entry(digest.hex(), *rest) for digest, *rest in rows)
        return {entry.digest: entry for entry in entries}

    def shard_files(self, ids: Iterable[int] | None = None) -> list[ShardFile]:
        """Shards with these ids; all by default, those of the least recent settings first."""
        columns = "shards.id, setting, file, dtype, width, n_bytes"
        with self._read() as db:
            if ids is None:
                rows: Iterable[Any] = db.execute(
                    f"SELECT {columns} FROM shards JOIN settings ON settings.id = setting "
                    "ORDER BY used, shards.id"
                )
            else:
                rows = _select_in(db, f"SELECT {columns} FROM shards WHERE id IN", list(ids))
            return [ShardFile(*row) for row in rows]

    def entries(self, shard: int) -> list[Entry]:
        """All entries of one shard, in the order of its rows."""
        query = "SELECT digest, shard, start, stop, crc FROM entries WHERE shard = ? ORDER BY start"
        with self._read() as db:
            return [Entry(row[0].hex(), *row[1:]) for row in db.execute(query, (shard,))]

    def width(self, fingerprint: str) -> int | None:
        """Columns of a setting's rows, None where it has none."""
        query = (
            "SELECT width FROM shards JOIN settings ON settings.id = setting "
            "WHERE fingerprint = ? LIMIT 1"
        )
        with self._read() as db:
            row = db.execute(query, (fingerprint,)).fetchone()
            return None if row is None else int(row[0])

    def add(self, shard: Shard, settings: Mapping[str, Any]) -> bool:
        """Enter a shard's rows, except for pictures that have some; whether any was new."""
        now, producer = time.time(), json.dumps(dict(shard.producer))
        plain = to_plain(settings, array=_array_type)
        with self._write() as db:
            if not (self.folder / shard.file).exists():  # Cleared away by another process.
                return False
            db.execute(
                "INSERT OR IGNORE INTO settings (fingerprint, settings, created, used) "
                "VALUES (?, ?, ?, ?)",
                (shard.fingerprint, json.dumps(plain), now, now),
            )
            setting = _setting_id(db, shard.fingerprint)
            shard_id = db.execute(
                "INSERT INTO shards (setting, file, dtype, width, n_bytes, producer, created) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (setting, shard.file, shard.dtype, shard.width, shard.n_bytes, producer, now),
            ).lastrowid
            rows = zip(shard.digests, shard.starts, shard.stops, shard.crcs, strict=True)
            is_new = db.executemany(
                f"INSERT OR IGNORE INTO entries VALUES ({setting}, ?, {shard_id}, ?, ?, ?)",
                ((bytes.fromhex(digest), *rest) for digest, *rest in rows),
            ).rowcount
            if not is_new:
                db.execute("DELETE FROM shards WHERE id = ?", (shard_id,))
            return bool(is_new)

    def drop(self, entries: Iterable[Entry]) -> list[str]:
        """Take out entries; the files of shards that have none left."""
        keys = [(entry.shard, bytes.fromhex(entry.digest)) for entry in entries]
        with self._write() as db:
            db.executemany("DELETE FROM entries WHERE shard = ? AND digest = ?", keys)
            return _drop_empty(db)

    def drop_shards(self, ids: Sequence[int]) -> list[str]:
        """Take out whole shards; their files."""
        with self._write() as db:
            db.executemany("DELETE FROM entries WHERE shard = ?", ((id_,) for id_ in ids))
            return _drop_empty(db)

    def touch(self, fingerprint: str) -> None:
        """Note that a setting's rows are in use, if there is room for the note."""
        now = time.time()
        with self._read() as db:
            query = "SELECT used FROM settings WHERE fingerprint = ?"
            row = db.execute(query, (fingerprint,)).fetchone()
        if row is None or row[0] > now - _TOUCH_S:
            return
        try:
            with self._write() as db:
                db.execute("UPDATE settings SET used = ? WHERE fingerprint = ?", (now, fingerprint))
        except StoreError as error:
            if not _is_full(error.__cause__):
                raise
            logger.info("No room to note that rows of %s are in use.", fingerprint)

    def known_files(self, paths: Iterable[bytes]) -> dict[bytes, tuple[Identity, str]]:
        """Remembered identity and content of those files that are known, by path."""
        query = "SELECT path, size, mtime, ctime, inode, digest FROM files WHERE path IN"
        with self._read() as db:
            rows = _select_in(db, query, list(set(paths)))
            return {path: (tuple(identity), digest.hex()) for path, *identity, digest in rows}

    def remember_files(self, files: Iterable[tuple[bytes, Identity, str]]) -> None:
        """Remember the content of files."""
        with self._write() as db:
            db.executemany(
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
            return [path for (path,) in db.execute("SELECT path FROM files")]

    def settings(self) -> list[dict[str, Any]]:
        """Every setting with its counts, the last used first."""
        query = """
            SELECT fingerprint, settings, settings.created, used, sum(n_entries) AS n_rows,
                   count(*) AS n_shards, sum(n_bytes) AS n_bytes, max(width) AS width,
                   max(dtype) AS dtype
            FROM settings JOIN shards ON setting = settings.id
            JOIN (SELECT shard, count(*) AS n_entries FROM entries GROUP BY shard)
                ON shard = shards.id
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
        """Numbers of rows, shards, their bytes, distinct pictures and remembered files."""
        queries = {
            "n_rows": "SELECT count(*) FROM entries",
            "n_images": "SELECT count(DISTINCT digest) FROM entries",
            "n_shards": "SELECT count(*) FROM shards",
            "n_bytes": "SELECT coalesce(sum(n_bytes), 0) FROM shards",
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
            if not (_is_damaged(error.__cause__) or _is_full(error.__cause__)):
                raise
            (self.folder / INDEX_FILE).unlink()
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
            make_private(self.folder)
            with closing(self._connect()) as db:
                yield db

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it, or nothing."""
        with self._read() as db:
            db.execute("BEGIN IMMEDIATE")
            with db:
                yield db

    def _connect(self) -> sqlite3.Connection:
        # Never opened but by SQLite: closing another handle would end the locks it holds.
        db = sqlite3.connect(self.folder / INDEX_FILE, timeout=_WAIT_S, isolation_level=None)
        try:
            if _schema_version(db) != _SCHEMA_VERSION:
                self._create(db)
        except BaseException:
            db.close()
            raise
        return db

    def _create(self, db: sqlite3.Connection) -> None:
        """Make the tables, unless another process has done so meanwhile."""
        (self.folder / INDEX_FILE).chmod(0o600)  # SQLite goes by the user's umask.
        db.execute("PRAGMA auto_vacuum = FULL")
        db.execute("BEGIN IMMEDIATE")
        with db:
            version = _schema_version(db)
            if version > _SCHEMA_VERSION:
                raise StoreError(
                    f"The store in {self.folder} was written by a newer featx (version {version} "
                    f"of its index; this one reads {_SCHEMA_VERSION}). Upgrade featx, or name "
                    "another folder by --store or FEATX_STORE."
                )
            if version == 0:
                for statement in SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")


@contextmanager
def _sqlite_errors(folder: Path) -> Iterator[None]:
    """SQLite's errors as a `StoreError` of one line."""
    try:
        yield
    except sqlite3.Error as error:
        if _is_full(error):
            raise full_disk(folder) from error
        if _is_damaged(error):
            raise StoreError(
                f"The index of the store in {folder} is damaged ({error}). "
                "Begin anew with `featx cache clear`."
            ) from error
        raise StoreError(
            f"The index of the store in {folder} cannot be used ({error}). "
            "Name another folder by --store or FEATX_STORE."
        ) from error


def _is_full(error: BaseException | None) -> bool:
    """Whether there was no room; a limit on the size of files comes as a failed write."""
    name = getattr(error, "sqlite_errorname", "")
    return name == "SQLITE_FULL" or name.startswith("SQLITE_IOERR")


def _is_damaged(error: BaseException | None) -> bool:
    return getattr(error, "sqlite_errorname", "") in ("SQLITE_CORRUPT", "SQLITE_NOTADB")


def _schema_version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


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
    files = [file for (file,) in db.execute(f"SELECT file FROM shards WHERE {is_empty}")]
    db.execute(f"DELETE FROM shards WHERE {is_empty}")
    db.execute("DELETE FROM settings WHERE id NOT IN (SELECT setting FROM shards)")
    return files


def _array_type(array: npt.NDArray[Any]) -> str:
    return f"{array.dtype}{list(array.shape)}"
