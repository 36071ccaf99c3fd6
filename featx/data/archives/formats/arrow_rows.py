"""Arrow files with images as bytes, and the folders of them that ``datasets`` saves.

The bytes of a row lie in the file as they are, so that a row is a member by its offset.
"""

from __future__ import annotations

import json
import os
from typing import Any

from featx.data.archives.archive_files import ArchiveFile, LocalFile, Member
from featx.data.archives.formats import ArchiveContents, ArchiveFormat
from featx.data.archives.image_tables import TableLayout, find_layout, to_contents
from featx.data.blobs import Blob

_STATE, _SPLITS = "state.json", "dataset_dict.json"
"""Files by which a folder of one data set, and of one for each split, is known."""


def _read_arrow(file: ArchiveFile) -> ArchiveContents:
    """Rows of a table of images, by the offsets of their bytes."""
    import pyarrow as pa

    if not isinstance(file, LocalFile):
        raise ValueError("is an arrow file behind a URL, which is not read; expected parquet there")
    blobs: list[Blob | None] = []
    paths: list[Any] = []
    labels: list[Any] = []
    try:
        with pa.memory_map(file.location) as source:
            base = source.read_buffer(source.size())
            reader = _open(base)
            layout = find_layout(reader.schema)
            if layout is None:
                raise ValueError("has no column of images as bytes")
            for batch in _batches(reader):
                _add_batch(file, base, batch, layout, (blobs, paths, labels))
    except pa.ArrowException as error:
        raise ValueError("is not an arrow file, or is truncated") from error
    return to_contents(layout, blobs, paths, labels if layout.label else None)


def _find_saved(folder: str) -> list[str]:
    """Arrow files of a folder that ``datasets.save_to_disk`` wrote; empty for other folders."""
    splits = _json(os.path.join(folder, _SPLITS)).get("splits")
    if isinstance(splits, list):
        inner = [os.path.join(folder, it) for it in splits if _is_plain(it)]
        return [file for it in inner for file in _find_saved(it)]
    files = _json(os.path.join(folder, _STATE)).get("_data_files")
    found = [it for it in files if isinstance(it, dict)] if isinstance(files, list) else []
    names = [str(it.get("filename", "")) for it in found]
    return [os.path.join(folder, name) for name in names if _is_plain(name)]


FORMAT = ArchiveFormat((".arrow",), _read_arrow, find_files=_find_saved)


def _open(buffer: Any) -> Any:
    """Reader of a stream, as ``datasets`` writes, or of a file."""
    import pyarrow as pa

    is_file = bytes(buffer[:6]) == b"ARROW1"
    return pa.ipc.open_file(buffer) if is_file else pa.ipc.open_stream(buffer)


def _batches(reader: Any) -> Any:
    if hasattr(reader, "num_record_batches"):
        return (reader.get_batch(i) for i in range(reader.num_record_batches))
    return reader


def _add_batch(
    file: ArchiveFile,
    base: Any,
    batch: Any,
    layout: TableLayout,
    columns: tuple[list[Blob | None], list[Any], list[Any]],
) -> None:
    """Take the rows of a batch: where the bytes of each begin and end in the file."""
    blobs, paths, labels = columns
    # Offsets that lead out of their buffers would end the process: pyarrow believes them.
    for name in filter(None, (layout.image, layout.label)):
        batch.column(name).validate(full=True)
    values = _stored(batch.column(layout.image))
    content = _stored(values.field("bytes")) if layout.is_struct else values
    first = content.offset
    _, offsets, data = content.buffers()
    if data is not None and not base.address <= data.address <= base.address + base.size:
        raise ValueError("holds compressed batches, which cannot be read by offset")
    start = 0 if data is None else data.address - base.address
    bounds = _offsets(content, offsets)[first : first + len(content) + 1]
    is_there = content.is_valid().to_pylist()
    blobs += [
        Member(file, start + int(bounds[i]), int(bounds[i + 1] - bounds[i])) if there else None
        for i, there in enumerate(is_there)
    ]
    paths += _stored(values.field("path")).to_pylist() if layout.has_path else []
    labels += _stored(batch.column(layout.label)).to_pylist() if layout.label else []


def _offsets(content: Any, buffer: Any) -> Any:
    import numpy as np
    import pyarrow as pa

    return np.frombuffer(buffer, np.int64 if pa.types.is_large_binary(content.type) else np.int32)


def _stored(values: Any) -> Any:
    """Values of an extension type as they are stored: nothing that a file names is run."""
    return getattr(values, "storage", values)


def _is_plain(name: Any) -> bool:
    """Whether a name is one of a file in its folder."""
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\\0")


def _json(path: str) -> dict[str, Any]:
    """An object from a file; empty where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
