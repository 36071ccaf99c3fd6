"""The arithmetic of HOG, compiled by numba; imported when first used.

Why not `skimage.feature.hog`, whose features these equal up to rounding: it takes one image at a
time, computes gradients of every channel in float64 and an arctangent per pixel, and holds the
GIL. Here gradients of 8-bit images stay whole numbers, orientations come from a table, and
threads share the work; `scripts/bench/bench_hog.py` measures the ratio that
docs/performance.md quotes.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from featx._imports import compiled
from featx.data.images import GRAY_WEIGHTS

L1, _L1_SQRT, L2, _L2_HYS = range(4)
_EPS = 1e-5
CLIP = np.float32(0.2)
_REACH = 255
_TIE = 1e-14
_N_SLOPES = 2 * _REACH + 1
_RED, _GREEN, _BLUE = GRAY_WEIGHTS
_WEIGHT_SUM = sum(GRAY_WEIGHTS)


_outer = compiled(error_model="numpy")
# Sums may be taken in any order (one of each length), which lets them be vectorised.
_inner = numba.njit(nogil=True, error_model="numpy", fastmath={"reassoc", "nsz"})


def bin_table(orientations: int) -> npt.NDArray[np.uint8]:
    """Bin of every gradient of whole numbers.

    Parameters
    ----------
    orientations : int
        Bins between 0 and 180 degrees.

    Returns
    -------
    ndarray of shape (511 * 511,), uint8
        The bin of gradient ``(down, right)`` at ``(down + 255) * 511 + right + 255``.
    """
    steps = np.arange(-_REACH, _REACH + 1, dtype=np.float64)
    return bins_of(steps[:, None], steps[None, :], orientations).ravel()


def bins_of(
    down: npt.NDArray[np.float64], right: npt.NDArray[np.float64], orientations: int
) -> npt.NDArray[np.uint8]:
    """Bin of the angle of each gradient, whichever end of it points down.

    Parameters
    ----------
    down, right : ndarray of float64
        Gradients.
    orientations : int
        Bins between 0 and 180 degrees.

    Returns
    -------
    ndarray of uint8
        0 to ``orientations - 1``; an angle on the edge between two bins has the upper one.
    """
    # NumPy's arctan2, as in scikit-image: the C library's rounds some edges the other way.
    degrees = np.arctan2(down, right) * (180 / np.pi)
    degrees[degrees < 0] += 180
    bins = np.empty(degrees.shape, np.uint8)
    edges = 180 / orientations * np.arange(orientations + 1)
    _sort_in(degrees.ravel(), edges, bins.ravel())
    return bins


@_outer
def _sort_in(degrees: Any, edges: Any, bins: Any) -> None:
    """Bin of each angle between 0 and 180 degrees; 180 is level like 0."""
    last = len(edges) - 2
    for j in range(len(degrees)):
        angle = degrees[j]
        k = min(int(angle / edges[1]), last)
        if angle < edges[k]:
            k -= 1
        elif angle >= edges[k + 1]:
            k += 1
        bins[j] = 0 if angle >= 180 else k


@_outer
def hog_of_integers(
    image: npt.NDArray[np.uint8],
    bins: npt.NDArray[np.uint8],
    cell: int,
    block: int,
    orientations: int,
    norm: int,
    row: npt.NDArray[np.float32],
) -> None:
    """HOG of a colour image as it is, into `row`.

    Parameters
    ----------
    image : ndarray of shape (h, 3 * w), uint8
        Image, the channels of a pixel side by side.
    bins : ndarray of shape (511 * 511,), uint8
        From `bin_table`.
    cell, block, orientations : int
        Pixels a cell, cells a block, bins.
    norm : int
        One of L1, L1_SQRT, L2, L2_HYS.
    row : ndarray of shape (d,), float32
        Where the features go.
    """
    height, length = image.shape
    width = length // 3
    n_down, n_right = height // cell, width // cell
    cells = np.zeros((n_down, n_right * orientations), np.float32)
    # Gradients of 8-bit values are whole numbers from -255 to 255, so one table lookup replaces
    # an arctangent per pixel. Only three rows are held at a time: everything stays in cache.
    squares = np.zeros(length, np.int32)
    slopes = np.zeros(length, np.int32)
    codes = np.empty(width, np.int32)
    sizes = np.empty(width, np.float32)
    for y in range(n_down * cell):
        above, below = image[max(y - 1, 0)], image[min(y + 1, height - 1)]
        if y == 0 or y == height - 1:
            above = below = image[y]
        # Stage 1: gradients of every channel. Stage 2: per pixel, the channel with the longest one.
        # Stage 3: that gradient votes, with its length, for its bin in its cell.
        _integer_gradients(above, image[y], below, squares, slopes)
        _strongest(squares, slopes, codes, sizes)
        _vote(codes, sizes, bins, cell, orientations, cells[y // cell])
    # Stage 4: mean votes per pixel of a cell, then blocks of cells, overlapping, normalised.
    _scale(cells, np.float32(1 / cell**2))
    _blocks(cells, block, orientations, norm, row)


@_outer
def gradients_of(
    image: npt.NDArray[Any],
    is_color: bool,
    is_root: bool,
    down: npt.NDArray[np.float64],
    right: npt.NDArray[np.float64],
) -> None:
    """Gradients of an image in grey, in more than 8 bits, or of square roots of intensities.

    Parameters
    ----------
    image : ndarray of shape (h, 3 * w), uint8 or float32
        Image, the channels of a pixel side by side.
    is_color : bool
        Whether to take the strongest of three channels, rather than luminance.
    is_root : bool
        Whether to take the square root of each intensity first.
    down, right : ndarray of shape (h, w), float64
        Where the gradients go.
    """
    height, width = down.shape
    n_channels = 3 if is_color else 1
    values = np.empty((height, width * n_channels), np.float64)
    gradients = np.zeros((3, width * n_channels), np.float64)
    # Intensities first, for the whole image: each row is needed for three rows of gradients.
    for y in range(height):
        _fill_values(image[y], is_color, is_root, values[y])
    for y in range(height):
        above, below = values[max(y - 1, 0)], values[min(y + 1, height - 1)]
        # No gradient across the border, as in scikit-image: the first and last rows have none.
        if y == 0 or y == height - 1:
            above = below = values[y]
        _gradients(above, values[y], below, n_channels, gradients)
        _strongest_of(gradients, n_channels, down[y], right[y])


@_outer
def hog_of_gradients(
    down: npt.NDArray[np.float64],
    right: npt.NDArray[np.float64],
    bins: npt.NDArray[np.uint8],
    cell: int,
    block: int,
    orientations: int,
    norm: int,
    row: npt.NDArray[np.float32],
) -> None:
    """HOG of one image of which gradients are known, into `row`.

    Parameters
    ----------
    down, right : ndarray of shape (h, w), float64
        Gradients.
    bins : ndarray of shape (h, w), uint8
        The gradients' bins.
    cell, block, orientations : int
        Pixels a cell, cells a block, bins.
    norm : int
        One of L1, L1_SQRT, L2, L2_HYS.
    row : ndarray of shape (d,), float32
        Where the features go.
    """
    height, width = down.shape
    n_down, n_right = height // cell, width // cell
    cells = np.zeros((n_down, n_right * orientations), np.float32)
    for y in range(n_down * cell):
        histograms = cells[y // cell]
        for x in range(n_right * cell):
            # Each pixel votes for one bin of one cell, without interpolation.
            size = math.sqrt(down[y, x] ** 2 + right[y, x] ** 2)
            histograms[x // cell * orientations + bins[y, x]] += np.float32(size)
    _scale(cells, np.float32(1 / cell**2))
    _blocks(cells, block, orientations, norm, row)


@_inner
def _fill_values(pixels: Any, is_color: bool, is_root: bool, values: Any) -> None:
    """Intensities of one row of pixels, 0 to 255, or their square roots."""
    if is_color:
        for j in range(len(values)):
            values[j] = pixels[j]
    else:
        for x in range(len(values)):
            # Whole weights until the end, so that equal greys stay exactly equal.
            total = _RED * np.float64(pixels[3 * x]) + _GREEN * np.float64(pixels[3 * x + 1])
            values[x] = (total + _BLUE * np.float64(pixels[3 * x + 2])) / _WEIGHT_SUM
    if is_root:
        for j in range(len(values)):
            values[j] = math.sqrt(values[j])


@_inner
def _gradients(above: Any, here: Any, below: Any, step: int, gradients: Any) -> None:
    """Gradients down and right of each value, and their squared lengths."""
    down, right, squares = gradients[0], gradients[1], gradients[2]
    for j in range(step, len(here) - step):
        right[j] = here[j + step] - here[j - step]
    for j in range(len(here)):
        down[j] = below[j] - above[j]
        squares[j] = down[j] * down[j] + right[j] * right[j]


@_inner
def _strongest_of(gradients: Any, n_channels: int, down: Any, right: Any) -> None:
    """Gradient of the strongest channel at each pixel, the first of equals."""
    downs, rights, squares = gradients[0], gradients[1], gradients[2]
    for x in range(len(down)):
        most = n_channels * x
        for j in range(n_channels * x + 1, n_channels * (x + 1)):
            excess = squares[j] - squares[most]
            # Where squares all but tie, lengths decide as scikit-image rounds them.
            if abs(excess) <= _TIE * squares[most]:
                length = math.hypot(downs[j], rights[j])
                excess = length - math.hypot(downs[most], rights[most])
            # Strictly longer: the first of equal channels stays, as argmax would choose.
            if excess > 0:
                most = j
        down[x], right[x] = downs[most], rights[most]


@_inner
def _integer_gradients(above: Any, here: Any, below: Any, squares: Any, slopes: Any) -> None:
    """Squared length and slope code of each value's gradient; none to the right at the ends."""
    for j in range(len(here)):
        down = np.int32(below[j]) - np.int32(above[j])
        squares[j] = down * down
        slopes[j] = (down + _REACH) * _N_SLOPES + _REACH
    # Slices, each counted from 0: an index that might be negative is compiled without SIMD.
    left, right, inner_squares, inner_slopes = here[:-6], here[6:], squares[3:-3], slopes[3:-3]
    for j in range(len(left)):
        step = np.int32(right[j]) - np.int32(left[j])
        inner_squares[j] += step * step
        inner_slopes[j] += step


