"""SIFT: key points of a picture under wider and wider Gaussians, and their descriptors.

Steps and constants are OpenCV's, and so are points and values, but for roundings.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from featx._imports import load_opencv
from featx.extractors.bovw.sift_descriptors import describe, read_gradients
from featx.extractors.bovw.sift_points import (
    N_SCALES,
    SIGMA,
    Floats,
    find_angles,
    find_extrema,
)

_SIGMA_OF_IMAGE = 0.5
"""Of the blur that a camera is taken to have left, in pixels."""

_KEPT_VALUES = 1 << 24
"""Largest array that a thread keeps for the next picture: fresh memory is dear."""


def find(gray: npt.NDArray[np.uint8]) -> tuple[Floats, npt.NDArray[np.uint8]]:
    """Key points of a picture and their descriptors [1]_.

    Parameters
    ----------
    gray : ndarray of shape (h, w), uint8

    Returns
    -------
    points : ndarray of shape (k, 4), float32
        x, y and sigma in pixels; the angle in radians, from the right by way of the top. From
        the finest to the coarsest octave, row by row; a place with several angles is a point
        for each.
    values : ndarray of shape (k, 128), uint8
        See `featx.extractors.bovw.sift_descriptors.describe`.

    References
    ----------
    .. [1] Lowe, "Distinctive Image Features from Scale-Invariant Keypoints", IJCV 60 (2004)
       91-110.

    Examples
    --------
    >>> points, values = find(np.zeros((64, 64), np.uint8))
    >>> points.shape, values.shape
    ((0, 4), (0, 128))
    """
    found = [(np.empty((0, 4), np.float32), np.empty((0, 128), np.uint8))]
    for octave, maps in enumerate(_scale_space(gray)):
        positions = _each_once(find_extrema(maps))
        if len(positions):
            gradients = read_gradients(maps, _room.take("gradients", (2, *maps.shape)))
            points = find_angles(gradients, positions)
            px = 2.0 ** (octave - 1)  # Of the picture, in one of the octave.
            in_image = points[:, [2, 1, 3, 4]] * np.array([px, px, px, 1], np.float32)
            found.append((in_image, describe(gradients, points)))
    points, values = zip(*found)
    return np.concatenate(points), np.concatenate(values)


def _scale_space(gray: npt.NDArray[np.uint8]) -> Iterator[Floats]:
    """A picture under wider and wider Gaussians, from twice its size downwards.

    Parameters
    ----------
    gray : ndarray of shape (h, w), uint8

    Yields
    ------
    ndarray of shape (6, h_octave, w_octave), float32
        Sigma grows by the third root of 2 from one map to the next, and each octave has half
        the side of the one before, whose memory it takes.
    """
    cv2 = load_opencv()
    height, width = (2 * side for side in gray.shape)
    ratio = 2 ** (1 / N_SCALES)
    below = _room.take("below", (height, width))
    cv2.resize(gray.astype(np.float32), (width, height), dst=below)
    cv2.GaussianBlur(below, (0, 0), math.sqrt(SIGMA**2 - (2 * _SIGMA_OF_IMAGE) ** 2), dst=below)
    for _ in range(round(math.log2(min(height, width)) - 2) + 1):
        maps = _room.take("maps", (N_SCALES + 3, height, width))
        maps[0] = below
        for scale in range(1, len(maps)):
            sigma = SIGMA * ratio ** (scale - 1) * math.sqrt(ratio**2 - 1)
            cv2.GaussianBlur(maps[scale - 1], (0, 0), sigma, dst=maps[scale])
        yield maps
        height, width = height // 2, width // 2
        below = maps[N_SCALES, : 2 * height : 2, : 2 * width : 2].copy()


def _each_once(positions: Floats) -> Floats:
    """Without those that two neighbours were refined to."""
    _, first = np.unique(positions, axis=0, return_index=True)
    kept: Floats = positions[np.sort(first)]
    return kept


class _Room(threading.local):
    """Memory that a thread uses again for each picture."""

    def __init__(self) -> None:
        self.kept: dict[str, Floats] = {}

    def take(self, name: str, shape: tuple[int, ...]) -> Floats:
        """An array of any content."""
        size = math.prod(shape)
        if size > _KEPT_VALUES:
            return np.empty(shape, np.float32)
        if name not in self.kept or self.kept[name].size < size:
            self.kept[name] = np.empty(size, np.float32)
        return self.kept[name][:size].reshape(shape)


_room = _Room()
