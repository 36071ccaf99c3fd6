"""Short, stable digests of settings, fitted state and weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence, Set
from pathlib import PurePath
from typing import Any

import numpy as np

DIGEST_BYTES = 16


def fingerprint(value: Any) -> str:
    """Digest of a nested structure of plain values and arrays.

    Equal structures give equal digests in every process and on every machine: mappings and sets
    are hashed in sorted order, arrays by type, shape and bytes, numbers by type and value.

    Parameters
    ----------
    value : None, bool, int, float, str, bytes, path, array, or mapping, sequence or set of these
        Value to hash.

    Returns
    -------
    str
        32 hexadecimal characters.

    Raises
    ------
    TypeError
        If the structure contains anything else. A digest that silently ignored a part of it would
        return the stored features of other settings.

    Examples
    --------
    >>> fingerprint({"a": 1, "b": [2.0, "x"]}) == fingerprint({"b": [2.0, "x"], "a": 1})
    True
    >>> fingerprint({"a": 1}) == fingerprint({"a": True})
    False
    """
    hasher = hashlib.blake2b(digest_size=DIGEST_BYTES)
    _feed(hasher, value)
    return hasher.hexdigest()


def digest_bytes(data: bytes | memoryview) -> str:
    """Digest of bytes: 32 hexadecimal characters.

    Examples
    --------
    >>> len(digest_bytes(b"image"))
    32
    """
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def _feed(hasher: hashlib.blake2b, value: Any) -> None:
    """Update `hasher` with a value, every part of it preceded by its type and length."""
    if isinstance(value, np.ndarray):
        _feed_array(hasher, value)
    elif isinstance(value, np.generic):
        _feed(hasher, value.item())
    elif isinstance(value, bytes):
        _mark(hasher, f"bytes:{len(value)}")
        hasher.update(value)
    elif isinstance(value, PurePath):
        _mark(hasher, f"path:{json.dumps(value.as_posix())}")
    elif isinstance(value, Mapping):
        _mark(hasher, f"map:{len(value)}")
        for key in sorted(value, key=str):
            _feed(hasher, key)
            _feed(hasher, value[key])
    elif isinstance(value, Set):
        _feed(hasher, sorted(map(fingerprint, value)))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        _mark(hasher, f"seq:{len(value)}")
        for item in value:
            _feed(hasher, item)
    elif value is None or isinstance(value, bool | int | float | str):
        _mark(hasher, f"{type(value).__name__}:{json.dumps(value)}")
    else:
        raise TypeError(
            f"Cannot take a fingerprint of {type(value).__name__}; "
            "expected plain values, arrays, or nested containers of them."
        )


def _feed_array(hasher: hashlib.blake2b, array: np.ndarray) -> None:
    """Update `hasher` with an array: type, shape, and bytes in C order."""
    if array.dtype.hasobject:
        _feed(hasher, array.tolist())
        return
    _mark(hasher, f"array:{array.dtype.str}:{array.shape}")
    hasher.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def _mark(hasher: hashlib.blake2b, text: str) -> None:
    hasher.update(text.encode() + b"\n")
