"""Files that hold the matrix as one array: ``.npy``, ``.npz``, ``.safetensors``."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from featx._files import atomic_write, write_together
from featx.data.manifest_columns import COLUMNS
from featx.features.formats.content import (
    Content,
    Matrix,
    read_together,
    row_chunks,
    sidecar,
    sidecar_of,
    write_array,
    write_sidecar,
    write_signed_array,
)


def write_npy(content: Content, path: Path) -> None:
    """Write the matrix, and names and metadata to a file beside it."""
    with write_together(path, sidecar(path)) as (matrix, names):
        with matrix.open("wb") as file:
            digest = write_signed_array(file, content)
        write_sidecar(content, names, digest)


def read_npy(path: Path) -> Content:
    """Read what `write_npy` wrote, the matrix memory-mapped."""
    X, side = read_together(path, open_array, sidecar_of(path))
    return Content.of(X, side["columns"], side["meta"])


def read_npy_meta(path: Path) -> dict[str, Any]:
    """Metadata of a ``.npy`` file."""
    return dict(read_together(path, open_array, sidecar_of(path))[1]["meta"])


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
    # Opened here, as NumPy does not close its own file if the archive is broken.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    columns = {name: arrays[f"{name}s"] for name in COLUMNS if f"{name}s" in arrays}
    return Content.of(arrays["X"], columns, json.loads(str(arrays["meta"])))


def read_npz_meta(path: Path) -> dict[str, Any]:
    """Metadata of an ``.npz`` file."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return dict(json.loads(str(archive["meta"])))


def write_safetensors(content: Content, path: Path) -> None:
    """Write tensors ``X`` and ``columns`` (JSON as bytes), and metadata in the header.

    Without the package safetensors, which needs every tensor completely in memory.
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
    # From one open file, as the path may be replaced meanwhile.
    with path.open("rb") as file:
        header, start = _read_header(file)
        first, last = header["columns"]["data_offsets"]
        file.seek(start + first)
        columns = json.loads(file.read(last - first))
        if header["X"]["dtype"] != "F32":
            raise ValueError(f"expected a float32 matrix, got {header['X']['dtype']}")
        shape, first = tuple(header["X"]["shape"]), start + header["X"]["data_offsets"][0]
        X = np.memmap(file, "<f4", "r", first, shape) if 0 not in shape else np.zeros(shape, "<f4")
    return Content.of(X, columns, json.loads(header["__metadata__"]["meta"]))


def read_safetensors_meta(path: Path) -> dict[str, Any]:
    """Metadata of a ``.safetensors`` file."""
    with path.open("rb") as file:
        return dict(json.loads(_read_header(file)[0]["__metadata__"]["meta"]))


def _read_header(file: BinaryIO) -> tuple[dict[str, Any], int]:
    """Header of a ``.safetensors`` file, and the offset of the tensors."""
    n_bytes = int.from_bytes(file.read(8), "little")
    if n_bytes > os.fstat(file.fileno()).st_size:
        raise ValueError("its header is longer than the file")
    return dict(json.loads(file.read(n_bytes))), 8 + n_bytes


def open_array(path: Path) -> tuple[Matrix, str | None]:
    """Memory-map the matrix in a ``.npy`` file; also return the digest after it, if any."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype != np.float32 or len(shape) != 2:
            raise ValueError(f"expected a float32 matrix, got {dtype} of shape {shape}")
        start = file.tell()
        if 0 in shape:  # An empty array cannot be mapped.
            X: Matrix = np.zeros(shape, dtype)
        else:
            X = np.memmap(file, dtype, "r", start, shape, "F" if is_fortran else "C")
        file.seek(start + X.nbytes)
        if not file.peek(1):
            return X, None
        return X, str(np.lib.format.read_array(file, allow_pickle=False))
