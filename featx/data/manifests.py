"""Manifests: tables that name images, with their class, split, domain and group."""

from __future__ import annotations

import codecs
import csv
import io
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx._files import atomic_write
from featx.data.images import printable
from featx.data.splits import find_split
from featx.errors import DatasetError, did_you_mean, one_line

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
MANIFEST_SUFFIXES = frozenset({*_DELIMITERS, ".parquet"})
COLUMNS = ("path", "label", "split", "domain", "group")
"""What is known of an image, in manifests and feature files alike."""


@dataclass
class Manifest:
    """Columns of a manifest, without the rows that repeat one before.

    Attributes
    ----------
    path : list of str
        Paths, joined with the manifest's folder.
    label, split, domain, group : list of str, or None
        None where the manifest has no such column.
    n_repeated : int
        Rows left out because one before said the same.
    """

    path: list[str]
    label: list[str] | None = None
    split: list[str] | None = None
    domain: list[str] | None = None
    group: list[str] | None = None
    n_repeated: int = 0


def read_manifest(file: str, group_column: str | None = None) -> Manifest:
    """Pictures that a ``.csv``, ``.tsv`` or ``.parquet`` file names.

    Its first line names the columns: ``path`` and, in any order, ``label``, ``split``,
    ``domain`` and ``group``; others are ignored. Paths are relative to the manifest's folder.

    Parameters
    ----------
    file : str
        Path of the manifest.
    group_column : str, optional
        Name of the column that is read as ``group``.

    Returns
    -------
    Manifest

    Raises
    ------
    DatasetError
        If the file cannot be read; it names the line and the column.
    """
    try:
        if file.lower().endswith(".parquet"):
            names, rows = _read_parquet(file, group_column)
        else:
            names, rows = _read_text(file)
        return _to_manifest(file, names, rows, group_column)
    except OSError as error:
        raise DatasetError(f"Manifest {file} cannot be read: {one_line(error)}.") from error


def write_manifest(file: str | os.PathLike[str], columns: Mapping[str, Sequence[str]]) -> None:
    """Save a manifest that `read_manifest` reads, with paths relative to its folder.

    Parameters
    ----------
    file : path
        Its suffix says how it is written; see `check_manifest`. Replaced if it is there.
    columns : mapping of str to sequence of str
        ``path`` first, as seen from the current folder; then ``label``, ``split``, ``domain``.

    Raises
    ------
    DatasetError
        If it cannot be written.
    """
    target = Path(file)
    folder = os.path.abspath(target.parent)
    paths = [os.path.relpath(path, folder) for path in columns["path"]]
    columns = dict(columns) | {"path": paths}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(target) as temporary:
            if target.suffix.lower() == ".parquet":
                _write_parquet(temporary, columns)
            else:
                _write_text(temporary, columns, _DELIMITERS[target.suffix.lower()])
    except OSError as error:
        raise DatasetError(f"Manifest {file} cannot be written: {error}.") from error


def check_manifest(file: str | os.PathLike[str], *, force: bool = False) -> None:
    """See, before anything is computed, whether a manifest may be written.

    Raises
    ------
    DatasetError
        If its suffix is none of a manifest's, or a file is there and `force` is False.
    """
    suffix = Path(file).suffix.lower()
    if suffix not in MANIFEST_SUFFIXES:
        raise DatasetError(
            f"{file}: expected a manifest's name, ending in .csv, .tsv or .parquet; got "
            f"{suffix or 'no suffix'}."
        )
    if not force and os.path.lexists(file):
        raise DatasetError(f"{file} is there already; give another name, or --force (force=True).")


