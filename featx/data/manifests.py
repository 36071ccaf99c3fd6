"""Manifests: tables that name images, with their class, split, domain and group."""

from __future__ import annotations

import csv
import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from featx._files import atomic_write
from featx.data.folders import normalize_split
from featx.data.images import printable
from featx.data.manifest_columns import (
    PathResolver,
    column_indices,
    is_known_column,
)
from featx.data.manifest_tables import DELIMITERS, TABLE_SUFFIXES, read_table
from featx.errors import DatasetError, did_you_mean, one_line

MANIFEST_SUFFIXES = TABLE_SUFFIXES
_WRITTEN_SUFFIXES = frozenset({*DELIMITERS, ".parquet"})


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
    n_in_other_splits : int
        Rows left out because one before named the same image in another split.
    """

    path: list[str]
    label: list[str] | None = None
    split: list[str] | None = None
    domain: list[str] | None = None
    group: list[str] | None = None
    n_repeated: int = 0
    n_in_other_splits: int = 0


def read_manifest(file: str, group_column: str | None = None) -> Manifest:
    """Images that a file names: ``.csv``, ``.tsv``, ``.parquet``, ``.jsonl``, ``.json``, ``.txt``.

    Columns are found by their names, whatever their order: ``path`` and ``label``, or what is
    common for them (``file_name``, ``image``, ``class``, ``species``), ``split``, ``domain`` and
    ``group``; others are ignored. Paths are relative to the manifest's folder, or where nothing is
    there to the working folder. JSON is a list of objects, COCO's or Label Studio's; a ``.txt``
    has one path a line, or a path and its label.

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
        names, rows = read_table(file, partial(is_known_column, group_column=group_column))
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
                _write_text(temporary, columns, DELIMITERS[target.suffix.lower()])
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
    if suffix not in _WRITTEN_SUFFIXES:
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


def _to_manifest(
    file: str,
    names: Sequence[str],
    rows: Iterable[tuple[str, Sequence[Any]]],
    group_column: str | None,
) -> Manifest:
    """Rows checked one by one, and sorted into columns."""
    indices = column_indices(file, names, group_column)
    resolver = PathResolver(file)
    seen: dict[str, tuple[str, list[str]]] = {}
    n_repeated = n_in_other_splits = 0
    for where, row in rows:
        values = _values(file, where, row, names, indices)
        path = resolver.resolve(values[0])
        one = os.path.abspath(path)  # Of an image that is spelled in two ways.
        if one not in seen:
            seen[one] = (where, [path, *values[1:]])
        elif seen[one][1][1:] == values[1:]:
            n_repeated += 1
        elif _differ_in(list(indices), seen[one][1], values) == ["split"]:
            n_in_other_splits += 1
        else:
            raise DatasetError(
                f"Manifest {file}, {where}, column 'path': {values[0]!r} is there twice and "
                f"differs from {seen[one][0]}; an image has one label, domain and group."
            )
    columns = zip(*(values for _, values in seen.values())) if seen else [[] for _ in indices]
    found = dict(zip(indices, map(list, columns)))
    return Manifest(
        found.pop("path"), **found, n_repeated=n_repeated, n_in_other_splits=n_in_other_splits
    )


def _differ_in(names: list[str], row: list[str], other: list[str]) -> list[str]:
    """Columns but the path in which two rows say different things."""
    return [name for name, a, b in zip(names[1:], row[1:], other[1:]) if a != b]


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
    values = {name: _text(file, where, name, row[index]) for name, index in indices.items()}
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
    split = normalize_split(name.strip())
    if split is None:
        guess = did_you_mean(name, ["train", "val", "test"])
        raise DatasetError(
            f"Manifest {file}, {where}, column 'split': {name!r} is no split; expected train, val "
            f"or test.{guess}"
        )
    return split


def _text(file: str, where: str, column: str, value: Any) -> str:
    """Value of a field as text; a missing one as the empty text."""
    if isinstance(value, list | tuple | dict):
        kind = "several values" if not isinstance(value, dict) else "an object"
        raise DatasetError(
            f"Manifest {file}, {where}, column {column!r}: expected one value, got {kind}."
        )
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    return "" if value is None or value != value else str(value)
