"""Read and write manifests: tables of images with their class, split, domain and group."""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from featx._files import atomic_write
from featx.data.annotations import Records, read_records
from featx.data.image_dataset import identify_file
from featx.data.image_formats import IMAGE_SUFFIXES
from featx.data.images import printable
from featx.data.manifest_columns import find_columns, recognized_names
from featx.data.manifest_paths import resolve_paths
from featx.data.splits import find_split
from featx.errors import DatasetError, did_you_mean, one_line

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_WRITTEN = (*_DELIMITERS, ".parquet")
MANIFEST_SUFFIXES = frozenset({*_WRITTEN, ".jsonl", ".json", ".txt"})
_PATH_AND_LABEL = re.compile(
    rf"(.*(?:{'|'.join(re.escape(suffix) for suffix in sorted(IMAGE_SUFFIXES))}))[\t,;\s]\s*(.+)",
    re.IGNORECASE,
)
"""A line of a text file with the path of an image and its class."""

Row: TypeAlias = tuple[str, Sequence[Any]]


@dataclass
class Manifest:
    """Columns of a manifest, without repeated rows.

    Attributes
    ----------
    path : list of str
        Paths of the images, see `featx.data.manifest_paths.resolve_paths`.
    label, split, domain, group : list of str, or None
        None if the manifest has no such column.
    n_repeated : int
        Number of rows left out because an earlier row names the same image.
    n_resplit : int
        Number of these rows that give the image another split.
    renamed : dict of str to str
        Name in the file of each column that has another name there.
    """

    path: list[str]
    label: list[str] | None = None
    split: list[str] | None = None
    domain: list[str] | None = None
    group: list[str] | None = None
    n_repeated: int = 0
    n_resplit: int = 0
    renamed: dict[str, str] = field(default_factory=dict)


def read_manifest(file: str, group_column: str | None = None) -> Manifest:
    """Read a manifest.

    A ``.csv``, ``.tsv``, ``.parquet`` or ``.jsonl`` file has the column ``path`` and optionally
    ``label``, ``split``, ``domain`` and ``group``, in any order and also under other usual names
    (`featx.data.manifest_columns`); all other columns are ignored. A ``.txt`` file has the same
    header, or a path, or a path and a class, on each line. A ``.json`` file is COCO's, Label
    Studio's, or a list of objects. See `featx.data.manifest_paths` for the meaning of paths.

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
        If the file cannot be read; the message names the line and the column.
    """
    with _reading_errors(file):
        names, rows = _read(file, group_column)
        where = f"Manifest {file}, line 1" if _has_header(file) else f"Manifest {file}"
        indices = find_columns(names, group_column, where=where)
        return _to_manifest(file, names, rows, indices)


def read_metadata(file: str) -> Manifest | None:
    """Read the metadata file of a folder of images; None if it has no column of classes."""
    with _reading_errors(file):
        names, _ = _read(file)
    return read_manifest(file) if {"path", "label"} <= _recognized_columns(names) else None


