"""Divide a data set into fixed parts, one for each of several machines."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from featx.errors import SpecError


class Part(NamedTuple):
    """One of `n_parts` parts of a data set, counted from 1.

    Attributes
    ----------
    number : int
        From 1 to `n_parts`.
    n_parts : int
    """

    number: int
    n_parts: int

    def __str__(self) -> str:
        return f"{self.number}/{self.n_parts}"


def parse_part(text: str) -> Part:
    """Parse a part such as ``3/64``.

    Raises
    ------
    SpecError
        If the text does not have this form, or the part does not exist.

    Examples
    --------
    >>> parse_part("3/64")
    Part(number=3, n_parts=64)
    """
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip(), re.ASCII)
    part = Part(*map(int, match.groups())) if match else Part(0, 0)
    if not 1 <= part.number <= part.n_parts:
        raise SpecError(f"part={text!r}: expected K/N with K from 1 to N, such as 3/64.")
    return part


def part_indices(names: Sequence[str], part: Part, data: Any = None) -> npt.NDArray[np.intp]:
    """Indices of the images that belong to a part.

    The part of an image depends only on the hash of its path relative to the data. So every
    machine may mount the data elsewhere, and adding or removing images does not change the parts
    of others.

    Parameters
    ----------
    names : sequence of str
        Paths of the images.
    part : Part
    data : str, path, or list of these, optional
        Source of the images. Paths are relative to its folders, and to the folders of its
        manifests. By default, and for images in memory, names are hashed unchanged.

    Returns
    -------
    ndarray of int, shape (n_images_of_the_part,)

    Examples
    --------
    >>> names = [f"photos/{i}.jpg" for i in range(9)]
    >>> [part_indices(names, Part(k, 2), "photos").tolist() for k in (1, 2)]
    [[0, 2, 3, 4, 5, 6, 7], [1, 8]]
    >>> moved = [f"/mnt/photos/{i}.jpg" for i in range(9)]
    >>> part_indices(moved, Part(2, 2), "/mnt/photos").tolist()
    [1, 8]
    """
    roots = _roots(data)
    parts = [_hash(_relative(name, roots)) % part.n_parts for name in names]
    return np.flatnonzero(np.array(parts, np.intp) == part.number - 1)


def _roots(data: Any) -> list[str]:
    """Folders that paths are relative to, the innermost first."""
    sources = data if isinstance(data, list | tuple) else [data]
    paths = [os.path.normpath(item) for item in sources if isinstance(item, str | os.PathLike)]
    folders = {os.path.dirname(path) if os.path.isfile(path) else path for path in paths}
    return sorted((os.path.join(folder, "") for folder in folders), key=len, reverse=True)


def _relative(name: str, roots: list[str]) -> str:
    """Path relative to the first of `roots` that contains it."""
    path = os.path.normpath(name)
    root = next((root for root in roots if path.startswith(root)), "")
    return path[len(root) :].replace(os.sep, "/")


def _hash(text: str) -> int:
    digest = blake2b(os.fsencode(text), digest_size=8).digest()
    return int.from_bytes(digest, "big")
