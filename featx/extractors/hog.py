"""Histograms of oriented gradients (HOG): as scikit-image computes them, but compiled."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar, Unpack

import numpy as np
import numpy.typing as npt
from sklearn.utils._param_validation import Interval, StrOptions

from featx.data.images import (
    Pixels,
    resize,
    size_pair,
)
from featx.extractors.base import CommonParameters, Extractor
from featx.streaming.rows import Matrix

_BLOCK_NORMS = ("L1", "L1-sqrt", "L2", "L2-Hys")


class HOG(Extractor):
    """Histograms of oriented gradients (HOG) [1]_ of images resized to one size.

    The classic hand-crafted features: position and orientation of edges, largely independent of
    color and contrast.

    Parameters
    ----------
    image_size : int or tuple of int, default=128
        Height and width in px to which images are resized; one number means a square.
    cell_px : int, default=8
        Side length of a cell in px. Each cell has one histogram.
    block_cells : int, default=2
        Side length of a block in cells. Blocks are normalized as a whole and overlap: they move by
        one cell.
    orientations : int, default=9
        Number of histogram bins between 0 and 180 degrees.
    block_norm : {"L1", "L1-sqrt", "L2", "L2-Hys"}, default="L2-Hys"
        Block normalization; L2-Hys is L2, clipping at 0.2, and L2 again.
    transform_sqrt : bool, default=False
        Whether to take the square root of intensities first, which reduces the effect of shadows.
    color : bool, default=True
        Use the gradient of the strongest channel at each pixel; False uses that of the
        luminance ``0.2125 red + 0.7154 green + 0.0721 blue``.
    image_shape, value_range, window, pages, bands, max_pixels, on_error, n_jobs, store
        As in `featx.extractors.base.Extractor`.

    Attributes
    ----------
    n_features_in_ : int
        Length of a flattened image; set only when `fit` got a 2-D array.

    Raises
    ------
    ImageError
        If an image cannot be decoded.
    ValueError
        If a block does not fit into `image_size`.

    Notes
    -----
    Intensities range from 0 to 255, and are not rounded if images are deeper than 8 bits. Rows
    equal ``skimage.feature.hog(image, orientations, (cell_px, cell_px), (block_cells,
    block_cells), channel_axis=-1)`` on the resized image or, for ``color=False``,
    ``skimage.feature.hog(featx.data.images.gray(image), ...)``. That gray image is ``255 *
    skimage.color.rgb2gray(image)`` up to rounding, which only matters for gradients exactly
    between two bins (as there are at 45 degrees with 4, 8 or 12 orientations).

    Departs from [1]_ as scikit-image does: there is no Gaussian window within a block and no
    interpolation of votes between cells or bins, pixels on the right and at the bottom that do not
    fill a cell are ignored, and pixels at the border have no gradient across it.

    References
    ----------
    .. [1] Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection",
       CVPR (2005) 886-893.

    Examples
    --------
    >>> import numpy as np
    >>> HOG(image_size=32).fit_transform(np.zeros((2, 48, 48, 3), np.uint8)).shape
    (2, 324)
    """

    spec_name: ClassVar[str] = "hog"
    positional: ClassVar[tuple[str, ...]] = ("image_size",)
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Extractor._parameter_constraints,
        "image_size": [Interval(numbers.Integral, 1, None, closed="left"), tuple, list],
        "cell_px": [Interval(numbers.Integral, 1, None, closed="left")],
        "block_cells": [Interval(numbers.Integral, 1, None, closed="left")],
        "orientations": [Interval(numbers.Integral, 1, 255, closed="both")],
        "block_norm": [StrOptions(set(_BLOCK_NORMS))],
        "transform_sqrt": ["boolean"],
        "color": ["boolean"],
    }

    def __init__(
        self,
        image_size: int | tuple[int, int] = 128,
        *,
        cell_px: int = 8,
        block_cells: int = 2,
        orientations: int = 9,
        block_norm: str = "L2-Hys",
        transform_sqrt: bool = False,
        color: bool = True,
        **common: Unpack[CommonParameters],
    ) -> None:
        super().__init__(**common)
        self.image_size = image_size
        self.cell_px = cell_px
        self.block_cells = block_cells
        self.orientations = orientations
        self.block_norm = block_norm
        self.transform_sqrt = transform_sqrt
        self.color = color

    @property
    def _n_features_out(self) -> int:
        n_down, n_right = self._n_blocks()
        return n_down * n_right * self.block_cells**2 * self.orientations

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return names such as ``block0_1_cell1_0_bin5``: row and column of each, and the bin."""
        cells = range(self.block_cells)
        n_down, n_right = self._n_blocks()
        names = [
            f"block{y}_{x}_cell{v}_{u}_bin{i}"
            for y in range(n_down)
            for x in range(n_right)
            for v in cells
            for u in cells
            for i in range(self.orientations)
        ]
        return np.array(names, dtype=object)

    def _n_blocks(self) -> tuple[int, int]:
        """Number of blocks down and to the right."""
        height, width = size_pair(self.image_size)
        return (
            max(height // self.cell_px - self.block_cells + 1, 0),
            max(width // self.cell_px - self.block_cells + 1, 0),
        )

    def _check_parameters(self) -> None:
        height, width = size_pair(self.image_size)
        least_px = self.cell_px * self.block_cells
        if min(height, width) < least_px:
            raise ValueError(
                f"HOG needs images of at least {least_px}x{least_px} px for "
                f"cell_px={self.cell_px}, block_cells={self.block_cells}; got "
                f"image_size={height}x{width}. Raise image_size or lower cell_px."
            )

    def _prepare(self, pixels: Pixels) -> Pixels:
        return resize(pixels, size_pair(self.image_size))

    def _extract(self, batch: Sequence[Pixels]) -> Matrix:
        from featx.extractors import hog_kernel as kernel

        rows = np.empty((len(batch), self._n_features_out), np.float32)
        shape = self.cell_px, self.block_cells, self.orientations
        norm = _BLOCK_NORMS.index(self.block_norm)
        is_color, is_root = bool(self.color), bool(self.transform_sqrt)
        height, width = batch[0].shape[:2]
        down, right = np.empty((2, height, width))
        for pixels, row in zip(batch, rows):
            # Writable, since numba would compile separately for read-only arrays.
            image = np.require(pixels, requirements=["C", "W"]).reshape(height, 3 * width)
            if is_color and not is_root and image.dtype == np.uint8:
                kernel.hog_of_integers(image, _bin_table(self.orientations), *shape, norm, row)
                continue
            kernel.gradients_of(image, is_color, is_root, down, right)
            bins = kernel.bins_of(down, right, self.orientations)
            kernel.hog_of_gradients(down, right, bins, *shape, norm, row)
        return rows


@lru_cache(maxsize=8)
def _bin_table(orientations: int) -> npt.NDArray[np.uint8]:
    from featx.extractors.hog_kernel import bin_table

    return bin_table(orientations)
