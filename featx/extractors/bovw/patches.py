"""SIFT's histograms and SURF's sums for all patches of a grid, from one pass over gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from featx._imports import compiled, load_opencv

Floats = npt.NDArray[np.float32]
Positions = npt.NDArray[np.intp]

N_BINS = 4
"""Bins of a patch along each side."""

_N_ORIENTATIONS = 8
CLIP = 0.2


def orientation_maps(image: Floats) -> Floats:
    """Gradient magnitude of each pixel, interpolated between the two nearest of eight directions.

    Parameters
    ----------
    image : ndarray of shape (h, w), float32

    Returns
    -------
    ndarray of shape (h, w, 8), float32
        Differences over two pixels; zero on the outermost pixels. Direction 0 is to the right;
        the others follow counterclockwise.
    """
    maps = np.zeros((*image.shape, _N_ORIENTATIONS), np.float32)
    _interpolate_orientations(np.ascontiguousarray(image, np.float32), maps)
    return maps


def haar_maps(gray: npt.NDArray[np.uint8], side_px: int) -> Floats:
    """Haar wavelet responses of each pixel, to the right and upwards, and their absolute values.

    Parameters
    ----------
    gray : ndarray of shape (h, w), uint8
    side_px : int
        Side of the wavelet; even.

    Returns
    -------
    ndarray of shape (h, w, 4), float32
        Response along x, its absolute value, the same along y, in mean gray levels; zero where
        the wavelet does not fit.
    """
    half = side_px // 2
    sums = load_opencv().integral(gray)  # (h + 1, w + 1)
    # Sums over strips of half a wavelet, then over the full side: the wavelet's two halves.
    columns = sums[:, half:] - sums[:, :-half]
    rows = sums[half:] - sums[:-half]
    upright_boxes = columns[side_px:] - columns[:-side_px]
    flat_boxes = rows[:, side_px:] - rows[:, :-side_px]
    maps = np.zeros((*gray.shape, 4), np.float32)
    inner = maps[half : half + len(upright_boxes), half : half + flat_boxes.shape[1]]
    inner[..., 0] = (upright_boxes[:, half:] - upright_boxes[:, :-half]) / (half * side_px)
    inner[..., 2] = (flat_boxes[:-half] - flat_boxes[half:]) / (half * side_px)
    inner[..., 1::2] = np.abs(inner[..., ::2])
    return maps


def bin_weights(bin_px: float) -> Floats:
    """Weight of each pixel in each bin, along one side of a patch.

    Parameters
    ----------
    bin_px : float
        Side of a bin.

    Returns
    -------
    ndarray of shape (4, 2 * r + 1), float32
        For the pixels from r before the patch's center to r after it: a triangle around the
        bin's center, times a Gaussian window of half the patch's width.
    """
    radius = int(np.ceil(bin_px * (N_BINS + 1) / 2))
    offsets = np.arange(-radius, radius + 1) / bin_px  # in bins
    centers = np.arange(N_BINS) - (N_BINS - 1) / 2
    triangles = np.maximum(0, 1 - np.abs(offsets - centers[:, None]))
    return (triangles * np.exp(-2 * (offsets / N_BINS) ** 2)).astype(np.float32)


def pool_patches(maps: Floats, rows: Positions, columns: Positions, weights: Floats) -> Floats:
    """Sums of maps in the bins of the patches centered at all pairs of rows and columns.

    Parameters
    ----------
    maps : ndarray of shape (h, w, m), float32
    rows, columns : ndarray of shape (n_rows,) and (n_columns,)
        Pixels at the centers of patches.
    weights : ndarray of shape (4, 2 * r + 1), float32

    Returns
    -------
    ndarray of shape (n_rows * n_columns, 16 * m), float32
        Patches row by row; values by the bin's row, its column, and map.
    """
    height, _, n_maps = maps.shape
    # The weights are separable: sum along x for all lines of pixels first, then along y.
    lines = np.zeros((height, len(columns), N_BINS, n_maps), np.float32)
    _pool_lines(maps, columns, weights, lines)
    out = np.zeros((len(rows), len(columns), N_BINS, N_BINS * n_maps), np.float32)
    _pool_rows(lines.reshape(height, len(columns), N_BINS * n_maps), rows, weights, out)
    return out.reshape(len(rows) * len(columns), N_BINS * N_BINS * n_maps)


def to_bytes(histograms: Floats) -> npt.NDArray[np.uint8]:
    """SIFT's normalization: unit norm, clipped at 0.2, unit norm again, times 512.

    Parameters
    ----------
    histograms : ndarray of shape (k, 128), float32
        No histogram may be all zero.

    Returns
    -------
    ndarray of shape (k, 128), uint8
    """
    norms = np.sqrt((histograms**2).sum(axis=1, keepdims=True))
    clipped = np.minimum(histograms, CLIP * norms)
    norms = np.sqrt((clipped**2).sum(axis=1, keepdims=True))
    return np.rint(clipped * (512 / norms)).clip(0, 255).astype(np.uint8)


@compiled()
def _interpolate_orientations(image: Any, maps: Any) -> None:
    height, width = image.shape
    per_radian = np.float32(_N_ORIENTATIONS / (2 * np.pi))
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            dx = image[y, x + 1] - image[y, x - 1]
            dy = image[y - 1, x] - image[y + 1, x]
            # Linear interpolation between the two directions nearest to the gradient's.
            magnitude = np.sqrt(dx * dx + dy * dy)
            position = np.arctan2(dy, dx) * per_radian
            low = np.floor(position)
            upper = magnitude * (position - low)
            first = int(low) % _N_ORIENTATIONS
            maps[y, x, first] = magnitude - upper
            maps[y, x, (first + 1) % _N_ORIENTATIONS] = upper


@compiled()
def _pool_lines(maps: Any, columns: Any, weights: Any, out: Any) -> None:
    """Sums along x, for each line of pixels, column of patches and bin."""
    height, width, n_maps = maps.shape
    radius = weights.shape[1] // 2
    for y in range(height):
        for i in range(len(columns)):
            first = max(columns[i] - radius, 0)
            last = min(columns[i] + radius, width - 1)
            for b in range(weights.shape[0]):
                for x in range(first, last + 1):
                    weight = weights[b, x - columns[i] + radius]
                    if weight > 0:
                        for m in range(n_maps):
                            out[y, i, b, m] += weight * maps[y, x, m]


@compiled()
def _pool_rows(lines: Any, rows: Any, weights: Any, out: Any) -> None:
    """Sums of lines along y, for each row of patches and bin."""
    height, n_columns, n_values = lines.shape
    radius = weights.shape[1] // 2
    for i in range(len(rows)):
        first = max(rows[i] - radius, 0)
        last = min(rows[i] + radius, height - 1)
        for b in range(weights.shape[0]):
            for y in range(first, last + 1):
                weight = weights[b, y - rows[i] + radius]
                if weight > 0:
                    for c in range(n_columns):
                        for v in range(n_values):
                            out[i, c, b, v] += weight * lines[y, c, v]
