"""Files that hold the matrix as one array: ``.npy``, ``.npz``, ``.safetensors``."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from featx._files import atomic_write
from featx.data.manifests import COLUMNS
from featx.features.formats.content import (
    Content,
    Matrix,
    read_sidecar,
    row_chunks,
    sidecar,
    write_array,
    write_sidecar,
)


def write_npy(content: Content, path: Path) -> None:
    """Write the matrix, and names and meta to ``PATH.json`` beside it."""
    # Both are written before either takes its place.
    with atomic_write(sidecar(path)) as names, atomic_write(path) as matrix:
        with matrix.open("wb") as file:
            write_array(file, content.X)
        write_sidecar(content, names)


def read_npy(path: Path) -> Content:
    """Read what `write_npy` wrote, the matrix memory-mapped."""
    held = read_sidecar(path)
    return Content.of(open_array(path), held["columns"], held["meta"])


def write_npz(content: Content, path: Path) -> None:
    """Write arrays that plain NumPy reads: ``X``, ``paths``, ``labels``, ..., and ``meta``."""
    columns = {f"{key}s": np.asarray(c, np.str_) for key, c in content.columns.items()}
    with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        with archive.open(_entry("X", zipfile.ZIP_STORED), "w", force_zip64=True) as file:
            write_array(file, content.X)
        for name, values in {**columns, "meta": np.array(content.meta)}.items():
            buffer = io.BytesIO()
            np.save(buffer, values, allow_pickle=False)
            archive.writestr(_entry(name, zipfile.ZIP_DEFLATED), buffer.getvalue())


def _entry(name: str, compression: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(f"{name}.npy")
    entry.compress_type = compression
    entry.external_attr = 0o644 << 16
    return entry


def read_npz(path: Path) -> Content:
    """Read what `write_npz` wrote."""
    # A file of our own: numpy leaves its open where the archive is broken.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        held = {name: archive[name] for name in archive.files}
    columns = {name: held[f"{name}s"] for name in COLUMNS if f"{name}s" in held}
    return Content.of(held["X"], columns, json.loads(str(held["meta"])))


def read_npz_meta(path: Path) -> dict[str, Any]:
    """Meta of an ``.npz`` file."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return dict(json.loads(str(archive["meta"])))


def write_safetensors(content: Content, path: Path) -> None:
    """Tensors ``X`` and ``columns`` (JSON as bytes), meta in the header.

    Written by hand: the package wants every tensor whole in memory.
    """
    n_bytes = 4 * content.X.size
    names = content.names.encode()
    header = {
        "__metadata__": {"meta": content.meta},
        "X": {"dtype": "F32", "shape": content.X.shape, "data_offsets": [0, n_bytes]},
        "columns": {
            "dtype": "U8",
            "shape": [len(names)],
            "data_offsets": [n_bytes, n_bytes + len(names)],
        },
    }
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)  # So that the matrix is aligned, and can be mapped.
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for rows in row_chunks(content.X):
            file.write(rows.data)
        file.write(names)


def read_safetensors(path: Path) -> Content:
    """Read what `write_safetensors` wrote, the matrix memory-mapped."""
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:  # Checks every offset against the file's size.
        meta = json.loads(file.metadata()["meta"])
        columns = json.loads(file.get_tensor("columns").tobytes())
        shape = tuple(file.get_slice("X").get_shape())
    with path.open("rb") as raw:
        start = 8 + int.from_bytes(raw.read(8), "little")
    X = np.memmap(path, "<f4", "r", start, shape) if 0 not in shape else np.zeros(shape, "<f4")
    return Content.of(X, columns, meta)


def read_safetensors_meta(path: Path) -> dict[str, Any]:
    """Meta of a ``.safetensors`` file."""
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        return dict(json.loads(file.metadata()["meta"]))


def open_array(path: Path) -> Matrix:
    """Matrix in a ``.npy`` file, memory-mapped."""
    is_mapped = _has_rows(path)
    X = np.lib.format.open_memmap(path, "r") if is_mapped else np.load(path, allow_pickle=False)
    if X.dtype != np.float32 or X.ndim != 2:
        raise ValueError(f"expected a float32 matrix; it holds {X.dtype} of shape {X.shape}")
    return X


def _has_rows(path: Path) -> bool:
    """Whether there is anything to map; an empty array cannot be."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        return 0 not in np.lib.format.read_array_header_1_0(file)[0]