@_inner
def _strongest(squares: Any, slopes: Any, codes: Any, sizes: Any) -> None:
    """Slope code and length of the strongest channel's gradient, the first of equals."""
    for x in range(len(codes)):
        most, code = squares[3 * x], slopes[3 * x]
        if squares[3 * x + 1] > most:
            most, code = squares[3 * x + 1], slopes[3 * x + 1]
        if squares[3 * x + 2] > most:
            most, code = squares[3 * x + 2], slopes[3 * x + 2]
        codes[x] = code
        sizes[x] = math.sqrt(np.float32(most))


@_inner
def _vote(codes: Any, sizes: Any, bins: Any, cell: int, orientations: int, cells: Any) -> None:
    """Add the gradients of one row of pixels to the histograms of its cells."""
    for c in range(len(cells) // orientations):
        histogram = cells[c * orientations : (c + 1) * orientations]
        for x in range(c * cell, (c + 1) * cell):
            histogram[bins[codes[x]]] += sizes[x]


@_inner
def _scale(cells: Any, factor: np.float32) -> None:
    for row in cells:
        for j in range(len(row)):
            row[j] *= factor


@_inner
def _blocks(cells: Any, block: int, orientations: int, norm: int, row: Any) -> None:
    """Every block of cells, normalised, one after the other."""
    n_down, n_right = len(cells), cells.shape[1] // orientations
    length = block * orientations
    start = 0
    for y in range(n_down - block + 1):
        for x in range(n_right - block + 1):
            values = row[start : start + block * length]
            for k in range(block):
                part = cells[y + k, x * orientations : x * orientations + length]
                for j in range(length):
                    values[k * length + j] = part[j]
            _normalize(values, norm)
            start += block * length


@_inner
def _normalize(values: Any, norm: int) -> None:
    """One block brought to length one, in place."""
    total = np.float32(0)
    if norm in (L1, _L1_SQRT):
        for value in values:
            total += value
        # The small constant keeps blocks without contrast at zero.
        factor = np.float32(1 / (total + _EPS))
        for j in range(len(values)):
            values[j] *= factor
        if norm == _L1_SQRT:
            for j in range(len(values)):
                values[j] = math.sqrt(values[j])
        return
    for value in values:
        total += value * value
    factor = np.float32(1 / math.sqrt(total + _EPS**2))
    if norm == L2:
        for j in range(len(values)):
            values[j] *= factor
        return
    # L2-Hys: normalise, clip at 0.2 so that no single strong edge dominates, normalise again.
    clipped = np.float32(0)
    for j in range(len(values)):
        value = min(values[j] * factor, CLIP)
        values[j] = value
        clipped += value * value
    factor = np.float32(1 / math.sqrt(clipped + _EPS**2))
    for j in range(len(values)):
        values[j] *= factor
