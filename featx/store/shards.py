"""Rows on disk: the files of the store, written by workers and mapped into memory to read.

A shard is one C-contiguous array saved with joblib. It comes into being under a temporary
name and is renamed when every byte is on disk, so that a file with a shard's name is whole.

A joblib file is a pickle around the bytes of the array. `joblib.load` opens it anywhere, but it
is never unpickled here, for a pickle from somebody else may run code: where the bytes are is
noted when they are written, and they are mapped from there.

After the pickle, where no reader of pickles looks, a shard says as JSON which images and settings
its rows are of, so that a lost index can be made anew (`describe`).
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
"""Packages that may have made the numbers: name of the module -> of the distribution."""

_FILE = re.compile(rf"{SHARD_FOLDER}/[\w.-]+{re.escape(SHARD_SUFFIX)}", re.ASCII)
"""A plain name in the folder of shards."""

_NAME = re.compile(
    rf"[0-9a-f]{{32}}\.\w{{8}}-\d+-\w{{12}}{re.escape(SHARD_SUFFIX)}({re.escape(TEMPORARY_SUFFIX)})?",
    re.ASCII,
)
"""Name that a writer gives, as `_new_name` does; others' files in the folder stay."""

_DTYPES = frozenset(
    np.dtype(code).newbyteorder(order).str
    for code in ("?", *np.typecodes["AllInteger"], *np.typecodes["Float"])
    for order in "<>"
)
"""Types of value that a shard may hold: plain numbers."""

_Bytes: TypeAlias = bytes | memoryview

_DESCRIBED = b"featx-01"
"""The end of a shard that says what it holds; before it the size and CRC-32 of what it says."""

_SIZES = struct.Struct("<QQ")

_ALIGNMENT = 16
"""Bytes to a multiple of which joblib aligns an array in its file."""

_MAX_BYTES = 2**48
_MAX_HEADER_BYTES = 4096
_PADDING = b"\xff"
_STOP = b"."
"""The pickle's last opcode, all that follows the array."""

_UNCOMMITTED_S = 60.0
"""Age up to which a file may await its commit though its writer has ended."""


class ShardLayout(NamedTuple):
    """Where the rows are in a shard's file, and what the rest of the file must sum to.

    Attributes
    ----------
    dtype : str
        NumPy's name of the value type, with the byte order.
    n_rows, width : int
        Shape of the array.
    offset : int
        Bytes before the array.
    n_bytes : int
        Size of the file.
    container_crc : int
        CRC-32 of this layout and of the bytes before the array, and of the one after it.
    """

    dtype: str
    n_rows: int
    width: int
    offset: int
    n_bytes: int
    container_crc: int

    @property
    def stop(self) -> int:
        """Where the array's bytes end in the file."""
        return self.offset + self.n_rows * self.width * np.dtype(self.dtype).itemsize


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
        The images, one for each row.
    starts, stops : tuple of int
        Where each image's rows begin and end in the array.
    crcs : tuple of int
        CRC-32 of each image's digest and bytes.
    layout : ShardLayout
        Where the rows are in the file.
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
    """Rows in a new file of the store, complete and on disk, but not yet in its index.

    Touches no database: workers in any thread, process or machine may call it at once.

    Parameters
    ----------
    folder : Path
        The store's folder.
    fingerprint : str
        Of the settings that made the rows.
    digests : sequence of str
        The images, one for each row.
    rows : ndarray of shape (n, d), or sequence of n arrays of shape (k_i, w)
        One row for each image, or several under the same type and width.
    producer : mapping, optional
        What else made the numbers (a device, a batch size), to be recorded with them; the
        versions of packages, too, unless it names them for rows that are copied.
    settings : mapping, optional
        What the fingerprint was taken of, to be recorded in the file.

    Returns
    -------
    Shard
        What `FeatureStore.commit` takes.

    Raises
    ------
    ValueError
        If there is not one row for each digest, or the rows are not of plain numbers.
    StoreError
        If the disk is full or the folder cannot be written; no file is left behind.
    """
    lengths = [1] * len(rows) if isinstance(rows, np.ndarray) else [len(row) for row in rows]
    if len(lengths) != len(digests):
        raise ValueError(f"Expected a row for each of {len(digests)} digests; got {len(lengths)}.")
    array = np.ascontiguousarray(rows if isinstance(rows, np.ndarray) else np.concatenate(rows))
    if array.dtype.str not in _DTYPES:
        raise ValueError(f"Expected rows of plain numbers; got values of type {array.dtype}.")
    stops = np.cumsum(lengths).tolist()
    starts = [0, *stops[:-1]]
    file = f"{SHARD_FOLDER}/{_new_name(fingerprint)}"
    held: dict[str, Any] = {
        "fingerprint": fingerprint,
        "digests": tuple(digests),
        "starts": tuple(starts),
        "stops": tuple(stops),
        "crcs": tuple(map(row_crc, digests, (array[a:b] for a, b in zip(starts, stops)))),
        "producer": {**({} if "featx" in (producer or {}) else _versions()), **(producer or {})},
    }
    description = held | {"settings": plain_settings(settings or {})}
    with store_errors(folder):
        layout = _publish(array, description, folder / file)
    return Shard(file=file, layout=layout, **held)


