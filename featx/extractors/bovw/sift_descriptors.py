"""SIFT's descriptors: directions of the gradients in 4 x 4 squares around key points."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from featx._imports import compiled
from featx.extractors.bovw.patches import N_BINS, N_ORIENTATIONS, to_bytes
from featx.extractors.bovw.sift_points import N_SCALES, Floats, in_lanes

_BIN_SCALES = 3.0
"""Side of a square in scales of the point."""

_SIDE = N_BINS + 2
"""Squares along a side, one beyond each end among them."""

_N_LANES = 8
"""Pixels that are worked on at once."""

_LENGTH = 128
"""More than the pixels of a row in the largest turned square: 5 bins of 3 scales, corner to
corner, and a scale of at most ``1.6 * 2 ** (3.5 / 3)``."""

_N_SUMS = _SIDE * _SIDE * N_ORIENTATIONS
_TURN, HALF, _QUARTER = (np.float32(2 * math.pi / n) for n in (1, 2, 4))
TINY = np.float32(1e-30)
_ATAN = tuple(map(np.float32, (0.9998660, -0.3302995, 0.1801410, -0.0851330, 0.0208351)))
"""Of an odd polynomial within 1e-5 of the arc tangent between 0 and 1: Abramowitz and Stegun,
Handbook of Mathematical Functions (1964), 4.4.47."""


def read_gradients(maps: Floats, out: Floats) -> Floats:
    """Angles and lengths of the gradients at the scales that may have points.

    Parameters
    ----------
    maps : ndarray of shape (6, h, w), float32
    out : ndarray of shape (2, 6, h, w), float32
        Filled at maps 1 to 3, but for the outermost pixels.

    Returns
    -------
    ndarray of shape (2, 6, h, w), float32
        `out`: radians between 0 and a turn, from the right by way of the top; and grey levels
        over two pixels.
    """
    for scale in range(1, N_SCALES + 1):
        _read_gradients(maps[scale], out[0, scale], out[1, scale])
    return out


def describe(gradients: Floats, points: Floats) -> npt.NDArray[np.uint8]:
    """Descriptors of key points.

    Parameters
    ----------
    gradients : ndarray of shape (2, 6, h, w), float32
        As `read_gradients` gives them.
    points : ndarray of shape (k, 5), float32
        As `featx.extractors.bovw.sift_points.find_angles` gives them.

    Returns
    -------
    ndarray of shape (k, 128), uint8
        Squares row by row from the point's upper left, each with its eight directions, both
        turned by the point's angle; see `featx.extractors.bovw.patches.to_bytes` for the values.
    """
    histograms = np.empty((len(points), N_BINS * N_BINS * N_ORIENTATIONS), np.float32)
    _describe(gradients, points, histograms)
    return to_bytes(histograms)


@in_lanes
def _read_gradients(image: Any, turns: Any, sizes: Any) -> None:
    height, width = image.shape
    for y in range(1, height - 1):
        above, line, below = image[y - 1], image[y], image[y + 1]
        turn, size = turns[y], sizes[y]
        for x in range(1, width - 1):
            dx, dy = line[x + 1] - line[x - 1], above[x] - below[x]
            turn[x] = _angle_of(dy, dx)
            size[x] = np.sqrt(dx * dx + dy * dy)


@in_lanes
def _angle_of(dy: Any, dx: Any) -> Any:
    """Angle of a gradient, 0 to a whole turn, in radians, within 1e-5."""
    tall, wide = abs(dy), abs(dx)
    share = min(tall, wide) / (max(tall, wide) + TINY)
    square = share * share
    angle = share * (
        _ATAN[0]
        + square * (_ATAN[1] + square * (_ATAN[2] + square * (_ATAN[3] + square * _ATAN[4])))
    )
    angle = angle if wide > tall else _QUARTER - angle
    angle = angle if dx >= 0 else HALF - angle
    return angle if dy >= 0 else _TURN - angle


@compiled()
def _describe(gradients: Any, points: Any, histograms: Any) -> None:
    """Share the gradients of turned squares among bins of place and direction.

    Neighbours in a row mostly go to the same bins. They go to two sets of sums in turn, so that
    none waits for the one before it.
    """
    _, n_maps, height, width = gradients.shape
    lines = gradients.reshape(2, n_maps * height * width)
    bins, parts = np.empty(2 * _LENGTH, np.int32), np.empty(8 * _LENGTH, np.float32)
    sums = np.empty((2, _N_SUMS), np.float32)
    reach = (N_BINS + 1) / 2  # From the middle to where the last bins end, in bins.
    for i in range(len(points)):
        scale, sigma, angle = int(points[i, 0]), points[i, 3], points[i, 4]
        y, x, side = int(np.rint(points[i, 1])), int(np.rint(points[i, 2])), _BIN_SCALES * sigma
        radius = int(np.rint(side * np.sqrt(2) * reach))
        weights = np.zeros(2 * radius + 1 + _N_LANES, np.float32)
        for j in range(-radius, radius + 1):
            weights[j + radius] = np.exp(-2 * (j / (N_BINS * side)) ** 2)
        cosine, sine = np.cos(angle) / side, np.sin(angle) / side
        cosine, sine = _not_zero(cosine), _not_zero(sine)
        sums[:] = 0
        for row in range(max(y - radius, 1), min(y + radius, height - 2) + 1):
            # Columns, from the point's, between the sides of the turned square.
            down = row - y
            a, b = down * sine / cosine, -down * cosine / sine
            half_a, half_b = abs(reach / cosine), abs(reach / sine)
            first = max(int(np.ceil(max(a - half_a, b - half_b))), -radius, 1 - x)
            last = min(int(np.floor(min(a + half_a, b + half_b))), radius, width - 2 - x)
            if first > last:
                continue
            # Places from 0 in the middle of the bin before the first, which is not kept.
            start = (scale * height + row) * width + x + first
            position = (first * sine + down * cosine + reach, first * cosine - down * sine + reach)
            _share(
                lines, start, last - first + 1, weights, first + radius, down + radius, angle,
                np.float32(position[0]), np.float32(position[1]), np.float32(sine),
                np.float32(cosine), bins, parts,
            )  # fmt: skip
            _add(bins, parts, last - first + 1, sums)
        _keep_inner(sums, histograms[i])


@compiled()
def _not_zero(x: float) -> float:
    return x if abs(x) > 1e-9 else 1e-9


@in_lanes
def _share(
    lines: Any,
    start: int,
    n: int,
    all_weights: Any,
    first_weight: int,
    row_weight: int,
    angle: Any,
    down: Any,
    across: Any,
    down_step: Any,
    across_step: Any,
    bins: Any,
    parts: Any,
) -> None:
    """Part the gradients of a line between the two nearest rows, columns and directions.

    Whole lanes are filled, from pixels beyond the line, too; those are not added.
    """
    per_turn, most = np.float32(N_ORIENTATIONS) / _TURN, np.float32(N_BINS + 1 - 1e-4)
    n_directions, mask = np.int32(N_ORIENTATIONS), np.int32(N_ORIENTATIONS - 1)
    weight, weights = all_weights[row_weight], all_weights[first_weight:]
    turns, sizes = lines[0, start:], lines[1, start:]
    for j in range(-(-n // _N_LANES) * _N_LANES):
        y = min(max(down + np.float32(j) * down_step, np.float32(0)), most)
        x = min(max(across + np.float32(j) * across_step, np.float32(0)), most)
        z = (turns[j] - angle) * per_turn + np.float32(N_ORIENTATIONS)
        line, column, direction = np.int32(y), np.int32(x), np.int32(z)
        y, x, z = y - np.float32(line), x - np.float32(column), z - np.float32(direction)
        square = (line * np.int32(_SIDE) + column) * n_directions
        bins[j] = square + (direction & mask)
        bins[_LENGTH + j] = square + ((direction + np.int32(1)) & mask)
        size = sizes[j] * (weight * weights[j])
        lower = size * y
        upper = size - lower
        lower_right, upper_right = lower * x, upper * x
        lower_left, upper_left = lower - lower_right, upper - upper_right
        parts[j] = upper_left - upper_left * z
        parts[_LENGTH + j] = upper_left * z
        parts[2 * _LENGTH + j] = upper_right - upper_right * z
        parts[3 * _LENGTH + j] = upper_right * z
        parts[4 * _LENGTH + j] = lower_left - lower_left * z
        parts[5 * _LENGTH + j] = lower_left * z
        parts[6 * _LENGTH + j] = lower_right - lower_right * z
        parts[7 * _LENGTH + j] = lower_right * z


@in_lanes
def _add(bins: Any, parts: Any, n: int, both: Any) -> None:
    even, odd = both[0], both[1]
    right, below = np.uint32(N_ORIENTATIONS), np.uint32(_SIDE * N_ORIENTATIONS)
    for j in range(n):
        sums = odd if j & 1 else even
        here, after = np.uint32(bins[j]), np.uint32(bins[_LENGTH + j])
        sums[here] += parts[j]
        sums[after] += parts[_LENGTH + j]
        sums[here + right] += parts[2 * _LENGTH + j]
        sums[after + right] += parts[3 * _LENGTH + j]
        sums[here + below] += parts[4 * _LENGTH + j]
        sums[after + below] += parts[5 * _LENGTH + j]
        sums[here + below + right] += parts[6 * _LENGTH + j]
        sums[after + below + right] += parts[7 * _LENGTH + j]


@compiled()
def _keep_inner(both: Any, histogram: Any) -> None:
    """Both sets of sums together, without the squares beyond the ends."""
    n = N_BINS * N_ORIENTATIONS
    for row in range(N_BINS):
        start = ((row + 1) * _SIDE + 1) * N_ORIENTATIONS
        histogram[row * n : row * n + n] = both[0, start : start + n] + both[1, start : start + n]
