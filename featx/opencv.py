"""OpenCV, imported when it is first needed, with a word where two of its wheels clash."""

from __future__ import annotations

import warnings
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from featx.errors import FeatxWarning

WHEELS = (
    "opencv-python-headless",
    "opencv-python",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
"""Distributions that all write the same folder ``cv2``."""


@lru_cache(maxsize=1)
def load_opencv() -> Any:
    """Module ``cv2``.

    Warns
    -----
    FeatxWarning
        If several of OpenCV's wheels are installed in different versions: the one installed
        last has overwritten files of the other.

    Examples
    --------
    >>> hasattr(load_opencv(), "SIFT_create")
    True
    """
    found = {name: number for name in WHEELS if (number := _version(name)) is not None}
    if len(set(found.values())) > 1:
        names = " and ".join(f"{name} {number}" for name, number in found.items())
        warnings.warn(
            f"{names} are both installed and overwrite each other's files; uninstall all but "
            "one, then reinstall that one.",
            FeatxWarning,
            stacklevel=2,
        )
    import cv2

    return cv2


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
