"""Tables that hold images as bytes, in Hugging Face's layout: which column says what."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from featx.data.archives.formats import ArchiveContents, ArchiveEntry
from featx.data.blobs import Blob

_LABELS = ("label", "labels", "cls", "class", "class_name", "category", "target", "fine_label")
"""Columns that are the class where the table does not mark one as such, the first first."""

_IMAGES = ("image", "img", "jpg", "png", "picture", "photo", "bytes")
"""Columns of bytes that are images where the table does not mark one as such."""


class TableLayout(NamedTuple):
    """What the columns of a table are.

    Attributes
    ----------
    image : str
        Column of the images.
    is_struct : bool
        Whether it has the fields ``bytes`` and, mostly, ``path``.
    has_path : bool
    label : str, optional
        Column of the classes.
    classes : list of str
        Names of the classes that numbers in it stand for.
    """

    image: str
    is_struct: bool
    has_path: bool
    label: str | None
    classes: list[str]


def find_layout(schema: Any) -> TableLayout | None:
    """Columns of a table that holds images; None of one that does not.

    Parameters
    ----------
    schema : pyarrow.Schema
        What an extension type is stored as counts, and nothing in its metadata is run.

    Examples
    --------
    >>> import pyarrow as pa
    >>> find_layout(pa.schema({"image": pa.binary(), "label": pa.string()})).label
    'label'
    >>> find_layout(pa.schema({"path": pa.string(), "label": pa.string()})) is None
    True
    """
    import pyarrow as pa

    types = {it.name: getattr(it.type, "storage_type", it.type) for it in schema}
    features = _features_of(schema.metadata or {})
    marked = [name for name, it in features.items() if it.get("_type") == "Image"]
    structs = [name for name, it in types.items() if _is_image_struct(it)]
    plain = [name for name, it in types.items() if pa.types.is_binary(it)]
    plain += [name for name, it in types.items() if pa.types.is_large_binary(it)]
    images = [it for it in marked if it in (*structs, *plain)] or structs
    images = images or [name for name in _IMAGES if name in plain]
    if not images:
        return None
    label = _label_column(types, features)
    classes = features.get(label or "", {}).get("names", [])
    is_struct = images[0] in structs
    return TableLayout(
        images[0],
        is_struct,
        is_struct and types[images[0]].get_field_index("path") >= 0,
        label,
        [str(name) for name in classes] if isinstance(classes, list) else [],
    )


def to_contents(
    layout: TableLayout,
    blobs: Sequence[Blob | None],
    paths: Sequence[Any],
    labels: Sequence[Any] | None,
) -> ArchiveContents:
    """Rows of a table as entries, named by their paths where these tell them apart.

    Parameters
    ----------
    layout : TableLayout
    blobs : sequence of Blob or None
        None of rows without bytes.
    paths : sequence of str or None
        What the table calls its images; may be empty.
    labels : sequence, optional
        Names or numbers of classes.
    """
    names = _names_of(paths, len(blobs))
    contents = ArchiveContents(is_table=True)
    for i, blob in enumerate(blobs):
        if blob is None:
            only = f", only the path {paths[i]!r}" if paths and paths[i] else ""
            contents.failures.append((names[i], f"the table has no bytes of it{only}"))
            continue
        label = None if labels is None else _class_name(labels[i], layout.classes)
        contents.entries.append(ArchiveEntry(names[i], blob, label))
    return contents


def _names_of(paths: Sequence[Any], n_rows: int) -> list[str]:
    """Names of rows: their paths; where these lead elsewhere their last parts; or numbers."""
    names = [it for it in paths if isinstance(it, str) and it]
    if any(it.startswith("/") or ".." in it.split("/") for it in names):
        names = [it.rpartition("/")[2] for it in names]
    return names if len(set(names)) == n_rows else [str(i) for i in range(n_rows)]


def _is_image_struct(kind: Any) -> bool:
    import pyarrow as pa

    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        return False
    inner = kind.field("bytes").type
    return bool(pa.types.is_binary(inner) or pa.types.is_large_binary(inner))


def _label_column(types: dict[str, Any], features: dict[str, dict[str, Any]]) -> str | None:
    import pyarrow as pa

    marked = [n for n, it in features.items() if it.get("_type") == "ClassLabel" and n in types]
    if len(marked) == 1:
        return marked[0]
    fit = [
        name
        for name, it in types.items()
        if pa.types.is_integer(it) or pa.types.is_string(it) or pa.types.is_large_string(it)
    ]
    return next((name for name in _LABELS if name in (marked or fit)), None)


def _features_of(metadata: dict[bytes, bytes]) -> dict[str, dict[str, Any]]:
    """What `datasets` notes of the columns; empty where it noted nothing that can be read."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    if not isinstance(features, dict):
        return {}
    return {name: it for name, it in features.items() if isinstance(it, dict)}


def _class_name(value: Any, classes: list[str]) -> str:
    """Name of a class; `datasets` has -1 where there is none."""
    if value is None:
        return ""
    if isinstance(value, int) and classes:
        return classes[value] if 0 <= value < len(classes) else ""
    return str(value)
