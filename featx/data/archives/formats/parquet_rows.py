"""Parquet files with images as bytes: a row is a member, read with its group of rows."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from featx.data.archives.archive_files import ArchiveFile, RangeReader, check_length
from featx.data.archives.formats import ArchiveContents, ArchiveFormat
from featx.data.archives.image_tables import find_layout, to_contents
from featx.data.blobs import Blob, Identity

_MAX_GROUP_BYTES = 2**31
"""Largest group of rows that is read: parquet has no smaller part to read."""

_CACHE_BYTES = 2**28
"""Groups of rows that a process keeps, besides the latest one."""


@dataclass(frozen=True)
class _RowBytes(Blob):
    """The image of one row.

    Parameters
    ----------
    file : ArchiveFile
    group, row : int
        Group of rows, and the row in it.
    column : str
    is_struct : bool
    """

    file: ArchiveFile
    group: int
    row: int
    column: str
    is_struct: bool

    @property
    def is_slow(self) -> bool:  # type: ignore[override]
        """Whether the file is behind a network."""
        return self.file.is_slow

    def read(self, max_bytes: int) -> bytes:
        """Content; see `Blob.read`."""
        values = _groups.get(self.file, self.group, self.column, is_struct=self.is_struct)
        cell = values[self.row]
        if not cell.is_valid:
            raise ValueError("the table has no bytes of it")
        buffer = cell.as_buffer()
        check_length(buffer.size, max_bytes)
        content: bytes = buffer.to_pybytes()
        return content

    def identity(self) -> tuple[bytes, Identity] | None:
        """The file's, with the place in it."""
        version = self.file.version
        place = f"\0{self.column}:{self.group}:{self.row}".encode()
        return None if version is None else (self.file.key() + place, version)


class _Groups:
    """The groups of rows that were read last, each read by one thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reading: dict[Any, threading.Lock] = {}
        self._kept: OrderedDict[Any, Any] = OrderedDict()

    def __reduce__(self) -> Any:
        return _Groups, ()

    def get(self, file: ArchiveFile, group: int, column: str, *, is_struct: bool) -> Any:
        key = (file, group, column)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            reading = self._reading.setdefault(key, threading.Lock())
        with reading:
            if (found := self._kept.get(key)) is None:
                found = _read_group(file, group, column, is_struct=is_struct)
                self._keep(key, found)
        with self._lock:
            self._reading.pop(key, None)
        return found

    def _keep(self, key: Any, values: Any) -> None:
        with self._lock:
            self._kept[key] = values
            while len(self._kept) > 1 and sum(it.nbytes for it in self._kept.values()) > (
                _CACHE_BYTES
            ):
                self._kept.popitem(last=False)


_groups = _Groups()


def _read_group(file: ArchiveFile, group: int, column: str, *, is_struct: bool) -> Any:
    """Bytes of all images in a group of rows."""
    leaf = f"{column}.bytes" if is_struct else column
    with _opened(file) as table:
        # The column's own size would do, but pyarrow ends the process where a column's metadata
        # are broken and asked for.
        check_length(table.metadata.row_group(group).total_byte_size, _MAX_GROUP_BYTES)
        values = table.read_row_group(group, columns=[leaf]).column(0)
        values.validate(full=True)
        values = values.combine_chunks()
    values = getattr(values, "storage", values)
    return _field_of(values, "bytes") if is_struct else values


def _field_of(values: Any, name: str) -> Any:
    """A field of structs, missing where the struct is."""
    import pyarrow.compute as pc

    return pc.struct_field(values, [name])


def _read_parquet(file: ArchiveFile) -> ArchiveContents:
    """Rows of a table of images."""
    with _opened(file) as table:
        layout = find_layout(table.schema_arrow)
        if layout is None:
            raise ValueError("has no column of images as bytes")
        paths = _column(table, f"{layout.image}.path", layout.image) if layout.has_path else []
        labels = None if layout.label is None else _column(table, layout.label, layout.label)
        lengths = [table.metadata.row_group(i).num_rows for i in range(table.num_row_groups)]
    blobs = [
        _RowBytes(file, group, row, layout.image, layout.is_struct)
        for group, length in enumerate(lengths)
        for row in range(length)
    ]
    return to_contents(layout, blobs, paths, labels)


def _column(table: Any, leaf: str, name: str) -> list[Any]:
    """All values of a column, or of a field of it."""
    values = table.read(columns=[leaf]).column(name)
    values.validate(full=True)
    values = values.combine_chunks()
    values = getattr(values, "storage", values)
    found: list[Any] = (_field_of(values, "path") if leaf != name else values).to_pylist()
    return found


def _has_images(file: ArchiveFile) -> bool:
    with _opened(file) as table:
        return find_layout(table.schema_arrow) is not None


@contextmanager
def _opened(file: ArchiveFile) -> Iterator[Any]:
    """A parquet file, open; what pyarrow raises about it as a ValueError."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(pa.PythonFile(RangeReader(file), mode="r")) as table:
            yield table
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"is no parquet file, or is damaged ({_first_line(error)})") from error


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:200]


FORMAT = ArchiveFormat((".parquet",), _read_parquet, accepts=_has_images)
