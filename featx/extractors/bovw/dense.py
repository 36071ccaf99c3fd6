"""Local descriptors on a dense grid: SIFT and SURF at several scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from featx._imports import load_opencv
from featx.extractors.bovw.descriptors import Gray, LocalDescriptors
from featx.extractors.bovw.patches import (
    N_BINS,
    bin_weights,
    haar_maps,
    orientation_maps,
    pool_patches,
    to_bytes,
)

Maps: TypeAlias = npt.NDArray[np.float32]

_MIN_CONTRAST = 0.25
"""Least mean gradient of a patch, in gray levels over two pixels; flatter ones are omitted."""

_SURF_WINDOW = 20
"""Side of the square that a SURF descriptor covers, in scales."""


class _GridDescriptors(LocalDescriptors):
    """Base class of descriptors of patches of several sizes at the points of a grid.

    Parameters
    ----------
    image_size : int, default=320
        Longest side in pixels to which images are resized; smaller ones are enlarged.
    n_jobs : int, optional
        Number of joblib jobs.
    step_px : int, default=8
        Distance between the grid's points in pixels.
    patch_px : sequence of int, default=(16, 24, 32)
        Side lengths in pixels of the patches at each point.
    """

    def __init__(
        self,
        image_size: int = 320,
        n_jobs: int | None = None,
        step_px: int = 8,
        patch_px: Sequence[int] = (16, 24, 32),
    ) -> None:
        super().__init__(image_size, n_jobs)
        self.step_px = step_px
        self.patch_px = tuple(patch_px)

    def _parameters(self) -> dict[str, Any]:
        grid = {"step_px": self.step_px, "patch_px": list(self.patch_px)}
        return super()._parameters() | grid

    def _find(self, gray: Gray) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        scales = [self._find_at(gray, patch_px) for patch_px in self.patch_px]
        points, values = zip(*scales)
        return np.concatenate(points), np.concatenate(values)

    def _find_at(self, gray: Gray, patch_px: float) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Points ``(k, 2)`` and descriptors ``(k, n_values)`` of one scale."""
        points = _grid_points(gray.shape, self.step_px, patch_px)
        columns, rows = (np.unique(axis).astype(np.intp) for axis in points.T)
        weights = bin_weights(patch_px / N_BINS)
        sums = pool_patches(self._map(gray, patch_px), rows, columns, weights)
        has_contrast = self._strength(sums) > _MIN_CONTRAST * weights.sum() ** 2
        return points[has_contrast], self._finish(sums[has_contrast])

    def _map(self, gray: Gray, patch_px: float) -> Maps:
        """Maps ``(h, w, m)`` that are summed in the bins of patches."""
        raise NotImplementedError

    def _finish(self, sums: Maps) -> npt.NDArray[Any]:
        """Descriptors ``(k, n_values)`` from the sums of patches, no patch all zero."""
        raise NotImplementedError

    def _strength(self, sums: Maps) -> Maps:
        """Contrast of each patch, in gray levels times pixels: (k,)."""
        raise NotImplementedError


class DenseSiftDescriptors(_GridDescriptors):
    """SIFT descriptors [1]_ of upright patches on a grid: 128 integers from 0 to 255 each.

    Notes
    -----
    Departs from [1]_: points are those of the grid, patches are not rotated, and patches
    with hardly any contrast are omitted. The image is blurred to each patch's scale (a bin is 3
    standard deviations wide). The Gaussian window and the interpolation are products of functions
    of x and y, so that sums along x serve all patches of a column.

    References
    ----------
    .. [1] Lowe, "Distinctive Image Features from Scale-Invariant Keypoints", IJCV 60 (2004)
       91-110.

    Examples
    --------
    >>> ramp = np.tile(np.arange(64, dtype=np.uint8), (64, 1))
    >>> DenseSiftDescriptors(patch_px=(16,))._describe(ramp).shape
    (49, 132)
    """

    name = "dense_sift"
    n_values = 128
    dtype = "u1"
    is_histogram = True

    def _map(self, gray: Gray, patch_px: float) -> Maps:
        return orientation_maps(_blur(gray, patch_px / N_BINS))

    def _finish(self, sums: Maps) -> npt.NDArray[Any]:
        return to_bytes(sums)

    def _strength(self, sums: Maps) -> Maps:
        return sums.sum(axis=1)


class DenseSurfDescriptors(_GridDescriptors):
    """SURF descriptors [1]_ of upright patches on a grid: 64 values each, in half precision.

    Notes
    -----
    Departs from [1]_: points are those of the grid, patches are not rotated, patches with
    hardly any contrast are omitted, wavelets have a whole number of pixels, and a pixel
    contributes to neighboring subregions by interpolation, as in SIFT.

    References
    ----------
    .. [1] Bay, Ess, Tuytelaars and Van Gool, "Speeded-Up Robust Features (SURF)", CVIU 110
       (2008) 346-359.

    Examples
    --------
    >>> ramp = np.tile(np.arange(64, dtype=np.uint8), (64, 1))
    >>> DenseSurfDescriptors(patch_px=(16,))._describe(ramp).shape
    (49, 132)
    """

    name = "dense_surf"
    n_values = 64
    dtype = "<f2"

    def _map(self, gray: Gray, patch_px: float) -> Maps:
        return haar_maps(gray, 2 * max(1, round(patch_px / _SURF_WINDOW)))

    def _finish(self, sums: Maps) -> npt.NDArray[Any]:
        return sums / np.sqrt((sums**2).sum(axis=1, keepdims=True))

    def _strength(self, sums: Maps) -> Maps:
        return sums[:, 1::2].sum(axis=1)


def _grid_points(shape: tuple[int, ...], step_px: int, patch_px: float) -> npt.NDArray[np.float64]:
    """Centers ``(k, 2)``, as x and y, of the patches of a grid within the image.

    Examples
    --------
    >>> _grid_points((20, 32), step_px=8, patch_px=16).tolist()
    [[8.0, 10.0], [16.0, 10.0], [24.0, 10.0]]
    """
    axes = [_centers(side, step_px, patch_px) for side in shape]
    y, x = np.meshgrid(*axes, indexing="ij")
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)


def _centers(side: int, step_px: int, patch_px: float) -> npt.NDArray[np.intp]:
    """Centers along one side: as many as fit, with the same margin at both ends."""
    n = max(0, int((side - patch_px) // step_px) + 1)
    margin = (side - (n - 1) * step_px) // 2
    return margin + step_px * np.arange(n)


def _blur(gray: Gray, bin_px: float) -> npt.NDArray[np.float32]:
    """Image blurred to three standard deviations per bin, given a blur of 0.5 px in the image."""
    sigma = np.sqrt(max((bin_px / 3) ** 2 - 0.25, 0.01))
    return np.asarray(load_opencv().GaussianBlur(gray.astype(np.float32), (0, 0), float(sigma)))
