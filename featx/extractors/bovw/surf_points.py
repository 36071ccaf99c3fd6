"""SURF's key points: maxima, over position and scale, of a Hessian approximated by boxes.

Why not a library: OpenCV's SURF is in none of its published wheels, and mahotas' computes octaves
beyond the first over a needlessly small part of the image and refines maxima with a wrong sign and
axis (see `find_points`). The boxes are those of mahotas, whose maps of determinants these equal;
`scripts/bench/bench_bovw.py` measures the ratio.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from featx._imports import compiled, load_opencv

Doubles = npt.NDArray[np.float64]

_N_OCTAVES = 4
_N_SCALES = 6
_SCALE_PER_LOBE = 0.4
"""A lobe of 3 px, in a filter of 9 px, stands for a scale of 1.2 px."""

_LOBE_WEIGHT = 0.36
"""Weight of the mixed derivative: 0.6 squared, boxes for Gaussians."""


def find_points(gray: npt.NDArray[np.uint8], threshold: float, max_points: int) -> Doubles:
    """Key points of an image, strongest first.

    Parameters
    ----------
    gray : ndarray of shape (h, w), uint8
    threshold : float
        Least determinant of the Hessian, for gray levels from 0 to 255.
    max_points : int

    Returns
    -------
    ndarray of shape (k, 4), float64
        y and x in pixels, scale in pixels, determinant.

    Notes
    -----
    Departs from `mahotas.features.surf.interest_points`: octaves beyond the first reach as
    near to the border as their filters allow (there the margin of the n-th octave is ``2 ** n``
    times as wide, so that images of 320 px have hardly any points beyond the first), and the
    fit of a parabola to each maximum takes its steps with their right sign and axis.

    References
    ----------
    .. [1] Bay, Ess, Tuytelaars and Van Gool, "Speeded-Up Robust Features (SURF)", CVIU 110
       (2008) 346-359.

    Examples
    --------
    >>> find_points(np.zeros((64, 64), np.uint8), threshold=0.1, max_points=10).shape
    (0, 4)
    """
    octaves = [np.empty((0, 4))]
    for octave in range(_N_OCTAVES):
        margin = _octave_margin(octave)
        # Each octave doubles the steps between samples and between filter sizes, on the same
        # image: a box of any size costs the same.
        maps = _hessian_maps(gray, octave)
        if min(maps.shape[1:]) < 3:
            break
        points = _refine_maxima(maps, threshold)
        # From samples of the octave to pixels, and from filter sizes to scales in pixels.
        points[:, :2] = points[:, :2] * 2**octave + margin
        points[:, 2] = _SCALE_PER_LOBE * (2 ** (octave + 1) * (points[:, 2] + 1) + 1)
        octaves.append(points)
    points = np.concatenate(octaves)
    # Strongest first; a stable sort keeps ties in order of octave, scale and position.
    return points[np.argsort(-points[:, 3], kind="stable")][:max_points]


def _hessian_maps(gray: npt.NDArray[np.uint8], octave: int) -> Doubles:
    """Determinant of the Hessian at each scale of an octave, zero where it is negative.

    Parameters
    ----------
    gray : ndarray of shape (h, w), uint8
    octave : int
        From 0; pixels are sampled in steps of ``2 ** octave``.

    Returns
    -------
    ndarray of shape (6, n_rows, n_columns), float64
        From `_octave_margin` pixels after the border to as many before it; may be empty.
    """
    step, margin = 2**octave, _octave_margin(octave)
    shape = [max(0, -(-(side - 2 * margin) // step)) for side in gray.shape]
    maps = np.zeros((_N_SCALES, *shape))
    if maps.size:
        _fill_maps(_phases(load_opencv().integral(gray), step), step, margin, maps)
    return maps


def _octave_margin(octave: int) -> int:
    """Margin in pixels that the largest filter of an octave needs, plus one step."""
    return 3 * _lobe(octave, _N_SCALES - 1) // 2 + 1 + 2**octave


def _lobe(octave: int, scale: int) -> int:
    return 2 ** (octave + 1) * (scale + 1) + 1


def _phases(sums: npt.NDArray[Any], step: int) -> Doubles:
    """Columns of a summed-area table grouped by remainder, so that strided reads are contiguous."""
    height, width = sums.shape
    n_columns = -(-width // step)
    padded = np.zeros((height, n_columns * step))
    padded[:, :width] = sums
    return np.ascontiguousarray(padded.reshape(height, n_columns, step).transpose(2, 0, 1))


@compiled()
def _fill_maps(phases: Any, step: int, margin: int, maps: Any) -> None:
    n_scales, n_rows, n_columns = maps.shape
    along_x, along_y, mixed = np.empty(n_columns), np.empty(n_columns), np.empty(n_columns)
    for scale in range(n_scales):
        lobe = 2 * step * (scale + 1) + 1
        long, offset = 2 * lobe - 1, lobe // 2 + 1
        per_area = 1.0 / (9.0 * lobe * lobe)
        for row in range(n_rows):
            y, x = margin + row * step, margin
            along_x[:], along_y[:], mixed[:] = 0, 0, 0
            # Second derivative along x: lobes of weight 1, -2, 1, as one wide box minus three
            # times the middle one; along y transposed. Mixed derivative: four boxes.
            _add_boxes(phases, y, x, long, 3 * lobe, 1.0, along_x)
            _add_boxes(phases, y, x, long, lobe, -3.0, along_x)
            _add_boxes(phases, y, x, 3 * lobe, long, 1.0, along_y)
            _add_boxes(phases, y, x, lobe, long, -3.0, along_y)
            _add_boxes(phases, y - offset, x + offset, lobe, lobe, 1.0, mixed)
            _add_boxes(phases, y + offset, x - offset, lobe, lobe, 1.0, mixed)
            _add_boxes(phases, y + offset, x + offset, lobe, lobe, -1.0, mixed)
            _add_boxes(phases, y - offset, x - offset, lobe, lobe, -1.0, mixed)
            for column in range(n_columns):
                # Divided by the area of the filter, so that determinants compare across scales.
                dxy = mixed[column] * per_area
                value = (along_x[column] * per_area) * (along_y[column] * per_area)
                maps[scale, row, column] = max(value - _LOBE_WEIGHT * dxy * dxy, 0.0)


@compiled()
def _add_boxes(
    phases: Any, y: int, x: int, height: int, width: int, weight: float, out: Any
) -> None:
    """Add the sums over boxes around (y, x), (y, x + step), and so on."""
    step = phases.shape[0]
    top, left = y - height // 2, x - width // 2
    bottom, right = top + height, left + width
    # A box sum is four entries of the summed-area table: d - b - (c - a).
    a = phases[left % step, top, left // step :]
    b = phases[left % step, bottom, left // step :]
    c = phases[right % step, top, right // step :]
    d = phases[right % step, bottom, right // step :]
    for column in range(len(out)):
        out[column] += weight * ((d[column] - b[column]) - (c[column] - a[column]))


@compiled()
def _refine_maxima(maps: Any, threshold: float) -> Any:
    """Maxima over 26 neighbors as (row, column, scale, value), refined between the samples."""
    points = np.empty((maps[0].size, 4))
    n = 0
    for scale in range(1, maps.shape[0] - 1):
        for row in range(1, maps.shape[1] - 1):
            for column in range(1, maps.shape[2] - 1):
                value = maps[scale, row, column]
                if value > threshold and _is_maximum(maps, scale, row, column):
                    ds, dy, dx = _step_to_peak(maps, scale, row, column)
                    # A peak nearer to another sample belongs to that one, or to none.
                    if max(abs(ds), abs(dy), abs(dx)) < 0.5 and n < len(points):
                        points[n, 0], points[n, 1] = row + dy, column + dx
                        points[n, 2], points[n, 3] = scale + ds, value
                        n += 1
    return points[:n].copy()


@compiled()
def _is_maximum(maps: Any, scale: int, row: int, column: int) -> bool:
    """Whether no neighbor is larger and no earlier neighbor equal."""
    value = maps[scale, row, column]
    is_before = True
    for s in range(scale - 1, scale + 2):
        for r in range(row - 1, row + 2):
            for c in range(column - 1, column + 2):
                if s == scale and r == row and c == column:
                    is_before = False
                elif maps[s, r, c] > value or (is_before and maps[s, r, c] == value):
                    return False
    return True


@compiled()
def _step_to_peak(maps: Any, s: int, r: int, c: int) -> Any:
    """Step (scale, row, column) to the peak of a parabola through the neighbors; 1s if none."""
    m, twice = maps, 2 * maps[s, r, c]
    # Gradient and Hessian by central differences; Newton's step leads to the parabola's peak.
    gs = (m[s + 1, r, c] - m[s - 1, r, c]) / 2
    gy = (m[s, r + 1, c] - m[s, r - 1, c]) / 2
    gx = (m[s, r, c + 1] - m[s, r, c - 1]) / 2
    ss = m[s + 1, r, c] + m[s - 1, r, c] - twice
    yy = m[s, r + 1, c] + m[s, r - 1, c] - twice
    xx = m[s, r, c + 1] + m[s, r, c - 1] - twice
    sy = (m[s + 1, r + 1, c] + m[s - 1, r - 1, c] - m[s + 1, r - 1, c] - m[s - 1, r + 1, c]) / 4
    sx = (m[s + 1, r, c + 1] + m[s - 1, r, c - 1] - m[s + 1, r, c - 1] - m[s - 1, r, c + 1]) / 4
    yx = (m[s, r + 1, c + 1] + m[s, r - 1, c - 1] - m[s, r + 1, c - 1] - m[s, r - 1, c + 1]) / 4
    # Cramer's rule on [[ss, sy, sx], [sy, yy, yx], [sx, yx, xx]] @ step = -[gs, gy, gx].
    c_ss, c_sy, c_sx = yy * xx - yx * yx, yx * sx - sy * xx, sy * yx - yy * sx
    c_yy, c_yx, c_xx = ss * xx - sx * sx, sy * sx - ss * yx, ss * yy - sy * sy
    determinant = ss * c_ss + sy * c_sy + sx * c_sx
    if determinant == 0:
        return 1.0, 1.0, 1.0
    ds = -(c_ss * gs + c_sy * gy + c_sx * gx) / determinant
    dy = -(c_sy * gs + c_yy * gy + c_yx * gx) / determinant
    dx = -(c_sx * gs + c_yx * gy + c_xx * gx) / determinant
    return ds, dy, dx
