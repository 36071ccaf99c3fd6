"""A folder of features: the matrix, a manifest, and how they were made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from featx._files import atomic_write
from featx.features.formats.arrays import open_array
from featx.features.formats.content import Content, read_json, write_array
from featx.features.formats.tables import read_columns, write_columns


def write_folder(content: Content, path: Path) -> None:
    """Write ``features.npy``, ``manifest.parquet`` and ``meta.json``; other files there stay."""
    path.mkdir(exist_ok=True)
    with (
        atomic_write(path / "meta.json") as meta,
        atomic_write(path / "manifest.parquet") as manifest,
        atomic_write(path / "features.npy") as matrix,
    ):
        with matrix.open("wb") as file:
            write_array(file, content.X)
        write_columns(content, manifest)
        meta.write_text(content.meta, "utf-8")


def read_folder(path: Path) -> Content:
    """Read what `write_folder` wrote, the matrix memory-mapped."""
    meta = read_folder_meta(path)
    columns = read_columns(path / "manifest.parquet")
    return Content.of(open_array(path / "features.npy"), columns, meta)


def read_folder_meta(path: Path) -> dict[str, Any]:
    """Meta of a folder of features."""
    return read_json(path / "meta.json", "the blocks and how the features were made")
