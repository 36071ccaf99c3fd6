"""HOG compiled by numba; imported when first used.

Why not `skimage.feature.hog`, whose features these equal up to rounding: it processes one image at
a time, computes the gradients of every channel in float64 and an arctangent per pixel, and holds
the GIL. Here the gradients of 8-bit images remain integers, orientations are looked up in a table,
and threads run in parallel; `scripts/bench/bench_hog.py` measures the speed-up that
docs/performance.md states.
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
_N_DIFFERENCES = 2 * _REACH + 1
_RED, _GREEN, _BLUE = GRAY_WEIGHTS
_WEIGHT_SUM = sum(GRAY_WEIGHTS)


_outer = compiled(error_model="numpy")
# Allows the compiler to reorder sums, and thus to vectorize them; the order depends on the length
# alone.
_inner = numba.njit(nogil=True, error_model="numpy", fastmath={"reassoc", "nsz"})


def bin_table(orientations: int) -> npt.NDArray[np.uint8]:
    """Return the orientation bin of every gradient of 8-bit intensities.

    Parameters
    ----------
    orientations : int
        Number of bins between 0 and 180 degrees.

    Returns
    -------
    ndarray of shape (511 * 511,), uint8
        The bin of gradient ``(down, right)`` at ``(down + 255) * 511 + right + 255``.
    """
    differences = np.arange(-_REACH, _REACH + 1, dtype=np.float64)
    return bins_of(differences[:, None], differences[None, :], orientations).ravel()


def bins_of(
    down: npt.NDArray[np.float64], right: npt.NDArray[np.float64], orientations: int
) -> npt.NDArray[np.uint8]:
    """Return the orientation bin of each gradient; opposite gradients have the same.

    Parameters
    ----------
    down, right : ndarray of float64
        Components of the gradients.
    orientations : int
        Number of bins between 0 and 180 degrees.

    Returns
    -------
    ndarray of uint8
        0 to ``orientations - 1``; an angle on the edge of two bins belongs to the upper one.
    """
    # NumPy's arctan2, as in scikit-image: the C library's rounds some edges differently.
    degrees = np.arctan2(down, right) * (180 / np.pi)
    degrees[degrees < 0] += 180
    bins = np.empty(degrees.shape, np.uint8)
    edges = 180 / orientations * np.arange(orientations + 1)
    _fill_bins(degrees.ravel(), edges, bins.ravel())
    return bins


@_outer
def _fill_bins(degrees: Any, edges: Any, bins: Any) -> None:
    """Write the bin of each angle from 0 to 180 degrees; 180 is in the first bin, like 0."""
    last = len(edges) - 2
    for j in range(len(degrees)):
        angle = degrees[j]
        # The division may round to a neighboring bin: compare with the edges.
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
    """Compute the HOG of an 8-bit color image.

    Parameters
    ----------
    image : ndarray of shape (h, 3 * w), uint8
        The image, with the channels of each pixel adjacent.
    bins : ndarray of shape (511 * 511,), uint8
        From `bin_table`.
    cell, block, orientations : int
        Pixels per cell side, cells per block side, number of bins.
    norm : int
        One of L1, L1_SQRT, L2, L2_HYS.
    row : ndarray of shape (d,), float32
        Output array for the features.
    """
    height, length = image.shape
    width = length // 3
    n_down, n_right = height // cell, width // cell
    cells = np.zeros((n_down, n_right * orientations), np.float32)
    # Gradients of 8-bit values are integers from -255 to 255, so a table lookup replaces the
    # arctangent of each pixel. Only single rows of pixels are buffered, which stay in the cache.
    squares = np.zeros(length, np.int32)
    indices = np.zeros(length, np.int32)
    longest_indices = np.empty(width, np.int32)
    lengths = np.empty(width, np.float32)
    for y in range(n_down * cell):
        above, below = image[max(y - 1, 0)], image[min(y + 1, height - 1)]
        if y == 0 or y == height - 1:
            above = below = image[y]
        # Stage 1: gradients of every channel. Stage 2: the longest of these for each pixel.
        # Stage 3: it votes, with its length, for its bin of its cell's histogram.
        _integer_gradients(above, image[y], below, squares, indices)
        _strongest(squares, indices, longest_indices, lengths)
        _vote(longest_indices, lengths, bins, cell, orientations, cells[y // cell])
    # Stage 4: divide by the pixels per cell, then normalize overlapping blocks of cells.
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
    """Compute gradients in float64: of luminance, deeper images or square roots of intensities.

    Parameters
    ----------
    image : ndarray of shape (h, 3 * w), uint8 or float32
        The image, with the channels of each pixel adjacent.
    is_color : bool
        Whether to use the strongest of the three channels rather than luminance.
    is_root : bool
        Whether to take the square root of intensities first.
    down, right : ndarray of shape (h, w), float64
        Output arrays for the components of the gradients.
    """
    height, width = down.shape
    n_channels = 3 if is_color else 1
    values = np.empty((height, width * n_channels), np.float64)
    gradients = np.zeros((3, width * n_channels), np.float64)
    # Convert the whole image first, since the gradients of three rows depend on each row.
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
    """Compute the HOG of an image from its gradients.

    Parameters
    ----------
    down, right : ndarray of shape (h, w), float64
        Components of the gradients.
    bins : ndarray of shape (h, w), uint8
        Orientation bins of the gradients.
    cell, block, orientations : int
        Pixels per cell side, cells per block side, number of bins.
    norm : int
        One of L1, L1_SQRT, L2, L2_HYS.
    row : ndarray of shape (d,), float32
        Output array for the features.
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
            # Sum with integer weights before dividing, so that equal grays remain exactly equal.
            total = _RED * np.float64(pixels[3 * x]) + _GREEN * np.float64(pixels[3 * x + 1])
            values[x] = (total + _BLUE * np.float64(pixels[3 * x + 2])) / _WEIGHT_SUM
    if is_root:
        for j in range(len(values)):
            values[j] = math.sqrt(values[j])


