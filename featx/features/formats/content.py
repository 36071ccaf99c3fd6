"""Content of feature files, and files that are written and read together."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from zlib_ng import zlib_ng

from featx._files import to_plain, versions
from featx._linalg import row_blocks
from featx.errors import FeatureFileError

Matrix: TypeAlias = npt.NDArray[np.float32]

_FORMAT_VERSION = 1
_SIDECAR_SUFFIX = ".json"
_N_TEXTS = 10_000
_WAITS_S = tuple(0.002 * 2**i for i in range(8))
"""Half a second in total, for a writer that is between two renames."""


@dataclass
class Content:
    """Content of a feature file.

    Attributes
    ----------
    X : array of shape (n_images, n_features), float32
    columns : dict
        ``path`` and, if known, ``label``, ``split``, ``domain``, ``group``: one string per row.
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
        """Everything except the matrix and the columns, as JSON."""
        return self.signed_meta()

    def signed_meta(self, **digest: str) -> str:
        """Like `meta`, with a ``digest`` shared by all files that are written together."""
        return json.dumps(
            {
                "format": "featx features",
                "format_version": _FORMAT_VERSION,
                "shape": list(self.X.shape),
                "blocks": to_plain(self.blocks),
                "failures": to_plain(self.failures),
                "provenance": to_plain(self.provenance),
                **digest,
            },
            ensure_ascii=False,
        )

    @property
    def names(self) -> str:
        """The columns, as JSON."""
        return json.dumps({key: list(map(str, c)) for key, c in self.columns.items()})

    @classmethod
    def of(cls, X: Matrix, columns: Mapping[str, Any], meta: Mapping[str, Any]) -> Content:
        """Content read from a file; its matrix must have the shape in `meta`."""
        if list(X.shape) != meta["shape"]:
            expected = tuple(meta["shape"])
            raise ValueError(
                f"expected a matrix of shape {expected} by its metadata, got {X.shape}"
            )
        blocks = {name: (int(start), int(stop)) for name, (start, stop) in meta["blocks"].items()}
        failures = [(path, reason) for path, reason in meta["failures"]]
        return cls(X, columns, blocks, failures, meta["provenance"])


def row_chunks(X: Matrix) -> Iterator[Matrix]:
    """Chunks of rows of a few megabytes, C-contiguous, little-endian float32."""
    for rows in row_blocks(X):
        yield np.ascontiguousarray(X[rows], "<f4")


def write_array(file: BinaryIO | Any, X: Matrix) -> None:
    """Write a matrix in NumPy's format, a few megabytes at a time."""
    header = {"descr": "<f4", "fortran_order": False, "shape": X.shape}
    np.lib.format.write_array_header_1_0(file, header)
    for rows in row_chunks(X):
        file.write(rows.data)


def write_signed_array(file: BinaryIO | Any, content: Content) -> str:
    """Write the matrix, followed by a digest of the whole content as a second array.

    Returns
    -------
    str
        The digest: 32 hexadecimal characters.
    """
    digest = hashlib.blake2b(content.meta.encode("utf-8", "surrogatepass"), digest_size=16)
    for name, values in content.columns.items():
        for first in range(0, len(values), _N_TEXTS):
            texts = [name, *map(str, values[first : first + _N_TEXTS])]
            digest.update(json.dumps(texts).encode())
    write_array(file, content.X)
    # A fast checksum of the rows is enough to distinguish two writes.
    crc = 0
    for rows in row_chunks(content.X):
        crc = zlib_ng.crc32(rows.data, crc)
    digest.update(crc.to_bytes(4))
    np.lib.format.write_array(file, np.array(digest.hexdigest()), allow_pickle=False)
    return digest.hexdigest()


class Part(NamedTuple):
    """A file that is read together with others.

    Attributes
    ----------
    path : Path
    read : callable
        Takes a path; returns the content of the file and its digest.
    holds : str
        What the file contains, for error messages.
    """

    path: Path
    read: Callable[[Path], tuple[Any, str | None]]
    holds: str


def read_together(
    path: Path, read: Callable[[Path], tuple[Any, str | None]], *parts: Part
) -> list[Any]:
    """Read a file, and those that `featx._files.write_together` has written with it.

    Parameters
    ----------
    path : Path
        The first file.
    read : callable
        As in `Part`.
    *parts : Part
        The other files.

    Returns
    -------
    list
        Content of each file.

    Raises
    ------
    FeatureFileError
        If a file is missing, or was not written together with the first.
    """
    for wait_s in (*_WAITS_S, None):
        content, digest = read(path)
        matches = [_find_version(part, digest) for part in parts]
        if None not in matches:
            return [content, *(match[0] for match in matches if match is not None)]
        if wait_s is not None:
            time.sleep(wait_s)
    other = parts[matches.index(None)]
    if not other.path.exists():
        raise FeatureFileError(f"{other.path} is missing; it holds {other.holds}.")
    other.read(other.path)  # Raises an error if the file is damaged.
    raise FeatureFileError(
        f"{path} and {other.path} were not written together, or one was changed since; write them "
        "again."
    )


def _find_version(part: Part, digest: str | None) -> tuple[Any, str | None] | None:
    """Content of the version of a file with a digest; None if there is none."""
    for path in filter(Path.is_file, versions(part.path)):  # Not a pipe, which would block.
        try:
            content = part.read(path)
        except Exception:  # On an incomplete file a reader may raise anything.
            continue
        if content[1] == digest:
            return content
    return None


def sidecar(path: Path) -> Path:
    """File beside `path` that holds the names and metadata."""
    return path.with_name(path.name + _SIDECAR_SUFFIX)


def write_sidecar(content: Content, path: Path, digest: str) -> None:
    """Write names and metadata to a file of their own."""
    meta = content.signed_meta(digest=digest)
    path.write_text(f'{{"meta": {meta},\n"columns": {content.names}}}', "utf-8")


def sidecar_of(path: Path) -> Part:
    """The file beside `path`, with ``meta`` and ``columns``."""
    return Part(sidecar(path), _read_sidecar, "the names of the rows and how they were made")


def read_json(path: Path) -> dict[str, Any]:
    """Object in a JSON file."""
    return dict(json.loads(path.read_text("utf-8")))


def _read_sidecar(path: Path) -> tuple[dict[str, Any], str | None]:
    content = read_json(path)
    return content, content["meta"].get("digest")
