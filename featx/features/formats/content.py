"""What every file of features holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt

from featx._files import to_plain
from featx._linalg import row_blocks
from featx.errors import FeatureFileError

Matrix: TypeAlias = npt.NDArray[np.float32]

_FORMAT_VERSION = 1
_SIDECAR_SUFFIX = ".json"


@dataclass
class Content:
    """What a file of features holds.

    Attributes
    ----------
    X : array of shape (n_images, n_features), float32
    columns : dict
        ``path`` and, where known, ``label``, ``split``, ``domain``, ``group``: one text a row.
    blocks, failures, provenance
        As in `featx.features.feature_set.FeatureSet`.
    """

    X: Matrix
    columns: Mapping[str, Any]
    blocks: dict[str, tuple[int, int]] = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def meta(self) -> str:
        """Everything but the matrix and the columns, as JSON."""
        return json.dumps(
            {
                "format": "featx features",
                "format_version": _FORMAT_VERSION,
                "shape": list(self.X.shape),
                "blocks": to_plain(self.blocks),
                "failures": to_plain(self.failures),
                "provenance": to_plain(self.provenance),
            },
            ensure_ascii=False,
        )

    @property
    def names(self) -> str:
        """The columns, as JSON."""
        return json.dumps({key: list(map(str, c)) for key, c in self.columns.items()})

    @classmethod
    def of(cls, X: Matrix, columns: Mapping[str, Any], meta: Mapping[str, Any]) -> Content:
        """Content read from a file, checked against what its `meta` says."""
        if list(X.shape) != meta["shape"]:
            raise ValueError(f"its matrix is {X.shape}, its meta says {tuple(meta['shape'])}")
        blocks = {name: (int(start), int(stop)) for name, (start, stop) in meta["blocks"].items()}
        failures = [(path, reason) for path, reason in meta["failures"]]
        return cls(X, columns, blocks, failures, meta["provenance"])


def row_chunks(X: Matrix) -> Iterator[Matrix]:
    """Rows a few megabytes at a time, C-contiguous, little-endian float32."""
    for rows in row_blocks(X):
        yield np.ascontiguousarray(X[rows], "<f4")


def write_array(file: BinaryIO | Any, X: Matrix) -> None:
    """Write a matrix in NumPy's own format, a few megabytes at a time."""
    header = {"descr": "<f4", "fortran_order": False, "shape": X.shape}
    np.lib.format.write_array_header_1_0(file, header)
    for rows in row_chunks(X):
        file.write(rows.data)


def sidecar(path: Path) -> Path:
    """File beside `path` that holds the names and the meta."""
    return path.with_name(path.name + _SIDECAR_SUFFIX)


def write_sidecar(content: Content, path: Path) -> None:
    """Write names and meta to a file of their own."""
    path.write_text(f'{{"meta": {content.meta},\n"columns": {content.names}}}', "utf-8")


def read_sidecar(path: Path) -> dict[str, Any]:
    """Meta and columns in the file beside `path`."""
    return read_json(sidecar(path), "the names of the rows and how they were made")


def read_sidecar_meta(path: Path) -> dict[str, Any]:
    """Meta in the file beside `path`."""
    return dict(read_sidecar(path)["meta"])


def read_json(path: Path, holds: str) -> dict[str, Any]:
    """Object in a JSON file.

    Parameters
    ----------
    path : Path
    holds : str
        What is in it, for the error.

    Raises
    ------
    FeatureFileError
        If the file is not there.
    """
    if not path.exists():
        raise FeatureFileError(f"{path} is missing; it holds {holds}.")
    return dict(json.loads(path.read_text("utf-8")))