@_inner
def _gradients(above: Any, here: Any, below: Any, step: int, gradients: Any) -> None:
    """Components of the gradient at each value, and its squared length."""
    down, right, squares = gradients[0], gradients[1], gradients[2]
    for j in range(step, len(here) - step):
        right[j] = here[j + step] - here[j - step]
    for j in range(len(here)):
        down[j] = below[j] - above[j]
        squares[j] = down[j] * down[j] + right[j] * right[j]


@_inner
def _strongest_of(gradients: Any, n_channels: int, down: Any, right: Any) -> None:
    """Longest gradient of each pixel's channels, the first if several are equal."""
    downs, rights, squares = gradients[0], gradients[1], gradients[2]
    for x in range(len(down)):
        longest = n_channels * x
        for j in range(n_channels * x + 1, n_channels * (x + 1)):
            excess = squares[j] - squares[longest]
            # If squares are nearly equal, compare lengths, with the rounding of scikit-image.
            if abs(excess) <= _TIE * squares[longest]:
                length = math.hypot(downs[j], rights[j])
                excess = length - math.hypot(downs[longest], rights[longest])
            # Strictly longer: argmax, too, chooses the first of equal channels.
            if excess > 0:
                longest = j
        down[x], right[x] = downs[longest], rights[longest]


@_inner
def _integer_gradients(above: Any, here: Any, below: Any, squares: Any, indices: Any) -> None:
    """Squared length and table index of each value's gradient; at both ends none to the right."""
    for j in range(len(here)):
        down = np.int32(below[j]) - np.int32(above[j])
        squares[j] = down * down
        indices[j] = (down + _REACH) * _N_DIFFERENCES + _REACH
    # Loop over slices from 0: with an index that could be negative, numba would not vectorize.
    left, right, inner_squares, inner_indices = here[:-6], here[6:], squares[3:-3], indices[3:-3]
    for j in range(len(left)):
        difference = np.int32(right[j]) - np.int32(left[j])
        inner_squares[j] += difference * difference
        inner_indices[j] += difference


@_inner
def _strongest(squares: Any, indices: Any, longest_indices: Any, lengths: Any) -> None:
    """Table index and length of the longest gradient of each pixel's three channels."""
    for x in range(len(longest_indices)):
        square, index = squares[3 * x], indices[3 * x]
        if squares[3 * x + 1] > square:
            square, index = squares[3 * x + 1], indices[3 * x + 1]
        if squares[3 * x + 2] > square:
            square, index = squares[3 * x + 2], indices[3 * x + 2]
        longest_indices[x] = index
        lengths[x] = math.sqrt(np.float32(square))


@_inner
def _vote(
    longest_indices: Any, lengths: Any, bins: Any, cell: int, orientations: int, cells: Any
) -> None:
    """Add the gradients of one row of pixels to the histograms of its cells."""
    for c in range(len(cells) // orientations):
        histogram = cells[c * orientations : (c + 1) * orientations]
        for x in range(c * cell, (c + 1) * cell):
            histogram[bins[longest_indices[x]]] += lengths[x]


@_inner
def _scale(cells: Any, factor: np.float32) -> None:
    for row in cells:
        for j in range(len(row)):
            row[j] *= factor


@_inner
def _blocks(cells: Any, block: int, orientations: int, norm: int, row: Any) -> None:
    """Write every block of cells, normalized, one after the other."""
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
    """Normalize one block, in place."""
    total = np.float32(0)
    if norm in (L1, _L1_SQRT):
        for value in values:
            total += value
        # The small constant avoids a division by zero in blocks without contrast.
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
    # L2-Hys: normalize, clip at 0.2 so that no single strong edge dominates, normalize again.
    clipped = np.float32(0)
    for j in range(len(values)):
        value = min(values[j] * factor, CLIP)
        values[j] = value
        clipped += value * value
    factor = np.float32(1 / math.sqrt(clipped + _EPS**2))
    for j in range(len(values)):
        values[j] *= factor