@contextmanager
def reachable_mark(folder: Path | None) -> Iterator[str | None]:
    """Name of a file in a store's folder by which workers know that they reach this very folder.

    The file is there for the ``with`` block. Without a folder there is none.
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
    """Whether a store's folder is the one that was marked, and not one of the same name elsewhere.

    Without a mark it is: it was not left for another process.
    """
    return folder is None or mark is None or (folder / mark).exists()


def describe(folder: Path, file: str) -> tuple[Shard, dict[str, Any]] | None:
    """What a shard says that it holds; None if it is damaged or was written by an older featx.

    Parameters
    ----------
    folder : Path
        The store's folder.
    file : str
        As of `Shard`.

    Returns
    -------
    shard : Shard
        As `write_shard` gave it.
    settings : dict
        What the fingerprint was taken of, arrays told by type and shape.
    """
    try:
        with open(folder / file, "rb", buffering=0, opener=_open_file) as opened:
            n_bytes = os.fstat(opened.fileno()).st_size
            content = np.memmap(opened, np.uint8, "r", shape=(n_bytes,))
        end = n_bytes - len(_DESCRIBED) - _SIZES.size
        if content[end + _SIZES.size :].tobytes() != _DESCRIBED:
            return None
        size, crc = _SIZES.unpack(content[end : end + _SIZES.size].tobytes())
        if size > end or zlib.crc32(content[end - size : end].data) != crc:
            return None
        return _described(file, content, json.loads(content[end - size : end].tobytes()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _described(
    file: str, content: npt.NDArray[np.uint8], held: dict[str, Any]
) -> tuple[Shard, dict[str, Any]] | None:
    """A description as a shard, if its values could be those of one: they may be anything."""
    settings, sizes = held.pop("settings"), held.pop("layout")
    layout = ShardLayout._make([*sizes, len(content), 0])
    if not is_sound(file, *layout) or not Path(file).name.startswith(f"{held['fingerprint']}."):
        return None
    layout = layout._replace(container_crc=_container_crc(content, layout))
    shard = Shard(file=file, layout=layout, **{k: _frozen(v) for k, v in held.items()})
    columns = (shard.digests, shard.starts, shard.stops, shard.crcs)
    is_plain = isinstance(settings, dict) and isinstance(shard.producer, dict)
    numbers = (*shard.starts, *shard.stops, *shard.crcs)
    if not is_plain or len(set(map(len, columns))) > 1 or not all(map(_is_size, numbers)):
        return None
    for digest in shard.digests:
        bytes.fromhex(digest)
    return shard, settings


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def plain_settings(settings: Mapping[str, Any]) -> Any:
    """Settings as JSON has them, arrays told by type and shape."""
    return to_plain(settings, array=lambda it: f"{it.dtype}{list(it.shape)}", allow_nan=False)


def open_shard(folder: Path, file: str, layout: ShardLayout) -> npt.NDArray[Any] | None:
    """A shard's rows mapped into memory, read-only; None if the file is gone or damaged.

    Nothing in the file is interpreted. What is not rows must have the recorded checksum.

    Parameters
    ----------
    folder : Path
        The store's folder.
    file : str
        As of `Shard`.
    layout : ShardLayout
        As of `Shard`.

    Returns
    -------
    ndarray of shape (n_rows, width), or None
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
    """Whether values of an index, which may be anything, could be those of a shard.

    Parameters
    ----------
    file : object
        A plain name in the folder of shards, if they are.
    *layout : object
        Values of a `ShardLayout`, whose rows lie within the file, if they are.

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
    """Whether a file in the folder of shards was written by `write_shard`, whole or in part.

    Examples
    --------
    >>> is_shard_name("classifier.joblib")
    False
    """
    return _NAME.fullmatch(name) is not None


def row_crc(digest: str, row: npt.NDArray[Any]) -> int:
    """CRC-32 of an image's rows, begun with its digest so that no row passes for another's."""
    return int(zlib_ng.crc32(row.data, zlib.crc32(digest.encode())))


def is_orphan(path: Path, now: float | None = None) -> bool:
    """Whether a file that is in no index will never be committed.

    True an hour after it was written, or a minute after if its writer ended on this machine.
    """
    return is_abandoned(path, grace_s=_UNCOMMITTED_S, now=now)


def _publish(array: npt.NDArray[Any], description: Mapping[str, Any], path: Path) -> ShardLayout:
    """Save an array and what it is in a new file, whole or not at all; where it is in it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A name that says who writes, so that what a killed process left is found to be abandoned.
    part = path.with_name(path.name + TEMPORARY_SUFFIX)
    with atomic_write(path, temporary=part), part.open("x+b") as file:
        joblib.dump(array, file)
        return _layout(array, description, file)


