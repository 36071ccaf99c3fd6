"""Rows on disk: the files of the store, written by workers and mapped into memory to read.

A shard is one C-contiguous array saved with joblib. It comes into being under a temporary
name and is renamed when every byte is on disk, so that a file with a shard's name is whole.
"""

from __future__ import annotations

import os
import platform
import secrets
import sys
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
from zlib_ng import zlib_ng

import featx
from featx._files import atomic_write
from featx.store.private_folder import store_errors

SHARD_FOLDER = "shards"
SHARD_SUFFIX = ".joblib"
TEMPORARY_SUFFIX = ".tmp"
PRODUCERS = {
    "numpy": "numpy",
    "sklearn": "scikit-learn",
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "simplejpeg": "simplejpeg",
    "torch": "torch",
    "torchvision": "torchvision",
    "timm": "timm",
    "openvino": "openvino",
}
"""Packages that may have made the numbers: name of the module -> of the distribution."""

_ABANDONED_S = 3600.0
"""Age at which an uncommitted file is nobody's, whatever its writer does."""

_UNCOMMITTED_S = 60.0
"""Age up to which a file may await its commit though its writer has ended."""


@dataclass(frozen=True)
class Shard:
    """A file of rows that a worker has written, for the parent to commit to the index.

    Attributes
    ----------
    fingerprint : str
        Of the settings that made the rows.
    file : str
        Path relative to the store's folder.
    digests : tuple of str
        The pictures, one for each row.
    starts, stops : tuple of int
        Where each picture's rows begin and end in the array.
    crcs : tuple of int
        CRC-32 of each picture's digest and bytes.
    dtype : str
        NumPy's name of the value type.
    width : int
        Columns.
    n_bytes : int
        Size of the file.
    producer : mapping
        What made the numbers but does not decide what they are found by: versions of featx
        and other packages, the machine, parameters of speed.
    """

    fingerprint: str
    file: str
    digests: tuple[str, ...]
    starts: tuple[int, ...]
    stops: tuple[int, ...]
    crcs: tuple[int, ...]
    dtype: str
    width: int
    n_bytes: int
    producer: Mapping[str, str]


def write_shard(
    folder: Path,
    fingerprint: str,
    digests: Sequence[str],
    rows: npt.NDArray[Any] | Sequence[npt.NDArray[Any]],
    producer: Mapping[str, str] | None = None,
) -> Shard:
    """Rows in a new file of the store, complete and on disk, but not yet in its index.

    Touches no database: workers in any thread, process or machine may call it at once.

    Parameters
    ----------
    folder : Path
        The store's folder.
    fingerprint : str
        Of the settings that made the rows.
    digests : sequence of str
        The pictures, one for each row.
    rows : ndarray of shape (n, d), or sequence of n arrays of shape (k_i, w)
        One row for each picture, or several under the same type and width.
    producer : mapping, optional
        What else made the numbers (a device, a batch size), to be recorded with them.

    Returns
    -------
    Shard
        What `FeatureStore.commit` takes.

    Raises
    ------
    StoreError
        If the disk is full or the folder cannot be written; no file is left behind.
    """
    lengths = [1] * len(rows) if isinstance(rows, np.ndarray) else [len(row) for row in rows]
    if len(lengths) != len(digests):
        raise ValueError(f"Wanted one row for each of {len(digests)} digests; got {len(lengths)}.")
    array = np.ascontiguousarray(rows if isinstance(rows, np.ndarray) else np.concatenate(rows))
    stops = np.cumsum(lengths).tolist()
    starts = [0, *stops[:-1]]
    file = f"{SHARD_FOLDER}/{_new_name(fingerprint)}"
    with store_errors(folder):
        n_bytes = _publish(array, folder / file)
    return Shard(
        fingerprint=fingerprint,
        file=file,
        digests=tuple(digests),
        starts=tuple(starts),
        stops=tuple(stops),
        crcs=tuple(map(row_crc, digests, (array[a:b] for a, b in zip(starts, stops)))),
        dtype=array.dtype.str,
        width=array.shape[1],
        n_bytes=n_bytes,
        producer=_versions() | dict(producer or {}),
    )


def open_shard(path: Path, dtype: str, width: int) -> npt.NDArray[Any] | None:
    """A shard's array mapped into memory, read-only; None if the file is gone or damaged."""
    try:
        array = joblib.load(path, mmap_mode="r")
    except Exception:  # A damaged pickle may raise anything; its rows are computed anew.
        return None
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.shape[1] != width:
        return None
    return array.view(np.ndarray) if array.dtype.str == dtype else None


def row_crc(digest: str, row: npt.NDArray[Any]) -> int:
    """CRC-32 of a picture's rows, begun with its digest so that no row passes for another's."""
    return int(zlib_ng.crc32(row.data, zlib.crc32(digest.encode())))


def is_abandoned(path: Path, now: float | None = None) -> bool:
    """Whether a file that is in no index will never be committed.

    True an hour after it was written, or a minute after if its writer ended on this machine.
    """
    try:
        age_s = (now or time.time()) - path.stat().st_mtime
    except FileNotFoundError:
        return False
    return age_s > _ABANDONED_S or (age_s > _UNCOMMITTED_S and _is_writer_dead(path.name))


def _publish(array: npt.NDArray[Any], path: Path) -> int:
    """Save an array in a new file, whole or not at all; size of the file."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A name that says who writes, so that what a killed process left is found to be abandoned.
    part = path.with_name(path.name + TEMPORARY_SUFFIX)
    with atomic_write(path, temporary=part), part.open("xb") as file:
        joblib.dump(array, file)
        return file.tell()


def _new_name(fingerprint: str) -> str:
    """Name that no other writer takes, and that says who writes."""
    return f"{fingerprint}.{_machine()}-{os.getpid()}-{secrets.token_hex(6)}{SHARD_SUFFIX}"


def _is_writer_dead(name: str) -> bool:
    """Whether the process that a file's name speaks of has ended on this machine."""
    machine, pid, *_ = [*name.partition(".")[2].split("-"), "", ""]
    if os.name == "nt" or machine != _machine() or not pid.isdigit():
        return False  # Windows has no signal 0: asking would end the process.
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _machine() -> str:
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _versions() -> dict[str, str]:
    """Machine and packages that may have made the numbers; no row is found by them."""
    loaded = {name: sys.modules[name] for name in PRODUCERS if name in sys.modules}
    versions = {name: str(getattr(it, "__version__", "")) for name, it in loaded.items()}
    return {"featx": featx.__version__, "machine": platform.machine(), **versions}
