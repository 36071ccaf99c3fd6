"""SIFT's key points: extrema, in place and scale, of differences of Gaussians."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from featx._imports import compiled
from featx.extractors.bovw.surf_points import step_to_top

Floats: TypeAlias = npt.NDArray[np.float32]

N_SCALES = 3
"""Scales of an octave in which there may be points."""

SIGMA = 1.6
"""Of the Gaussian at the first scale of an octave, in its pixels."""

_CONTRAST = 0.04 * 255
_EDGE = 10.0
"""Most that the larger curvature at a point may be, in terms of the smaller."""

MARGIN = 5
_MAX_STEPS = 5
_LEAST = math.floor(_CONTRAST / N_SCALES / 2)
"""Difference of grey levels above which a place is looked at."""

_AT_ONCE = 8
"""Pixels in a row that are looked at together: bytes of a number."""

_N_SECTORS = 36
_WINDOW = 1.5
"""Sigma of the window that the angle is read in, in scales of the point."""

in_lanes = compiled(fastmath=True, error_model="numpy")
"""Sums in any order, and no check before a division, which let loops run in SIMD lanes."""


@compiled()
def find_extrema(maps: Any) -> Any:
    """Places that differ more between two Gaussians than all 26 places around them.

    Parameters
    ----------
    maps : ndarray of shape (6, h, w), float32
        A picture under Gaussians whose sigma grows by the third root of 2.

    Returns
    -------
    ndarray of shape (k, 4), float32
        Number of the map, from 1 to 3; y and x in pixels, between them; sigma in pixels. Those
        of little contrast and those on edges are left out.
    """
    _, height, width = maps.shape
    # Of three rows of pixels: differences, and the highest and lowest of nine around each.
    rows = np.empty((3, N_SCALES + 2, width), np.float32)
    highs = np.empty((N_SCALES, 3, width), np.float32)
    lows = np.empty_like(highs)
    near_highs = np.empty((N_SCALES + 2, width), np.float32)
    near_lows = np.empty_like(near_highs)
    is_found = np.zeros(-(-width // _AT_ONCE) * _AT_ONCE, np.bool_)
    words = is_found.view(np.uint64)
    cube = np.empty((3, 3, 3))
    positions = np.empty((height * width // 4, 4), np.float32)
    n = 0
    for row in range(MARGIN - 1, height - MARGIN + 1):
        _subtract(maps, row, rows[row % 3], near_highs, near_lows, highs, lows)
        middle = row - 1
        for scale in range(N_SCALES if middle >= MARGIN else 0):
            _mark(rows[middle % 3, scale + 1], highs[scale], lows[scale], is_found)
            for word in range(len(words)):
                if words[word] == 0:
                    continue
                start = word * _AT_ONCE
                for column in range(max(start, MARGIN), min(start + _AT_ONCE, width - MARGIN)):
                    if is_found[column] and n < len(positions):
                        n += _refine(maps, scale + 1, middle, column, cube, positions[n])
    return positions[:n].copy()


@in_lanes
def _subtract(
    maps: Any, row: int, rows: Any, near_highs: Any, near_lows: Any, highs: Any, lows: Any
) -> None:
    """Differences along a row, and their highest and lowest over columns and scales."""
    width = maps.shape[2]
    for scale in range(len(rows)):
        narrow, broad, line = maps[scale, row], maps[scale + 1, row], rows[scale]
        for x in range(width):
            line[x] = broad[x] - narrow[x]
        high, low = near_highs[scale], near_lows[scale]
        for x in range(1, width - 1):
            a, b, c = line[x - 1], line[x], line[x + 1]
            high[x], low[x] = max(a, max(b, c)), min(a, min(b, c))
    for scale in range(len(highs)):
        high, low = highs[scale, row % 3], lows[scale, row % 3]
        a, b, c = near_highs[scale], near_highs[scale + 1], near_highs[scale + 2]
        for x in range(1, width - 1):
            high[x] = max(a[x], max(b[x], c[x]))
        a, b, c = near_lows[scale], near_lows[scale + 1], near_lows[scale + 2]
        for x in range(1, width - 1):
            low[x] = min(a[x], min(b[x], c[x]))


@in_lanes
def _mark(line: Any, highs: Any, lows: Any, is_found: Any) -> None:
    """Mark where no neighbour is higher, or none lower, than a value above the threshold."""
    least = np.float32(_LEAST)
    a, b, c = highs[0], highs[1], highs[2]
    for x in range(1, len(line) - 1):
        is_found[x] = (line[x] >= max(a[x], max(b[x], c[x]))) & (line[x] > least)
    a, b, c = lows[0], lows[1], lows[2]
    for x in range(1, len(line) - 1):
        is_found[x] |= (line[x] <= min(a[x], min(b[x], c[x]))) & (line[x] < -least)


@compiled()
def _refine(maps: Any, scale: int, y: int, x: int, cube: Any, position: Any) -> int:
    """Go to the extremum between the places and keep it: 1, or 0 if there is none."""
    for _ in range(_MAX_STEPS):
        for s in range(3):
            narrow, broad = maps[scale + s - 1], maps[scale + s]
            for i in range(3):
                for j in range(3):
                    row, column = y + i - 1, x + j - 1
                    cube[s, i, j] = broad[row, column] - narrow[row, column]
        ds, dy, dx = step_to_top(cube, 1, 1, 1)
        far = max(abs(ds), abs(dy), abs(dx))
        if far < 0.5:
            position[0], position[1], position[2] = scale, y + dy, x + dx
            position[3] = SIGMA * 2 ** ((scale + ds) / N_SCALES)
            return int(_is_clear(cube, ds, dy, dx))
        if far > 1e6:
            return 0
        scale, y, x = scale + int(np.rint(ds)), y + int(np.rint(dy)), x + int(np.rint(dx))
        is_inside = MARGIN <= y < maps.shape[1] - MARGIN and MARGIN <= x < maps.shape[2] - MARGIN
        if not is_inside or not 1 <= scale <= N_SCALES:
            return 0
    return 0


@compiled()
def _is_clear(m: Any, ds: float, dy: float, dx: float) -> bool:
    """Whether an extremum has contrast and is not on an edge."""
    slope = (m[2, 1, 1] - m[0, 1, 1]) * ds + (m[1, 2, 1] - m[1, 0, 1]) * dy
    slope += (m[1, 1, 2] - m[1, 1, 0]) * dx
    if abs(m[1, 1, 1] + slope / 4) * N_SCALES < _CONTRAST:
        return False
    xx = m[1, 1, 2] + m[1, 1, 0] - 2 * m[1, 1, 1]
    yy = m[1, 2, 1] + m[1, 0, 1] - 2 * m[1, 1, 1]
    xy = (m[1, 2, 2] - m[1, 2, 0] - m[1, 0, 2] + m[1, 0, 0]) / 4
    determinant = xx * yy - xy * xy
    return bool(determinant > 0 and (xx + yy) ** 2 * _EDGE < (_EDGE + 1) ** 2 * determinant)


@compiled()
def find_angles(gradients: Any, positions: Any) -> Any:
    """Strong directions of the gradients around positions.

    Parameters
    ----------
    gradients : ndarray of shape (2, 6, h, w), float32
        As `featx.extractors.bovw.sift_descriptors.read_gradients` gives them.
    positions : ndarray of shape (k, 4), float32
        As `find_extrema` gives them.

    Returns
    -------
    ndarray of shape (m, 5), float32
        Positions with an angle in radians; once for each direction that has four fifths of the
        strength of the strongest.
    """
    points = np.empty((4 * len(positions), 5), np.float32)
    sectors = np.empty(_N_SECTORS)
    n = 0
    for i in range(len(positions)):
        _fill_sectors(gradients, positions[i], sectors)
        least = 0.8 * sectors.max()
        for j in range(_N_SECTORS):
            before, here, after = sectors[j - 1], sectors[j], sectors[(j + 1) % _N_SECTORS]
            if here > before and here > after and here >= least and n < len(points):
                top = j + 0.5 * (before - after) / (before - 2 * here + after)
                points[n, :4] = positions[i]
                points[n, 4] = top % _N_SECTORS * (2 * np.pi / _N_SECTORS)
                n += 1
    return points[:n].copy()


@compiled()
def _fill_sectors(gradients: Any, position: Any, sectors: Any) -> None:
    """Strength of the gradients around a place by direction, smoothed."""
    turns, sizes = gradients[0, int(position[0])], gradients[1, int(position[0])]
    y, x, sigma = int(np.rint(position[1])), int(np.rint(position[2])), _WINDOW * position[3]
    radius = int(np.rint(3 * sigma))
    weights = np.exp(np.arange(-radius, radius + 1) ** 2 / (-2 * sigma * sigma))
    weights = weights.astype(np.float32)
    per_turn, half = np.float32(_N_SECTORS / (2 * np.pi)), np.float32(0.5)
    sums = np.zeros(_N_SECTORS + 1, np.float32)
    first, last = max(x - radius, 1), min(x + radius, turns.shape[1] - 2)
    for row in range(max(y - radius, 1), min(y + radius, len(turns) - 2) + 1):
        turn, size = turns[row, first : last + 1], sizes[row, first : last + 1]
        across, weight = weights[first - x + radius :], weights[row - y + radius]
        for j in range(len(turn)):
            sums[np.uint32(turn[j] * per_turn + half)] += size[j] * (weight * across[j])
    sums[0] += sums[_N_SECTORS]
    for i in range(_N_SECTORS):
        near = sums[(i - 1) % _N_SECTORS] + sums[(i + 1) % _N_SECTORS]
        far = sums[(i - 2) % _N_SECTORS] + sums[(i + 2) % _N_SECTORS]
        sectors[i] = (6 * sums[i] + 4 * near + far) / 16