def _layout(
    array: npt.NDArray[Any], description: Mapping[str, Any], file: IO[bytes]
) -> ShardLayout:
    """Where joblib has put an array in the file that it has just written, now described.

    joblib writes the pickle of a wrapper, one byte with the length of the padding, the padding,
    the array's bytes and the pickle's last opcode.
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
    described = n_bytes + _append(file, description, (array.dtype.str, n_rows, width, offset))
    layout = ShardLayout(array.dtype.str, n_rows, width, offset, described, container_crc=0)
    return layout._replace(container_crc=_crc_of_parts(layout, header, trailer))


def _append(file: IO[bytes], description: Mapping[str, Any], layout: Sequence[Any]) -> int:
    """Write what a shard holds to its end, where `describe` looks; number of bytes."""
    said = json.dumps({**description, "layout": layout}).encode()
    return file.write(said + _SIZES.pack(len(said), zlib.crc32(said)) + _DESCRIBED)


def _container_crc(content: npt.NDArray[np.uint8], layout: ShardLayout) -> int:
    trailer = content[layout.stop : layout.stop + len(_STOP)]
    return _crc_of_parts(layout, content[: layout.offset].data, trailer.data)


def _crc_of_parts(layout: ShardLayout, header: _Bytes, trailer: _Bytes) -> int:
    """CRC-32 of a shard but its rows, begun with the layout so that no row has another type."""
    begun = zlib.crc32(repr(layout[:-1]).encode())
    return zlib.crc32(trailer, zlib.crc32(header, begun))


def _map(path: Path, n_bytes: int) -> npt.NDArray[np.uint8] | None:
    """Content of a file of a size, mapped into memory; None if it is not such a file."""
    with open(path, "rb", buffering=0, opener=_open_file) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size != n_bytes:
            return None
        return np.memmap(file, np.uint8, "r", shape=(n_bytes,))


def _open_file(path: str, flags: int) -> int:
    """Open a file; neither follow a link, nor wait at a pipe for somebody to write."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value <= _MAX_BYTES


def _new_name(fingerprint: str) -> str:
    """Name that no other writer takes, and that says who writes."""
    return f"{fingerprint}.{writer_mark()}{SHARD_SUFFIX}"


def _versions() -> dict[str, str]:
    """Machine and packages that may have made the numbers; no row is found by them."""
    loaded = {name: sys.modules[name] for name in PRODUCERS if name in sys.modules}
    versions = {name: str(getattr(it, "__version__", "")) for name, it in loaded.items()}
    return {"featx": featx.__version__, "machine": platform.machine(), **versions}
