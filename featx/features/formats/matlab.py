"""MATLAB files of features."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx._files import atomic_write
from featx.errors import FeatureFileError
from featx.features.formats.content import Content

_MAX_MAT_BYTES = 2**31 - 2**20
"""What MATLAB's format 5 holds in one variable: 2 GB with its header."""


def check_mat_size(path: Path, n_rows: int, n_columns: int) -> None:
    """Refuse a ``.mat`` file that its format cannot hold.

    Raises
    ------
    FeatureFileError
        If it had more than 2 GB.
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
    # Texts as bytes too: what reads a cell back may drop spaces at its end.
    texts = {"meta": content.meta, "columns": content.names}
    coded = {name: np.frombuffer(text.encode(), np.uint8) for name, text in texts.items()}
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        savemat(file, {"X": np.asarray(content.X), **cells, **coded}, do_compression=False)


def read_mat(path: Path) -> Content:
    """Read what `write_mat` wrote."""
    from scipy.io import loadmat

    held = loadmat(path, variable_names=["X", "meta", "columns"])
    X = np.ascontiguousarray(held["X"], np.float32)
    return Content.of(X, _json(held["columns"]), _json(held["meta"]))


def read_mat_meta(path: Path) -> dict[str, Any]:
    """Meta of a ``.mat`` file."""
    from scipy.io import loadmat

    return _json(loadmat(path, variable_names=["meta"])["meta"])


def _cells(values: Any) -> npt.NDArray[np.object_]:
    """Column of cells, one text each."""
    cells = np.empty((len(values), 1), object)
    cells[:, 0] = [str(value) for value in values]
    return cells


def _json(coded: npt.NDArray[np.uint8]) -> dict[str, Any]:
    return dict(json.loads(coded.tobytes()))