def write_manifest(file: str | os.PathLike[str], columns: Mapping[str, Sequence[str]]) -> None:
    """Write a manifest that `read_manifest` reads, with paths relative to its folder.

    Parameters
    ----------
    file : path
        The suffix decides the format; see `check_manifest`. An existing file is replaced.
    columns : mapping of str to sequence of str
        ``path`` first, relative to the working folder; then ``label``, ``split``, ``domain``.

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
    """Check, before anything is computed, whether a manifest can be written.

    Raises
    ------
    DatasetError
        If the suffix is not that of a manifest, or the file exists and `force` is False.
    """
    suffix = Path(file).suffix.lower()
    if suffix not in _WRITTEN:
        raise DatasetError(
            f"{file}: expected the name of a manifest, ending in .csv, .tsv or .parquet; got "
            f"{suffix or 'no suffix'}."
        )
    if not force and os.path.lexists(file):
        raise DatasetError(
            f"{file} already exists; give another name, or overwrite it with --force (force=True)."
        )


def _write_text(file: Path, columns: Mapping[str, Sequence[str]], delimiter: str) -> None:
    # File names may contain bytes that are not UTF-8; surrogateescape round-trips them.
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
            "A path contains bytes that are not UTF-8, which parquet cannot store; write a .csv."
        ) from error


@contextmanager
def _reading_errors(file: str) -> Iterator[None]:
    """Turn errors of the operating system into a `DatasetError`."""
    try:
        yield
    except OSError as error:
        raise DatasetError(f"Manifest {file} cannot be read: {one_line(error)}.") from error


def _read(file: str, group_column: str | None = None) -> tuple[Sequence[str], Iterable[Row]]:
    """Column names and rows of a manifest, each row with its position for messages."""
    suffix = os.path.splitext(file)[1].lower()
    if suffix == ".parquet":
        return _read_parquet(file, group_column)
    text = _read_utf8(file)
    if suffix == ".jsonl":
        return _to_rows(_json_lines(file, text), "line")
    if suffix == ".json":
        return _to_rows(_json_records(file, text), "image")
    if suffix == ".txt" and not (delimiter := _delimiter_of(text)):
        return _read_list(text)
    return _read_table(file, text, _DELIMITERS.get(suffix) or delimiter)


def _recognized_columns(names: Sequence[str]) -> set[str]:
    """Columns that a header has; none if it has no path or is ambiguous."""
    try:
        return set(find_columns(names))
    except DatasetError:
        return set()


def _has_header(file: str) -> bool:
    return os.path.splitext(file)[1].lower() in (*_DELIMITERS, ".txt")


def _read_utf8(file: str) -> str:
    """Text of a file; bytes that are not UTF-8 are kept, as file names may contain any bytes."""
    data = Path(file).read_bytes()
    if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise DatasetError(f"Manifest {file} is in UTF-16; expected UTF-8. Save it as UTF-8.")
    return data.decode("utf-8-sig", errors="surrogateescape")


def _read_table(file: str, text: str, delimiter: str) -> tuple[Sequence[str], Iterable[Row]]:
    lines = _lines(
        file, csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    )
    header = next(lines, None)
    if header is None:
        raise DatasetError(f"Manifest {file} is empty; expected a first line 'path,label'.")
    return header[1], lines


def _lines(file: str, reader: Any) -> Iterator[tuple[str, list[str]]]:
    """Position and fields of each non-empty row of a CSV reader."""
    first = 1
    try:
        for row in reader:
            if row:
                yield f"line {reader.line_num}", row
            first = reader.line_num + 1
    except csv.Error as error:
        is_open = any(hint in str(error) for hint in ('"', "end of data", "limit"))
        cure = " Is there a quote that is not closed?" if is_open else ""
        raise DatasetError(f"Manifest {file}, line {first}: {one_line(error)}.{cure}") from error


def _delimiter_of(text: str) -> str:
    """Tab or comma if the first line of a text is the header of a table, else an empty string."""
    first = text.partition("\n")[0]
    headers = {it: first.split(it) for it in "\t," if it in first}
    return next((it for it, names in headers.items() if "path" in _recognized_columns(names)), "")


def _read_list(text: str) -> tuple[Sequence[str], Iterable[Row]]:
    """Rows of a list of paths, or of a list in which every line has a path and a class."""
    lines = [(f"line {i}", line.strip()) for i, line in enumerate(text.splitlines(), 1)]
    lines = [(where, line) for where, line in lines if line and not line.startswith("#")]
    if lines and lines[0][1].lower() == "path":
        del lines[0]
    pairs = [(where, _pair_of(line)) for where, line in lines]
    if lines and all(pair for _, pair in pairs):
        return ["path", "label"], pairs
    return ["path"], [(where, [line]) for where, line in lines]


def _pair_of(line: str) -> tuple[str, ...]:
    """Path and class of a line; empty if it has no class."""
    if match := _PATH_AND_LABEL.fullmatch(line):
        return match.groups()
    pair = tuple(line.split("\t"))
    return pair if len(pair) == 2 else ()


def _json_lines(file: str, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DatasetError(f"Manifest {file}, line {number}: {one_line(error)}.") from error
        if not isinstance(record, dict):
            raise DatasetError(f"Manifest {file}, line {number}: expected an object in braces.")
        yield number, record


def _json_records(file: str, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        records: Records = read_records(json.loads(text))
    except (ValueError, RecursionError, DatasetError) as error:
        raise DatasetError(f"Manifest {file}: {one_line(error)}.") from error
    return enumerate(records, 1)


def _to_rows(
    records: Iterable[tuple[int, Mapping[str, Any]]], unit: str
) -> tuple[Sequence[str], Iterable[Row]]:
    """Records as rows of a table with all of their keys as columns."""
    records = list(records)
    names = list(dict.fromkeys(str(name) for _, record in records for name in record))
    if not records:
        names = ["path"]
    return names, ((f"{unit} {i}", [record.get(name) for name in names]) for i, record in records)


def _read_parquet(file: str, group_column: str | None) -> tuple[Sequence[str], Iterable[Row]]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        parquet_file = parquet.ParquetFile(file)  # Closed with the object.
        schema = parquet_file.schema_arrow
        read = recognized_names(schema.names, group_column)
        # Of Hugging Face's images only the path is read, not the bytes.
        fields = [f"{it}.path" if _has_path(schema.field(it).type) else it for it in read]
        table = parquet_file.read(columns=fields)
        columns = {name: table.column(name).to_pylist() for name in read}
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise
        raise DatasetError(f"Manifest {file} is not a parquet file: {one_line(error)}") from error
    empty = [None] * table.num_rows
    rows = zip(*(columns.get(name, empty) for name in schema.names))
    return schema.names, ((f"row {i}", row) for i, row in enumerate(rows, 1))


def _has_path(data_type: Any) -> bool:
    """Whether a parquet type is a structure with a field ``path``."""
    if not hasattr(data_type, "get_field_index"):
        return False
    return "path" in [field.name for field in data_type]


def _to_manifest(
    file: str, names: Sequence[str], rows: Iterable[Row], indices: dict[str, int]
) -> Manifest:
    """Check the rows one by one and turn them into columns."""
    renamed = {it: names[i] for it, i in indices.items() if names[i].strip().lower() != it}
    if "split" in renamed:
        rows = list(rows)
        splits = {str(row[indices["split"]] or "") for _, row in rows if len(row) == len(names)}
        if not all(map(find_split, splits - {"", "nan"})):  # A column "set" of another meaning.
            del indices["split"], renamed["split"]
    records = [(where, _values(file, where, row, names, indices)) for where, row in rows]
    paths = resolve_paths(os.path.dirname(file), [values["path"] for _, values in records])
    seen: dict[str, tuple[str, dict[str, str]]] = {}
    real_folders: dict[str, str] = {}
    n_repeated = n_resplit = 0
    for path, (where, values) in zip(paths, records):
        key = identify_file(path, real_folders)
        if key not in seen:
            seen[key] = (where, values | {"path": path})
            continue
        first_where, first = seen[key]
        changed = {name for name in values.keys() - {"path"} if values[name] != first[name]}
        if changed - {"split"}:
            raise DatasetError(
                f"Manifest {file}, {where}, column 'path': {values['path']!r} occurs twice and "
                f"differs from {first_where}; an image has one label, domain and group."
            )
        n_repeated += 1
        n_resplit += bool(changed)
    columns = {name: [values[name] for _, values in seen.values()] for name in indices}
    paths = columns.pop("path")
    return Manifest(paths, **columns, n_repeated=n_repeated, n_resplit=n_resplit, renamed=renamed)


def _values(
    file: str, where: str, row: Sequence[Any], names: Sequence[str], indices: dict[str, int]
) -> dict[str, str]:
    """Values of the recognized columns of one row, as text."""
    if len(row) != len(names):
        column = repr(names[len(row)]) if len(row) < len(names) else str(len(names) + 1)
        raise DatasetError(
            f"Manifest {file}, {where}, column {column}: expected {len(names)} fields, got "
            f"{len(row)}; quote fields that contain the separator."
        )
    values = {}
    for name, index in indices.items():
        try:
            values[name] = _text(row[index])
        except ValueError as error:
            raise DatasetError(f"Manifest {file}, {where}, column {name!r}: {error}.") from error
    if not values["path"]:
        raise DatasetError(f"Manifest {file}, {where}, column 'path': the path is empty.")
    if "\0" in values["path"]:
        raise DatasetError(f"Manifest {file}, {where}, column 'path': a path cannot contain NUL.")
    for name in values.keys() - {"path"}:
        values[name] = _name_text(file, where, name, values[name])
    if values.get("split"):
        values["split"] = _split(file, where, values["split"])
    return values


def _name_text(file: str, where: str, column: str, text: str) -> str:
    """Name of a class, split, domain or group, stripped and in Unicode's normal form C."""
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            shown = printable(text)
            raise DatasetError(
                f"Manifest {file}, {where}, column {column!r}: {shown!r} is not UTF-8; save the "
                "file as UTF-8."
            ) from error
    return unicodedata.normalize("NFC", text.strip())


