"""Files of features: their formats by suffix.

Every format holds the same `Content`. Rows are written a few megabytes at a time, so that a
memory-mapped matrix is never all in memory, to a temporary name that takes the file's place
once it is on disk. Nothing read here is ever unpickled.
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
    """How one kind of file is written and read.

    Attributes
    ----------
    write : callable
        Takes the content and the path.
    read, read_meta : callable
        Take the path; the second reads no more than the meta.
    check : callable
        Raises if a package that writing needs is missing.
    check_size : callable
        Takes the path, the number of rows and of columns; raises if they are too many.
    is_folder : bool
    has_sidecar : bool
        Whether names and meta are in a second file beside it.
    """

    write: Callable[[Content, Path], None]
    read: Callable[[Path], Content]
    read_meta: Callable[[Path], dict[str, Any]]
    check: Callable[[], object] = bool
    check_size: Callable[[Path, int, int], None] = _any_size
    is_folder: bool = False
    has_sidecar: bool = False

    def is_there(self, path: Path) -> bool:
        """Whether `path` holds something that writing would replace."""
        if self.is_folder:
            return path.is_dir() and not is_empty(path)
        return path.exists() or (self.has_sidecar and sidecar(path).exists())


def find_format(path: Path) -> Format:
    """Format of a file by its suffix.

    Raises
    ------
    FeatureFileError
        If there is none; it lists the known ones.
    """
    suffix = path.suffix.lower()
    if suffix in _FORMATS:
        return _FORMATS[suffix]
    if not suffix or path.is_dir():
        return FOLDER
    guess = did_you_mean(suffix, _FORMATS)
    raise FeatureFileError(
        f"Suffix {suffix!r} of {path} is no format for features.{guess} Known are "
        f"{' '.join(_FORMATS)}, and a name without a suffix for a folder."
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
