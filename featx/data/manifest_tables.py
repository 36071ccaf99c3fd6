"""Tables as files have them: CSV, TSV, parquet, JSON in its dialects, and lists of names.

A table is the names of its columns, and its rows with their places for messages. What the columns
mean is for `featx.data.manifest_columns` to say.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from featx.errors import DatasetError, one_line

Table: TypeAlias = tuple[list[str], Iterable[tuple[str, Sequence[Any]]]]

DELIMITERS = {".csv": ",", ".tsv": "\t"}
_JSON_IMAGE = "image"
"""Column of the images in Label Studio's files."""


def read_table(file: str, is_needed: Callable[[str], bool]) -> Table:
    """Columns and rows of a manifest.

    Parameters
    ----------
    file : str
        Its suffix, one of those in `TABLE_SUFFIXES`, says how it is read.
    is_needed : callable
        Whether a column of that name is looked at; parquet reads no others.

    Returns
    -------
    names : list of str
    rows : iterable of (str, sequence)
        Where a row stands, such as ``line 2``, and its values.

    Raises
    ------
    DatasetError
        If the file is not what its suffix says.
    OSError
        If it cannot be read.
    """
    return _READERS[os.path.splitext(file)[1].lower()](file, is_needed)


def _read_delimited(file: str, is_needed: Callable[[str], bool]) -> Table:
    delimiter = DELIMITERS[os.path.splitext(file)[1].lower()]
    # Strict: a quote that is never closed would swallow the rest of the file.
    reader = csv.reader(io.StringIO(_text_of(file), newline=""), delimiter=delimiter, strict=True)
    lines = _lines(file, reader)
    header = next(lines, None)
    if header is None:
        raise DatasetError(f"Manifest {file} is empty; expected a first line 'path,label'.")
    return header[1], lines


def _lines(file: str, reader: Any) -> Iterator[tuple[str, list[str]]]:
    """Rows of a CSV reader that are not empty, and where they stand."""
    start = 1
    try:
        for row in reader:
            if row:
                yield f"line {reader.line_num}", row
            start = reader.line_num + 1
    except csv.Error as error:
        cure = " A quote that begins there is not closed." if "end of data" in str(error) else ""
        raise DatasetError(f"Manifest {file}, line {start}: {error}.{cure}") from error


def _read_names(file: str, is_needed: Callable[[str], bool]) -> Table:
    """Paths, one a line; where the lines are no files, what follows the last blank is the label."""
    lines = [
        (f"line {i}", line.strip())
        for i, line in enumerate(_text_of(file).splitlines(), start=1)
        if line.strip() and not line.startswith("#")
    ]
    folder = os.path.dirname(file)
    is_alone = not lines or any(
        os.path.exists(os.path.join(at, lines[0][1])) for at in (folder, os.curdir)
    )
    pairs = [(where, line.rsplit(None, 1)) for where, line in lines]
    if is_alone or any(len(pair) != 2 for _, pair in pairs):
        return ["path"], ((where, [line]) for where, line in lines)
    return ["path", "label"], pairs


def _read_parquet(file: str, is_needed: Callable[[str], bool]) -> Table:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        names = parquet.read_schema(file).names
        wanted = [name for name in names if is_needed(name)]
        table = parquet.read_table(file, columns=wanted)
        columns = [_plain(column.to_pylist()) for column in table.columns]
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise
        raise DatasetError(f"Manifest {file} is no parquet file: {one_line(error)}") from error
    if not wanted:
        return names, ()
    rows = zip(*columns)
    return wanted, ((f"row {i}", row) for i, row in enumerate(rows, start=1))


def _plain(values: list[Any]) -> list[Any]:
    """A column of parquet; whole numbers that became floats because some are missing are whole."""
    known = [value for value in values if value is not None and value == value]
    if known and all(isinstance(value, float) and value.is_integer() for value in known):
        return [int(value) if value is not None and value == value else None for value in values]
    return values


def _read_json_lines(file: str, is_needed: Callable[[str], bool]) -> Table:
    rows = [
        (f"line {i}", _json(file, line, f", line {i}"))
        for i, line in enumerate(_text_of(file).split("\n"), start=1)
        if line.strip()
    ]
    return _table_of(file, rows)


def _read_json(file: str, is_needed: Callable[[str], bool]) -> Table:
    """A list of objects, COCO's annotations, or what Label Studio exports."""
    content = _json(file, _text_of(file), "")
    if isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys():
        return _coco(file, content)
    if not isinstance(content, list):
        raise DatasetError(
            f"Manifest {file}: expected a list of objects, COCO's images, annotations and "
            "categories, or an export of Label Studio."
        )
    rows = [(f"entry {i}", _task(row)) for i, row in enumerate(content, start=1)]
    return _table_of(file, rows)


def _json(file: str, text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise DatasetError(f"Manifest {file}{where} is no JSON: {one_line(error)}.") from error


def _table_of(file: str, rows: list[tuple[str, Any]]) -> Table:
    """Objects as rows of a table that has all of their names as columns."""
    for where, row in rows:
        if not isinstance(row, dict):
            kind = type(row).__name__
            raise DatasetError(f"Manifest {file}, {where}: expected an object, got {kind}.")
    names = list(dict.fromkeys(name for _, row in rows for name in row))
    return names, ((where, [row.get(name) for name in names]) for where, row in rows)


def _coco(file: str, content: dict[str, Any]) -> Table:
    """COCO: the category of an image whose annotations all have the same, else no label."""
    try:
        categories = {it["id"]: it["name"] for it in content["categories"]}
        found: dict[Any, set[str]] = {}
        for it in content["annotations"]:
            found.setdefault(it["image_id"], set()).add(categories[it["category_id"]])
        images = [(it["file_name"], found.get(it["id"], set())) for it in content["images"]]
    except (KeyError, TypeError) as error:
        raise DatasetError(f"Manifest {file}: {one_line(error)} is missing in COCO's.") from error
    labels = (min(names) if len(names) == 1 else "" for _, names in images)
    rows = zip((name for name, _ in images), labels)
    return ["path", "label"], [(f"image {i}", row) for i, row in enumerate(rows, start=1)]


def _task(task: Any) -> Any:
    """A task of Label Studio as a plain object: its image, and its choice where there is one."""
    if not (isinstance(task, dict) and isinstance(task.get("data"), dict)):
        return task
    data = dict(task["data"])
    choices = {
        choice
        for annotation in task.get("annotations") or ()
        if not annotation.get("was_cancelled")
        for result in annotation.get("result") or ()
        for choice in result.get("value", {}).get("choices", ())
    }
    plain = {name: value for name, value in data.items() if isinstance(value, str | int | float)}
    if _JSON_IMAGE in plain:
        # Label Studio serves local files as /data/local-files/?d=PATH.
        plain[_JSON_IMAGE] = str(plain[_JSON_IMAGE]).rpartition("?d=")[2]
    return plain | {"label": min(choices) if len(choices) == 1 else ""}


def _text_of(file: str) -> str:
    """Content of a text file; names may be any bytes, so what is no UTF-8 goes through."""
    data = Path(file).read_bytes()
    if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise DatasetError(f"Manifest {file} is in UTF-16; expected UTF-8. Save it as UTF-8.")
    return data.decode("utf-8-sig", errors="surrogateescape")


_READERS: dict[str, Callable[[str, Callable[[str], bool]], Table]] = {
    ".csv": _read_delimited,
    ".tsv": _read_delimited,
    ".parquet": _read_parquet,
    ".jsonl": _read_json_lines,
    ".json": _read_json,
    ".txt": _read_names,
}
TABLE_SUFFIXES = frozenset(_READERS)
