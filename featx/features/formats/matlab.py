"""Feature files in MATLAB's format."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx._files import atomic_write
from featx.errors import FeatureFileError
from featx.features.formats.content import Content

_MAX_MAT_BYTES = 2**31 - 2**20
"""Maximum size of one variable in MATLAB's format 5: 2 GB with its header."""

_N_HEADER_BYTES, _N_TAG_BYTES = 128, 8
_MATRIX, _COMPRESSED = 14, 15
_COMPLEX = 0x0800
_NUMERIC = range(6, 16)
"""Array classes from double to uint64; lower numbers are cells, structures and text."""

_TYPES = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
"""Types of stored values; MATLAB may store smaller types than that of the class if lossless."""


def check_mat_size(path: Path, n_rows: int, n_columns: int) -> None:
    """Refuse a ``.mat`` file that its format cannot hold.

    Raises
    ------
    FeatureFileError
        If it would be larger than 2 GB.
    """
    n_bytes = 4 * n_rows * n_columns
    if n_bytes > _MAX_MAT_BYTES:
        raise FeatureFileError(
            f"{path} cannot hold {n_bytes / 1e9:.1f} GB, .mat takes at most 2 GB; write "
            ".h5, which MATLAB reads too, or ask for fewer features (--pooling gap)."
        )


def write_mat(content: Content, path: Path) -> None:
    """Write ``X``, cells of text ``paths``, ``labels``, ``splits``, ..., and ``meta``."""
    from scipy.io import savemat

    check_mat_size(path, *content.X.shape)
    cells = {f"{name}s": _cells(values) for name, values in content.columns.items()}
    # Also as bytes: readers of cells may drop trailing spaces.
    texts = {"meta": content.meta, "columns": content.names}
    encoded = {name: np.frombuffer(text.encode(), np.uint8) for name, text in texts.items()}
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        savemat(file, {"X": np.asarray(content.X), **cells, **encoded}, do_compression=False)


def read_mat(path: Path) -> Content:
    """Read what `write_mat` wrote, possibly saved again by MATLAB."""
    variables = _read_variables(path, {"X", "meta", "columns"})
    X = np.array(variables["X"], np.float32, order="C")
    return Content.of(X, _json(variables["columns"]), _json(variables["meta"]))


def read_mat_meta(path: Path) -> dict[str, Any]:
    """Metadata of a ``.mat`` file."""
    return _json(_read_variables(path, {"meta"})["meta"])


def _read_variables(path: Path, names: set[str]) -> dict[str, npt.NDArray[Any]]:
    """Real numeric matrices of a file of MATLAB's format 5, by name.

    SciPy reads more types, but some damaged headers crash it and the process.
    """
    content = np.memmap(path, np.uint8, "r")
    order = {b"IM": "<", b"MI": ">"}.get(content[126:_N_HEADER_BYTES].tobytes())
    if order is None:
        raise ValueError("it is not a file in MATLAB's format 5")
    variables = {}
    for kind, element in _elements(content[_N_HEADER_BYTES:], order):
        if kind == _COMPRESSED:
            kind, element = next(_elements(_decompressed(element), order))
        if kind != _MATRIX:
            continue
        name, parts = _header(element, order)
        if name in names:
            variables[name] = _matrix(parts, order)
    return variables


def _elements(content: npt.NDArray[np.uint8], order: str) -> Iterator[tuple[int, Any]]:
    """Type and content of each element; the content of a truncated one is shorter."""
    while len(content) >= _N_TAG_BYTES:
        kind, n_bytes = content[:_N_TAG_BYTES].view(f"{order}u4").tolist()
        start, step = _N_TAG_BYTES, _N_TAG_BYTES + n_bytes
        if kind >> 16:  # A small element: type and size in four bytes, content in the next four.
            kind, n_bytes, start, step = kind & 0xFFFF, kind >> 16, 4, _N_TAG_BYTES
        yield kind, content[start : start + n_bytes]
        content = content[step if kind == _COMPRESSED else -(-step // 8) * 8 :]


def _header(
    matrix: npt.NDArray[np.uint8], order: str
) -> tuple[str, list[tuple[int, npt.NDArray[np.uint8]]]]:
    """Name of a variable, and its flags, shape and real values; empty if it is incomplete."""
    parts = list(islice(_elements(matrix, order), 4))
    if len(parts) < 4:
        return "", []
    return parts[2][1].tobytes().decode("latin-1"), [*parts[:2], parts[3]]


def _matrix(parts: list[tuple[int, npt.NDArray[np.uint8]]], order: str) -> npt.NDArray[Any]:
    """Values of a matrix of real numbers."""
    (_, flags), (_, sizes), (kind, values) = parts
    (bits,) = flags[:4].view(f"{order}u4").tolist()
    if bits & 0xFF not in _NUMERIC or bits & _COMPLEX or kind not in _TYPES:
        raise ValueError("it holds variables that are not real numbers")
    shape = sizes.view(f"{order}i4").tolist()
    return values.view(order + _TYPES[kind]).reshape(shape, order="F")


def _decompressed(element: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    content = zlib.decompressobj().decompress(element.data, _MAX_MAT_BYTES)
    return np.frombuffer(content, np.uint8)


def _cells(values: Any) -> npt.NDArray[np.object_]:
    """Column of cells, one string each."""
    cells = np.empty((len(values), 1), object)
    cells[:, 0] = [str(value) for value in values]
    return cells


def _json(encoded: npt.NDArray[np.uint8]) -> dict[str, Any]:
    return dict(json.loads(encoded.tobytes()))