def _split(file: str, where: str, name: str) -> str:
    split = find_split(name)
    if split is None:
        suggestion = did_you_mean(name, ["train", "val", "test"])
        raise DatasetError(
            f"Manifest {file}, {where}, column 'split': {name!r} is not a split; expected train, "
            f"val or test.{suggestion}"
        )
    return split


def _text(value: Any) -> str:
    """Value of a field as text; empty if it is missing. A list must have at most one value.

    Examples
    --------
    >>> _text(b"cat"), _text(3.0), _text(float("nan")), _text(["cat"]), _text(None)
    ('cat', '3', '', 'cat', '')
    """
    if isinstance(value, list | tuple):
        if len(value) > 1:
            shown = ", ".join(map(str, value[:3]))
            raise ValueError(f"{len(value)} values ({shown}); an image has one")
        return _text(value[0]) if value else ""
    if isinstance(value, dict):  # Label Studio's choices, or an image of Hugging Face.
        if "choices" in value:
            return _text(value["choices"])
        if not isinstance(value.get("path"), str):
            raise ValueError("expected a text or a number, got an object")
        return str(value["path"])
    if isinstance(value, bytes):
        return os.fsdecode(value)
    if isinstance(value, float) and value.is_integer():  # An integer in a column with NaN.
        return str(int(value))
    return "" if value is None or value != value else str(value)
