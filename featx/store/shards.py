"""Shards: the store's files of rows, written by workers and memory-mapped for reading.

A shard is one C-contiguous array saved by joblib. It is written under a temporary name and renamed
when every byte is on disk, so that a file with the name of a shard is complete.

A joblib file is a pickle around the bytes of the array. `joblib.load` can open it, but featx never
unpickles it, as a pickle from somebody else may execute code. Instead the position of the bytes is
recorded when they are written, and they are mapped from there.

After the pickle, where readers of pickles do not look, a shard describes its images and settings
in JSON, so that a lost index can be rebuilt (`describe`).
"""

from __future__ import annotations

import json
import os
import platform
import re
import stat
import struct
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeAlias

import joblib
import numpy as np
import numpy.typing as npt
from zlib_ng import zlib_ng

import featx
from featx._files import TEMPORARY_SUFFIX, atomic_write, is_abandoned, to_plain, writer_mark
from featx.store.private_folder import store_errors

SHARD_FOLDER = "shards"
SHARD_SUFFIX = ".joblib"
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
"""Packages whose version may affect features: name of the module -> name of the distribution."""

_FILE = re.compile(rf"{SHARD_FOLDER}/[\w.-]+{re.escape(SHARD_SUFFIX)}", re.ASCII)
"""Path of a shard in the index."""

_NAME = re.compile(
    rf"[0-9a-f]{{32}}\.\w{{8}}-\d+-\w{{12}}{re.escape(SHARD_SUFFIX)}({re.escape(TEMPORARY_SUFFIX)})?",
    re.ASCII,
)
"""Name given by `_new_name`, temporary or not; other files in the folder are never removed."""

_DTYPES = frozenset(
    np.dtype(code).newbyteorder(order).str
    for code in ("?", *np.typecodes["AllInteger"], *np.typecodes["Float"])
    for order in "<>"
)
"""Types of the values in a shard: numbers and booleans."""

_Bytes: TypeAlias = bytes | memoryview

_DESCRIBED = b"featx-01"
"""Last bytes of a shard with a description, preceded by the description's size and CRC-32."""

_SIZES = struct.Struct("<QQ")

_ALIGNMENT = 16
"""joblib aligns arrays in a file to a multiple of this number of bytes."""

_MAX_BYTES = 2**48
_MAX_HEADER_BYTES = 4096
_PADDING = b"\xff"
_STOP = b"."
"""The pickle's last opcode, which directly follows the array."""

_UNCOMMITTED_S = 60.0
"""Age up to which a file may still be committed after its writer has ended."""


class ShardLayout(NamedTuple):
    """Position of the rows in a shard's file, and a checksum of the bytes around them.

    Attributes
    ----------
    dtype : str
        NumPy's type string, with the byte order.
    n_rows, width : int
        Shape of the array.
    offset : int
        Number of bytes before the array.
    n_bytes : int
        Size of the file.
    container_crc : int
        CRC-32 of this layout, of the bytes before the array, and of the byte after it.
    """

    dtype: str
    n_rows: int
    width: int
    offset: int
    n_bytes: int
    container_crc: int

    @property
    def stop(self) -> int:
        """Offset of the end of the array in the file."""
        return self.offset + self.n_rows * self.width * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Shard:
    """A file of rows that a worker has written, to be committed to the index by the parent.

    Attributes
    ----------
    fingerprint : str
        Fingerprint of the settings.
    file : str
        Path relative to the store's folder.
    digests : tuple of str
        Digests of the images.
    starts, stops : tuple of int
        First row of each image, and the one after its last.
    crcs : tuple of int
        CRC-32 of each image's digest and rows.
    layout : ShardLayout
        Position of the rows in the file.
    producer : mapping
        Circumstances that are not part of the fingerprint: versions of featx and other packages,
        the machine, parameters of speed.
    """

    fingerprint: str
    file: str
    digests: tuple[str, ...]
    starts: tuple[int, ...]
    stops: tuple[int, ...]
    crcs: tuple[int, ...]
    layout: ShardLayout
    producer: Mapping[str, str]