def _write_text(file: Path, columns: Mapping[str, Sequence[str]], delimiter: str) -> None:
    # Names may hold bytes that are no UTF-8; they come back as they were.
    with file.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def _write_parquet(file: Path, columns: Mapping[str, Sequence[str]]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        parquet.write_table(
            pa.table({name: list(column) for name, column in columns.items()}), file
        )
    except UnicodeEncodeError as error:
        raise DatasetError(
            "A path holds bytes that are no UTF-8, which parquet cannot store; write a .csv."
        ) from error


def _read_text(file: str) -> tuple[list[str], Iterable[tuple[str, Sequence[Any]]]]:
    """Column names and rows of a text file, each with its place for messages."""
    data = Path(file).read_bytes()
    if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise DatasetError(f"Manifest {file} is in UTF-16; expected UTF-8. Save it as UTF-8.")
    # Names may be any bytes: what is no UTF-8 goes through unchanged.
    text = data.decode("utf-8-sig", errors="surrogateescape")
    delimiter = _DELIMITERS[os.path.splitext(file)[1].lower()]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    lines = _lines(file, reader)
    header = next(lines, None)
    if header is None:
        raise DatasetError(f"Manifest {file} is empty; expected a first line 'path,label'.")
    return header[1], lines


def _lines(file: str, reader: Any) -> Iterator[tuple[str, list[str]]]:
    """Rows of a CSV reader that are not empty, and where they stand."""
    try:
        for row in reader:
            if row:
                yield f"line {reader.line_num}", row
    except csv.Error as error:
        raise DatasetError(f"Manifest {file}, line {reader.line_num}: {error}.") from error


def _read_parquet(
    file: str, group_column: str | None
) -> tuple[list[str], Iterable[tuple[str, Sequence[Any]]]]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        names = parquet.read_schema(file).names
        known = {*COLUMNS, _normal(group_column or "group")}
        wanted = [name for name in names if _normal(name) in known]
        table = parquet.read_table(file, columns=wanted)
        columns = [column.to_pylist() for column in table.columns]
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise
        raise DatasetError(f"Manifest {file} is no parquet file: {one_line(error)}") from error
    if not wanted:
        return names, ()
    rows = zip(*columns)
    return wanted, ((f"row {i}", row) for i, row in enumerate(rows, start=1))


def _to_manifest(
    file: str,
    names: Sequence[str],
    rows: Iterable[tuple[str, Sequence[Any]]],
    group_column: str | None,
) -> Manifest:
    """Rows checked one by one, and sorted into columns."""
    indices = _column_indices(file, names, group_column)
    seen: dict[str, tuple[str, list[str]]] = {}
    n_repeated = 0
    for where, row in rows:
        values = _values(file, where, row, names, indices)
        path = os.path.join(os.path.dirname(file), values[0])
        one = os.path.abspath(path)  # Of an image that is spelled in two ways.
        if one not in seen:
            seen[one] = (where, [path, *values[1:]])
        elif seen[one][1][1:] == values[1:]:
            n_repeated += 1
        else:
            raise DatasetError(
                f"Manifest {file}, {where}, column 'path': {values[0]!r} is there twice and "
                f"differs from {seen[one][0]}; an image has one label, split, domain and group."
            )
    columns = zip(*(values for _, values in seen.values())) if seen else [[] for _ in indices]
    found = dict(zip(indices, map(list, columns)))
    return Manifest(found.pop("path"), **found, n_repeated=n_repeated)


def _column_indices(file: str, names: Sequence[str], group_column: str | None) -> dict[str, int]:
    """Where each known column stands, `path` first."""
    normal = [_normal(name) for name in names]
    if group_column is not None and _normal(group_column) not in normal:
        raise DatasetError(
            f"Manifest {file}, line 1: no column {group_column!r} for the groups."
            f"{did_you_mean(group_column, names)} There are: {', '.join(names)}."
        )
    columns = dict(zip(COLUMNS, COLUMNS)) | {"group": _normal(group_column or "group")}
    for name in columns.values():
        if normal.count(name) > 1:
            raise DatasetError(f"Manifest {file}, line 1: column {name!r} is there twice.")
    if "path" not in normal:
        shown = ", ".join(repr(name) for name in names)
        cure = " Separate the columns by commas." if len(names) == 1 and ";" in names[0] else ""
        raise DatasetError(
            f"Manifest {file}, line 1: no column 'path'; expected "
            f"path,label[,split][,domain][,group], got {shown or 'none'}.{cure}"
        )
    return {name: normal.index(column) for name, column in columns.items() if column in normal}


def _values(
    file: str, where: str, row: Sequence[Any], names: Sequence[str], indices: dict[str, int]
) -> list[str]:
    """Values of one row in the order of `indices`, as text."""
    if len(row) != len(names):
        column = repr(names[len(row)]) if len(row) < len(names) else str(len(names) + 1)
        raise DatasetError(
            f"Manifest {file}, {where}, column {column}: expected {len(names)} fields, got "
            f"{len(row)}; quote what holds the separator."
        )
    values = {name: _text(row[index]) for name, index in indices.items()}
    if not values["path"]:
        raise DatasetError(f"Manifest {file}, {where}, column 'path': the path is empty.")
    if "\0" in values["path"]:
        raise DatasetError(f"Manifest {file}, {where}, column 'path': a path cannot hold NUL.")
    for name in values.keys() - {"path"}:
        values[name] = _name_text(file, where, name, values[name])
    if values.get("split"):
        values["split"] = _split(file, where, values["split"])
    return list(values.values())


def _name_text(file: str, where: str, column: str, text: str) -> str:
    """A class or the like as one text, whatever blanks and Unicode form it has."""
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            shown = printable(text)
            raise DatasetError(
                f"Manifest {file}, {where}, column {column!r}: {shown!r} is no UTF-8; save the "
                "file as UTF-8."
            ) from error
    return unicodedata.normalize("NFC", text.strip())


def _split(file: str, where: str, name: str) -> str:
    split = find_split(name)
    if split is None:
        guess = did_you_mean(name, ["train", "val", "test"])
        raise DatasetError(
            f"Manifest {file}, {where}, column 'split': {name!r} is no split; expected train, val "
            f"or test.{guess}"
        )
    return split


def _text(value: Any) -> str:
    """Value of a field as text; a missing one as the empty text."""
    return "" if value is None or value != value else str(value)


def _normal(name: str) -> str:
    return name.strip().lower()
