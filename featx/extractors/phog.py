"""Pyramid of histograms of oriented gradients along edges."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

import numpy as np
import numpy.typing as npt
from sklearn.utils._param_validation import Interval

from featx.data.images import Pixels, gray, resize, size_pair
from featx.extractors.base import CommonParameters, Extractor
from featx.streaming.rows import Matrix


class PHOG(Extractor):
    """Orientations of edges, counted in ever smaller cells: the shape and its layout.

    Parameters
    ----------
    image_size : int or tuple of int, default=128
        Height and width in px to which images are resized.
    levels : int, default=3
        Levels of the pyramid below the whole image; level ``k`` has ``4**k`` cells.
    orientations : int, default=20
        Bins of orientation, from 0 to 180 degrees.
    image_shape, value_range, window, pages, bands, max_pixels, on_error, n_jobs, store
        As in `featx.extractors.base.Extractor`.

    Raises
    ------
    ImageError
        If an image cannot be decoded.
    ValueError
        If the image is too small for the pyramid.

    Notes
    -----
    Edges are those of ``skimage.feature.canny`` with a smoothing of 1 px; each edge pixel votes
    with the magnitude of its Sobel gradient for the bin of its orientation. A row sums to 1, or is
    zero if there is no edge. Departs from [1]_ in that votes are not interpolated between bins.

    References
    ----------
    .. [1] Bosch, Zisserman and Munoz, "Representing Shape with a Spatial Pyramid Kernel", CIVR
       (2007) 401-408.

    Examples
    --------
    >>> import numpy as np
    >>> PHOG(64, levels=1).fit_transform(np.zeros((2, 64, 64), np.uint8)).shape
    (2, 100)
    """

    spec_name: ClassVar[str] = "phog"
    positional: ClassVar[tuple[str, ...]] = ("image_size",)
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Extractor._parameter_constraints,
        "image_size": [Interval(numbers.Integral, 1, None, closed="left"), tuple, list],
        "levels": [Interval(numbers.Integral, 0, 6, closed="both")],
        "orientations": [Interval(numbers.Integral, 1, 360, closed="both")],
    }

    def __init__(
        self,
        image_size: int | tuple[int, int] = 128,
        *,
        levels: int = 3,
        orientations: int = 20,
        **common: Unpack[CommonParameters],
    ) -> None:
        super().__init__(**common)
        self.image_size = image_size
        self.levels = levels
        self.orientations = orientations

    @property
    def _n_features_out(self) -> int:
        return int(self.orientations) * sum(4**level for level in range(self.levels + 1))

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return names such as ``level1_cell0_1_bin5``: row and column of the cell, and the bin."""
        names = [
            f"level{level}_cell{y}_{x}_bin{i}"
            for level in range(self.levels + 1)
            for y in range(2**level)
            for x in range(2**level)
            for i in range(self.orientations)
        ]
        return np.array(names, dtype=object)

    def _check_parameters(self) -> None:
        height, width = size_pair(self.image_size)
        least_px = max(3, 2**self.levels)
        if min(height, width) < least_px:
            raise ValueError(
                f"PHOG needs images of at least {least_px}x{least_px} px for levels={self.levels}; "
                f"got image_size={height}x{width}."
            )

    def _prepare(self, pixels: Pixels) -> Pixels:
        return resize(pixels, size_pair(self.image_size))

    def _extract(self, batch: Sequence[Pixels]) -> Matrix:
        return np.stack([self._describe(pixels) for pixels in batch])

    def _describe(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        from scipy import ndimage
        from skimage import feature

        image = gray(pixels).reshape(pixels.shape[:2]).astype(np.float64) / 255
        down, right = ndimage.sobel(image, 0), ndimage.sobel(image, 1)
        canny: Any = feature.canny
        votes = np.hypot(down, right) * canny(image, sigma=1.0)
        # A direction and its opposite are one orientation.
        turns = np.arctan2(down, right) / np.pi % 1
        bins = np.minimum((turns * self.orientations).astype(np.intp), self.orientations - 1)
        finest = self._count(bins, votes, 2**self.levels)
        pyramid = [finest]
        for _ in range(self.levels):
            cells = pyramid[0]
            n = cells.shape[0] // 2
            # Four cells make one of the level above.
            pyramid.insert(0, cells.reshape(n, 2, n, 2, -1).sum((1, 3)))
        row = np.concatenate([cells.ravel() for cells in pyramid])
        total = row.sum()
        return (row / total if total else row).astype(np.float32)

    def _count(
        self, bins: npt.NDArray[np.intp], votes: npt.NDArray[np.float64], n_cells: int
    ) -> npt.NDArray[Any]:
        """Votes for each bin in each cell: (n_cells, n_cells, orientations)."""
        height, width = bins.shape
        rows = np.arange(height) * n_cells // height
        columns = np.arange(width) * n_cells // width
        index = (rows[:, None] * n_cells + columns) * self.orientations + bins
        counts: npt.NDArray[Any] = np.bincount(
            index.ravel(), votes.ravel(), n_cells**2 * self.orientations
        )
        return counts.reshape(n_cells, n_cells, self.orientations)