def write_shard(
    folder: Path,
    fingerprint: str,
    digests: Sequence[str],
    rows: npt.NDArray[Any] | Sequence[npt.NDArray[Any]],
    producer: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Shard:
    """Write rows to a new file of the store and sync it, without entering it into the index.

    The database is not used: workers in any thread, process or machine may call this concurrently.

    Parameters
    ----------
    folder : Path
        The store's folder.
    fingerprint : str
        Fingerprint of the settings.
    digests : sequence of str
        Digests of the images.
    rows : ndarray of shape (n, d), or sequence of n arrays of shape (k_i, w)
        One row per image, or several, all of the same type and width.
    producer : mapping, optional
        Circumstances to record, such as the device and the batch size. The versions of packages
        are added, unless they are included, as for copied rows.
    settings : mapping, optional
        The settings behind the fingerprint, to be recorded in the file.

    Returns
    -------
    Shard
        To be passed to `FeatureStore.commit`.

    Raises
    ------
    ValueError
        If the number of rows is not that of the digests, or the rows do not contain numbers.
    StoreError
        If the disk is full or the folder cannot be written; no file is left behind.
    """
    lengths = [1] * len(rows) if isinstance(rows, np.ndarray) else [len(row) for row in rows]
    if len(lengths) != len(digests):
        raise ValueError(f"Expected rows of {len(digests)} images; got those of {len(lengths)}.")
    array = np.ascontiguousarray(rows if isinstance(rows, np.ndarray) else np.concatenate(rows))
    if array.dtype.str not in _DTYPES:
        raise ValueError(f"Expected rows of numbers; got values of type {array.dtype}.")
    stops = np.cumsum(lengths).tolist()
    starts = [0, *stops[:-1]]
    file = f"{SHARD_FOLDER}/{_new_name(fingerprint)}"
    attributes: dict[str, Any] = {
        "fingerprint": fingerprint,
        "digests": tuple(digests),
        "starts": tuple(starts),
        "stops": tuple(stops),
        "crcs": tuple(map(row_crc, digests, (array[a:b] for a, b in zip(starts, stops)))),
        "producer": {**({} if "featx" in (producer or {}) else _versions()), **(producer or {})},
    }
    description = attributes | {"settings": plain_settings(settings or {})}
    with store_errors(folder):
        layout = _write_array(array, description, folder / file)
    return Shard(file=file, layout=layout, **attributes)


@contextmanager
def reachable_mark(folder: Path | None) -> Iterator[str | None]:
    """Context with a temporary file by which workers recognize that they reach a store's folder.

    Yields
    ------
    str or None
        Name of the file relative to the folder; None without a folder.
    """
    if folder is None:
        yield None
        return
    mark = f"{SHARD_FOLDER}/{_new_name('0' * 32)}{TEMPORARY_SUFFIX}"
    with store_errors(folder):
        (folder / SHARD_FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / mark).touch(mode=0o600)
    try:
        yield mark
    finally:
        (folder / mark).unlink(missing_ok=True)


def is_reachable(folder: Path | None, mark: str | None) -> bool:
    """Whether a store's folder contains the mark, and is not a folder of the same name elsewhere.

    Also True without a mark, as then no other machine is involved.
    """
    return folder is None or mark is None or (folder / mark).exists()


def describe(folder: Path, file: str) -> tuple[Shard, dict[str, Any]] | None:
    """Read a shard's description of itself.

    Parameters
    ----------
    folder : Path
        The store's folder.
    file : str
        Path relative to the store's folder.

    Returns
    -------
    (Shard, dict) or None
        The shard as returned by `write_shard`, and the settings behind the fingerprint, in which
        arrays are replaced by their type and shape. None if the file is damaged, or an older featx
        wrote it without a description.
    """
    try:
        with open(folder / file, "rb", buffering=0, opener=_open_file) as stream:
            n_bytes = os.fstat(stream.fileno()).st_size
            content = np.memmap(stream, np.uint8, "r", shape=(n_bytes,))
        end = n_bytes - len(_DESCRIBED) - _SIZES.size
        if content[end + _SIZES.size :].tobytes() != _DESCRIBED:
            return None
        size, crc = _SIZES.unpack(content[end : end + _SIZES.size].tobytes())
        if size > end or zlib.crc32(content[end - size : end].data) != crc:
            return None
        return _parse(file, content, json.loads(content[end - size : end].tobytes()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _parse(
    file: str, content: npt.NDArray[np.uint8], description: dict[str, Any]
) -> tuple[Shard, dict[str, Any]] | None:
    """Convert a description, whose values may be anything, to a shard; None if it is invalid."""
    settings, sizes = description.pop("settings"), description.pop("layout")
    layout = ShardLayout._make([*sizes, len(content), 0])
    prefix = f"{description['fingerprint']}."
    if not is_sound(file, *layout) or not Path(file).name.startswith(prefix):
        return None
    layout = layout._replace(container_crc=_container_crc(content, layout))
    shard = Shard(file=file, layout=layout, **{k: _frozen(v) for k, v in description.items()})
    columns = (shard.digests, shard.starts, shard.stops, shard.crcs)
    has_dicts = isinstance(settings, dict) and isinstance(shard.producer, dict)
    numbers = (*shard.starts, *shard.stops, *shard.crcs)
    if not has_dicts or len(set(map(len, columns))) > 1 or not all(map(_is_size, numbers)):
        return None
    for digest in shard.digests:
        bytes.fromhex(digest)
    return shard, settings


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def plain_settings(settings: Mapping[str, Any]) -> Any:
    """Settings as JSON types; arrays are replaced by their type and shape."""
    return to_plain(
        settings, array=lambda array: f"{array.dtype}{list(array.shape)}", allow_nan=False
    )


def open_shard(folder: Path, file: str, layout: ShardLayout) -> npt.NDArray[Any] | None:
    """Memory-map a shard's rows, read-only.

    Nothing in the file is interpreted. The bytes around the rows must match their checksum.

    Parameters
    ----------
    folder : Path
        The store's folder.
    file : str
        Path relative to the store's folder.
    layout : ShardLayout

    Returns
    -------
    ndarray of shape (n_rows, width), or None
        None if the file is missing or damaged.
    """
    if not is_sound(file, *layout):
        return None
    try:
        content = _map(folder / file, layout.n_bytes)
    except OSError:
        return None
    if content is None or _container_crc(content, layout) != layout.container_crc:
        return None
    rows = content[layout.offset : layout.stop].view(layout.dtype)
    return rows.reshape(layout.n_rows, layout.width).view(np.ndarray)


def is_sound(file: Any, *layout: Any) -> bool:
    """Whether values of an index or a description, which may be damaged, are those of a shard.

    Parameters
    ----------
    file : object
        Valid if it is the name of a file in the folder of shards.
    *layout : object
        Valid if they are values of a `ShardLayout` whose rows lie within the file.

    Examples
    --------
    >>> is_sound("shards/a.joblib", "<f4", 3, 2, 240, 265, 0)
    True
    >>> is_sound("../a.joblib", "<f4", 3, 2, 240, 265, 0)
    False
    """
    if not isinstance(file, str) or _FILE.fullmatch(file) is None:
        return False
    dtype, *numbers = layout
    if dtype not in _DTYPES or not all(map(_is_size, numbers)):
        return False
    shard = ShardLayout(*layout)
    is_aligned = shard.offset % _ALIGNMENT == 0 and shard.offset <= _MAX_HEADER_BYTES
    return is_aligned and shard.stop + len(_STOP) <= shard.n_bytes


def is_shard_name(name: str) -> bool:
    """Whether a file in the folder of shards was written by `write_shard`, completely or not.

    Examples
    --------
    >>> is_shard_name("classifier.joblib")
    False
    """
    return _NAME.fullmatch(name) is not None


def row_crc(digest: str, row: npt.NDArray[Any]) -> int:
    """CRC-32 of an image's digest and rows; with the digest, no row passes for another image's."""
    return int(zlib_ng.crc32(row.data, zlib.crc32(digest.encode())))


def is_orphan(path: Path, now: float | None = None) -> bool:
    """Whether a file that is not in the index will never be committed.

    True an hour after it was written, or a minute after if its writer has ended on this machine.
    """
    return is_abandoned(path, grace_s=_UNCOMMITTED_S, now=now)


def _write_array(
    array: npt.NDArray[Any], description: Mapping[str, Any], path: Path
) -> ShardLayout:
    """Write an array and its description to a new file; return the layout."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The name contains the writer's mark, by which files of killed processes are recognized.
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    with atomic_write(path, temporary=temporary), temporary.open("x+b") as file:
        joblib.dump(array, file)
        return _append_description(array, description, file)


def _append_description(
    array: npt.NDArray[Any], description: Mapping[str, Any], file: IO[bytes]
) -> ShardLayout:
    """Locate the array in the file that joblib has just written, and append the description.

    joblib writes the pickle of a wrapper, one byte with the length of the padding, the padding,
    the array's bytes, and the pickle's last opcode.
    """
    n_bytes = file.tell()
    offset = n_bytes - len(_STOP) - array.nbytes
    file.seek(0)
    header = file.read(offset)
    file.seek(offset + array.nbytes)
    trailer = file.read()
    n_padding = len(header) - len(header.rstrip(_PADDING))
    if trailer != _STOP or header[-n_padding - 1] != n_padding or offset % _ALIGNMENT:
        raise RuntimeError(f"joblib {joblib.__version__} writes arrays in an unknown layout.")
    n_rows, width = array.shape
    n_bytes += _append(file, description, (array.dtype.str, n_rows, width, offset))
    layout = ShardLayout(array.dtype.str, n_rows, width, offset, n_bytes, container_crc=0)
    return layout._replace(container_crc=_crc_of_parts(layout, header, trailer))


def _append(file: IO[bytes], description: Mapping[str, Any], layout: Sequence[Any]) -> int:
    """Write a description at the end of a shard, where `describe` reads it; number of bytes."""
    text = json.dumps({**description, "layout": layout}).encode()
    return file.write(text + _SIZES.pack(len(text), zlib.crc32(text)) + _DESCRIBED)


def _container_crc(content: npt.NDArray[np.uint8], layout: ShardLayout) -> int:
    trailer = content[layout.stop : layout.stop + len(_STOP)]
    return _crc_of_parts(layout, content[: layout.offset].data, trailer.data)


def _crc_of_parts(layout: ShardLayout, header: _Bytes, trailer: _Bytes) -> int:
    """CRC-32 of the layout and of the bytes around the rows."""
    layout_crc = zlib.crc32(repr(layout[:-1]).encode())
    return zlib.crc32(trailer, zlib.crc32(header, layout_crc))


def _map(path: Path, n_bytes: int) -> npt.NDArray[np.uint8] | None:
    """Memory-map a regular file of a given size; None if it is not one."""
    with open(path, "rb", buffering=0, opener=_open_file) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size != n_bytes:
            return None
        return np.memmap(file, np.uint8, "r", shape=(n_bytes,))


def _open_file(path: str, flags: int) -> int:
    """Open a file without following links, and without blocking on a pipe."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value <= _MAX_BYTES


def _new_name(fingerprint: str) -> str:
    """Unique name that identifies the writer."""
    return f"{fingerprint}.{writer_mark()}{SHARD_SUFFIX}"


def _versions() -> dict[str, str]:
    """Machine and versions of the loaded packages, which are not part of the fingerprint."""
    modules = {name: sys.modules[name] for name in PRODUCERS if name in sys.modules}
    versions = {name: str(getattr(it, "__version__", "")) for name, it in modules.items()}
    return {"featx": featx.__version__, "machine": platform.machine(), **versions}
