"""Formats of feature files, by suffix.

All formats hold the same `Content`. Rows are written in chunks of a few megabytes, so that a
memory-mapped matrix is never completely in memory, and to a temporary file that replaces the target
once it is on disk. Nothing is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx._files import is_empty
from featx.errors import FeatureFileError, did_you_mean
from featx.features.formats import array_folder, arrays, matlab, tables
from featx.features.formats.content import Content, sidecar


def _any_size(path: Path, n_rows: int, n_columns: int) -> None:
    """Refuse nothing."""


@dataclass(frozen=True)
class Format:
    """Functions to write and read one format.

    Attributes
    ----------
    write : callable
        Takes the content and the path.
    read, read_meta : callable
        Take the path; `read_meta` reads only the metadata.
    check : callable
        Raises an error if a package for writing is missing.
    check_size : callable
        Takes the path and the numbers of rows and columns; raises an error if they are too large.
    is_folder : bool
        Whether the format is a folder.
    has_sidecar : bool
        Whether names and metadata are in a second file beside it.
    """

    write: Callable[[Content, Path], None]
    read: Callable[[Path], Content]
    read_meta: Callable[[Path], dict[str, Any]]
    check: Callable[[], object] = bool
    check_size: Callable[[Path, int, int], None] = _any_size
    is_folder: bool = False
    has_sidecar: bool = False

    def exists(self, path: Path) -> bool:
        """Whether writing to `path` would replace existing files."""
        if self.is_folder:
            return path.is_dir() and not is_empty(path)
        return path.exists() or (self.has_sidecar and sidecar(path).exists())


def find_format(path: Path) -> Format:
    """Format of a file, by its suffix.

    Raises
    ------
    FeatureFileError
        If the suffix is unknown; the message lists the known ones.
    """
    suffix = path.suffix.lower()
    if suffix in _FORMATS:
        return _FORMATS[suffix]
    if not suffix or path.is_dir():
        return FOLDER
    suggestion = did_you_mean(suffix, _FORMATS)
    raise FeatureFileError(
        f"Suffix {suffix!r} of {path} is not a format for features.{suggestion} Expected one of "
        f"{' '.join(_FORMATS)}, or a name without a suffix for a folder."
    )


_FORMATS = {
    ".npz": Format(arrays.write_npz, arrays.read_npz, arrays.read_npz_meta),
    ".npy": Format(arrays.write_npy, arrays.read_npy, arrays.read_npy_meta, has_sidecar=True),
    ".parquet": Format(tables.write_parquet, tables.read_parquet, tables.read_parquet_meta),
    ".h5": Format(
        tables.write_hdf5, tables.read_hdf5, tables.read_hdf5_meta, check=tables.require_h5py
    ),
    ".csv": Format(
        tables.write_csv,
        tables.read_csv,
        tables.read_csv_meta,
        check_size=tables.check_csv_size,
        has_sidecar=True,
    ),
    ".safetensors": Format(
        arrays.write_safetensors, arrays.read_safetensors, arrays.read_safetensors_meta
    ),
    ".mat": Format(
        matlab.write_mat, matlab.read_mat, matlab.read_mat_meta, check_size=matlab.check_mat_size
    ),
}
FOLDER = Format(
    array_folder.write_folder,
    array_folder.read_folder,
    array_folder.read_folder_meta,
    is_folder=True,
)
