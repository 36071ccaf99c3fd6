"""SURF's descriptors: orientation and wavelet responses of squares around key points."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from featx._imports import compiled, load_opencv

Doubles = npt.NDArray[np.float64]

_N_VALUES = 64
_BORDER = 31
"""Least distance of points to the border, in half scales: a rotated square and its wavelets."""

_N_SLICES = 72
_SLICES_PER_SECTOR = 12
_DISC = np.array([(y, x) for y in range(-6, 7) for x in range(-6, 7) if y * y + x * x < 36])
_DISC_WEIGHTS = np.exp(-(_DISC**2).sum(axis=1) / (2 * 2.5**2))
_SQUARE = np.arange(-10, 10)
_SQUARE_WEIGHTS = np.exp(-(_SQUARE**2) / (2 * 3.3**2))


def keep_inner(points: Doubles, shape: tuple[int, ...]) -> Doubles:
    """Points far enough from the border to be described.

    Parameters
    ----------
    points : ndarray of shape (k, 3 or more), float64
        y and x in pixels, scale in pixels.
    shape : tuple of int
        Height and width of the image.

    Returns
    -------
    ndarray of as many columns
    """
    margins = (_BORDER * points[:, 2] / 2)[:, None]
    is_inner = (points[:, :2] >= margins) & (points[:, :2] + margins < np.array(shape))
    return points[is_inner.all(axis=1)]


def orient(gray: npt.NDArray[np.uint8], points: Doubles) -> Doubles:
    """Angle of each point: of the strongest sum of responses over a sector of 60 degrees.

    Parameters
    ----------
    gray : ndarray of shape (h, w), uint8
    points : ndarray of shape (k, 3 or more), float64
        y and x in pixels, scale in pixels; see `keep_inner`.

    Returns
    -------
    ndarray of shape (k,), float64
        Radians; the sector is turned in steps of 5 degrees.
    """
    angles = np.empty(len(points))
    _orient(_sum_area(gray), np.ascontiguousarray(points), _DISC, _DISC_WEIGHTS, angles)
    return angles


def describe(gray: npt.NDArray[np.uint8], points: Doubles, angles: Doubles) -> Doubles:
    """Descriptors of points: sums of responses, and of their sizes, in 4 x 4 subregions.

    Parameters
    ----------
    gray : ndarray of shape (h, w), uint8
    points : ndarray of shape (k, 3 or more), float64
        y and x in pixels, scale in pixels; see `keep_inner`.
    angles : ndarray of shape (k,), float64
        As `orient` gives them.

    Returns
    -------
    ndarray of shape (k, 64), float64
        Of unit length; zeros where there is no contrast at all.
    """
    values = np.zeros((len(points), _N_VALUES))
    _describe(_sum_area(gray), np.ascontiguousarray(points), angles, _SQUARE_WEIGHTS, values)
    lengths = np.sqrt((values**2).sum(axis=1, keepdims=True))
    return values / np.where(lengths > 0, lengths, 1)


def _sum_area(gray: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    return np.asarray(load_opencv().integral(gray))


@compiled()
def _orient(sums: Any, points: Any, disc: Any, weights: Any, angles: Any) -> None:
    slices = np.empty((2, _N_SLICES))
    for i in range(len(points)):
        y, x, scale = points[i, 0], points[i, 1], points[i, 2]
        # Wavelets of side 4 scales at the points of a disc of radius 6 scales, weighted by a
        # Gaussian around its center.
        half = int(4 * scale + 0.5) // 2
        slices[:] = 0
        for j in range(len(disc)):
            row = int(np.rint(y + scale * disc[j, 0]))
            column = int(np.rint(x + scale * disc[j, 1]))
            dy, dx = _respond(sums, row, column, half)
            # Sum the responses per slice of 5 degrees of their direction.
            turn = int((np.arctan2(dx, dy) / np.pi + 1) / 2 * _N_SLICES) % _N_SLICES
            slices[0, turn] += weights[j] * dy
            slices[1, turn] += weights[j] * dx
        angles[i] = _strongest_sector(slices)


@compiled()
def _strongest_sector(slices: Any) -> float:
    """Angle of the longest sum over neighboring slices."""
    longest = angle = 0.0
    for start in range(_N_SLICES):
        y = x = 0.0
        # A sector is 12 neighboring slices, around the circle.
        for i in range(start, start + _SLICES_PER_SECTOR):
            y, x = y + slices[0, i % _N_SLICES], x + slices[1, i % _N_SLICES]
        if y * y + x * x > longest:
            longest, angle = y * y + x * x, np.arctan2(x, y)
    return float(angle)


@compiled()
def _describe(sums: Any, points: Any, angles: Any, weights: Any, values: Any) -> None:
    for i in range(len(points)):
        y, x, scale = points[i, 0], points[i, 1], points[i, 2]
        sine, cosine = np.sin(angles[i]), np.cos(angles[i])
        # Responses at 20 x 20 samples, one scale apart, of a square rotated to the point's angle.
        half = max(1, int(scale + 0.5))
        for v in range(20):
            for u in range(20):
                # The samples are rotated with the point; the wavelets stay upright, and their
                # responses are rotated instead.
                row = int(y + scale * (cosine * (v - 10) - sine * (u - 10)))
                column = int(x + scale * (sine * (v - 10) + cosine * (u - 10)))
                dy, dx = _respond(sums, row, column, half)
                weight = weights[v] * weights[u]
                along = weight * (cosine * dy + sine * dx)
                across = weight * (cosine * dx - sine * dy)
                # Four sums for each of 4 x 4 subregions of 5 x 5 samples: dy, dx, |dy|, |dx|.
                first = 16 * (v // 5) + 4 * (u // 5)
                values[i, first] += along
                values[i, first + 1] += across
                values[i, first + 2] += abs(along)
                values[i, first + 3] += abs(across)


@compiled()
def _respond(sums: Any, y: int, x: int, half: int) -> Any:
    """Haar wavelets of side ``2 * half`` at a pixel: upper minus lower, left minus right."""
    # Boxes are clipped at the border: the summed-area table has no entries outside.
    top, bottom = max(y - half, 0), min(y + half, sums.shape[0] - 1)
    left, right = max(x - half, 0), min(x + half, sums.shape[1] - 1)
    upper = (sums[y, right] - sums[y, left]) - (sums[top, right] - sums[top, left])
    lower = (sums[bottom, right] - sums[bottom, left]) - (sums[y, right] - sums[y, left])
    before = (sums[bottom, x] - sums[top, x]) - (sums[bottom, left] - sums[top, left])
    after = (sums[bottom, right] - sums[top, right]) - (sums[bottom, x] - sums[top, x])
    return float(upper - lower), float(before - after)
