"""A folder of features: the matrix, a manifest, and how they were made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from featx._files import write_together
from featx.features.formats.arrays import open_array
from featx.features.formats.content import (
    Content,
    Part,
    read_json,
    read_together,
    write_signed_array,
)
from featx.features.formats.tables import read_signed_columns, write_columns

_MATRIX, _MANIFEST, _META = "features.npy", "manifest.parquet", "meta.json"


def write_folder(content: Content, path: Path) -> None:
    """Write ``features.npy``, ``manifest.parquet`` and ``meta.json``; keep other files."""
    path.mkdir(exist_ok=True)
    with write_together(*(path / name for name in (_MATRIX, _MANIFEST, _META))) as parts:
        matrix, manifest, meta = parts
        with matrix.open("wb") as file:
            digest = write_signed_array(file, content)
        write_columns(content, manifest, digest)
        meta.write_text(content.signed_meta(digest=digest), "utf-8")


def read_folder(path: Path) -> Content:
    """Read what `write_folder` wrote, the matrix memory-mapped."""
    manifest = Part(path / _MANIFEST, read_signed_columns, "the names of the rows")
    X, columns, meta = read_together(path / _MATRIX, open_array, manifest, _meta_of(path))
    return Content.of(X, columns, meta)


def read_folder_meta(path: Path) -> dict[str, Any]:
    """Metadata of a folder of features."""
    matrix = path / _MATRIX
    if not matrix.exists():
        return read_json(path / _META)
    return dict(read_together(matrix, open_array, _meta_of(path))[1])


def _meta_of(path: Path) -> Part:
    return Part(path / _META, _read_meta, "the blocks and how the features were made")


def _read_meta(path: Path) -> tuple[dict[str, Any], str | None]:
    meta = read_json(path)
    return meta, meta.get("digest")
