"""Pillow's antialiased resize combined with a crop: the same pixels, bit for bit, but faster.

Only the pixels of the crop are computed, in 32-bit integers so that the compiler can vectorize.

References
----------
.. [1] Pillow, ``src/libImaging/Resample.c``: a separable filter, its width scaled by the
   reduction, in fixed point with 22 bits; first along rows, rounded, then along columns. Since
   version 13 in the reverse order if the height shrinks much more than the width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL

from featx._imports import compiled, load_opencv
from featx.data.images import Pixels

_PRECISION_BITS = 32 - 8 - 2
_HALF = 1 << (_PRECISION_BITS - 1)
_HAS_REVERSE_ORDER = int(PIL.__version__.partition(".")[0]) >= 13
_Taps = tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]


def resize_crop(
    pixels: Pixels, size: tuple[int, int], interpolation: str, window: tuple[slice, slice]
) -> Pixels:
    """Resize an image as Pillow does, and crop a window of the result.

    Parameters
    ----------
    pixels : ndarray of shape (h, w, 3), uint8
    size : tuple of int
        Height and width of the whole resized image.
    interpolation : {"bilinear", "bicubic", "lanczos"}
    window : tuple of slice
        Rows and columns of the resized image to compute.

    Returns
    -------
    ndarray of shape (h', w', 3), uint8

    Examples
    --------
    >>> ramp = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    >>> resize_crop(ramp, (2, 2), "bilinear", (slice(0, 1), slice(0, 2)))
    array([[[11, 12, 13],
            [16, 17, 18]]], dtype=uint8)
    """
    vertical = _crop_taps(_compute_taps(pixels.shape[0], size[0], interpolation), window[0])
    horizontal = _crop_taps(_compute_taps(pixels.shape[1], size[1], interpolation), window[1])
    keeps_height, keeps_width = pixels.shape[0] == size[0], pixels.shape[1] == size[1]
    # 1. Crop the input pixels that the window depends on.
    rows = window[0] if keeps_height else _support(vertical, pixels.shape[0])
    columns = window[1] if keeps_width else _support(horizontal, pixels.shape[1])
    part = pixels[rows, columns]
    # 2. Filter both axes in Pillow's order, rounding to uint8 in between.
    is_vertical_first = _is_vertical_first(pixels.shape[:2], size)
    if is_vertical_first:
        part = _filter_vertically(part, vertical)
    if not keeps_width:  # The rows are the columns of the transposed image.
        part = _transpose(_filter_vertically(_transpose(part), horizontal))
    is_done = keeps_height or is_vertical_first
    return np.ascontiguousarray(part) if is_done else _filter_vertically(part, vertical)


def _is_vertical_first(shape: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether Pillow filters along columns before rows."""
    height_removed, width_removed = shape[0] - size[0], shape[1] - size[1]
    return _HAS_REVERSE_ORDER and height_removed > max(0, 2 * width_removed)


def _crop_taps(taps: _Taps, window: slice) -> _Taps:
    """Taps of the output pixels in a window."""
    starts, weights = taps
    return starts[window], weights[window]


def _support(taps: _Taps, n_in: int) -> slice:
    """Input pixels that all taps together depend on."""
    starts, weights = taps
    return slice(int(starts[0]), min(int(starts[-1]) + weights.shape[1], n_in))


def _filter_vertically(pixels: Pixels, taps: _Taps) -> Pixels:
    """Image filtered along its columns: (h, w, 3) -> (n_out, w, 3)."""
    starts, weights = taps
    flat = np.ascontiguousarray(pixels).reshape(len(pixels), -1)
    return _filter_columns(flat, starts - starts[0], weights).reshape(len(starts), -1, 3)


def _transpose(pixels: Pixels) -> Pixels:
    """Image with rows and columns swapped: (h, w, 3) -> (w, h, 3)."""
    return load_opencv().transpose(np.ascontiguousarray(pixels))


@lru_cache(maxsize=256)
def _compute_taps(n_in: int, n_out: int, interpolation: str) -> _Taps:
    """Taps of a resampling filter: first input pixel and weights of each output pixel.

    Returns
    -------
    starts : ndarray of shape (n_out,), int64
    weights : ndarray of shape (n_out, n_taps), int32
        In fixed point with `_PRECISION_BITS`, padded with zeros.
    """
    kernel, support = _FILTERS[interpolation]
    scale = n_in / n_out
    stretch = max(scale, 1.0)
    # 1. Map the centers of the output pixels to the input. To avoid aliasing, the filter is
    #    stretched by the reduction.
    centers = (np.arange(n_out) + 0.5) * scale  # (n_out,)
    starts = np.maximum((centers - support * stretch + 0.5).astype(np.int64), 0)
    stops = np.minimum((centers + support * stretch + 0.5).astype(np.int64), n_in)
    # 2. Evaluate the kernel at the input pixels within its support.
    offsets = np.arange((stops - starts).max())  # (n_taps,)
    distances = (offsets + starts[:, None] - centers[:, None] + 0.5) * (1.0 / stretch)
    weights = np.where(offsets < (stops - starts)[:, None], kernel(distances), 0.0)
    # 3. Normalize. Summing in sequence rounds as Pillow does; NumPy's pairwise sum does not.
    totals = np.add.accumulate(weights, axis=1)[:, -1:]
    # 4. Round half away from zero to fixed point.
    fixed = weights / totals * (1 << _PRECISION_BITS)
    return starts, (fixed + np.copysign(0.5, fixed)).astype(np.int32)  # (n_out, n_taps)


def _bilinear(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.maximum(1.0 - np.abs(x), 0.0)


def _bicubic(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    a, x = -0.5, np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _lanczos(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.where((x >= -3.0) & (x < 3.0), np.sinc(x) * np.sinc(x / 3), 0.0)


_FILTERS: dict[str, tuple[Callable[[npt.NDArray[Any]], npt.NDArray[Any]], float]] = {
    "bilinear": (_bilinear, 1.0),
    "bicubic": (_bicubic, 2.0),
    "lanczos": (_lanczos, 3.0),
}


@compiled()
def _filter_columns(
    rows: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], weights: npt.NDArray[np.int32]
) -> npt.NDArray[np.uint8]:  # pragma: no cover
    """Filter each column: (h, w) -> (n_out, w); whole rows at a time, for vectorization."""
    height, width = rows.shape
    n_out, n_taps = weights.shape
    out = np.empty((n_out, width), np.uint8)
    sums = np.empty(width, np.int32)
    for y in range(n_out):
        sums[:] = _HALF
        for k in range(min(n_taps, height - starts[y])):
            row = rows[starts[y] + k]
            for x in range(width):
                sums[x] += weights[y, k] * np.int32(row[x])
        for x in range(width):
            out[y, x] = min(max(sums[x] >> _PRECISION_BITS, 0), 255)
    return out
