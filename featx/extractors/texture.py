"""Texture features: local binary patterns and gray-level co-occurrence."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

import numpy as np
import numpy.typing as npt
from sklearn.utils._param_validation import Interval

from featx._lists import as_tuple
from featx.data.images import Pixels, gray, resize, size_pair
from featx.extractors.base import CommonParameters, Extractor
from featx.streaming.rows import Matrix

_PROPERTIES = ("contrast", "dissimilarity", "homogeneity", "energy", "correlation")


class LBP(Extractor):
    """Histograms of uniform local binary patterns at several radii.

    A pixel's pattern says which of the points on a circle around it are at least as bright. The
    uniform patterns, with at most two changes between brighter and darker along the circle, are
    counted by their number of brighter points; all others are counted together.

    Parameters
    ----------
    image_size : int or tuple of int, default=128
        Height and width in px to which images are resized.
    radii : tuple of int, default=(1, 2, 3)
        Radii of the circles in px, with eight points for each px of radius.
    grid : int, default=1
        Histograms are computed for each cell of a grid of `grid` x `grid` cells.
    image_shape, value_range, window, pages, bands, max_pixels, on_error, n_jobs, store
        As in `featx.extractors.base.Extractor`.

    Raises
    ------
    ImageError
        If an image cannot be decoded.
    ValueError
        If the image is too small for the circles, or for the grid.

    Notes
    -----
    Each histogram sums to 1 and has ``8 * radius + 2`` bins. Patterns equal
    ``skimage.feature.local_binary_pattern(gray, 8 * radius, radius, "uniform")``, where the gray
    image has 16 bits, so that images deeper than 8 bits keep their depth. They do not change with
    brightness and contrast, or with rotations by a multiple of ``45 / radius`` degrees.

    References
    ----------
    .. [1] Ojala, Pietikainen and Maenpaa, "Multiresolution Gray-Scale and Rotation Invariant
       Texture Classification with Local Binary Patterns", PAMI 24 (2002) 971-987.

    Examples
    --------
    >>> import numpy as np
    >>> LBP(radii=(1,)).fit_transform(np.zeros((2, 32, 32), np.uint8)).shape
    (2, 10)
    """

    spec_name: ClassVar[str] = "lbp"
    positional: ClassVar[tuple[str, ...]] = ("image_size",)
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Extractor._parameter_constraints,
        "image_size": [Interval(numbers.Integral, 1, None, closed="left"), tuple, list],
        "radii": [tuple, list, Interval(numbers.Integral, 1, None, closed="left")],
        "grid": [Interval(numbers.Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        image_size: int | tuple[int, int] = 128,
        *,
        radii: tuple[int, ...] | int = (1, 2, 3),
        grid: int = 1,
        **common: Unpack[CommonParameters],
    ) -> None:
        super().__init__(**common)
        self.image_size = image_size
        self.radii = radii
        self.grid = grid

    @property
    def _n_features_out(self) -> int:
        return int(self.grid) ** 2 * sum(8 * radius + 2 for radius in as_tuple(self.radii))

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return names such as ``cell0_1_radius2_bin3``: row and column of the cell, and the bin.

        The bins count the brighter points of uniform patterns; the last one is for all others.
        """
        cells = [(y, x) for y in range(self.grid) for x in range(self.grid)]
        names = [
            f"cell{y}_{x}_radius{radius}_bin{i}"
            for y, x in cells
            for radius in as_tuple(self.radii)
            for i in range(8 * radius + 2)
        ]
        return np.array(names, dtype=object)

    def _check_parameters(self) -> None:
        radii = as_tuple(self.radii)
        if not radii or min(map(_least, radii)) < 1:
            raise ValueError(f"LBP: radii={self.radii!r}: expected integers of 1 or more.")
        least_px = max(2 * max(radii) + 1, self.grid)
        if min(size_pair(self.image_size)) < least_px:
            height, width = size_pair(self.image_size)
            raise ValueError(
                f"LBP needs images of at least {least_px}x{least_px} px for radii={radii}, "
                f"grid={self.grid}; got image_size={height}x{width}."
            )

    def _prepare(self, pixels: Pixels) -> Pixels:
        return resize(pixels, size_pair(self.image_size))

    def _extract(self, batch: Sequence[Pixels]) -> Matrix:
        return np.stack([self._describe(pixels) for pixels in batch])

    def _describe(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        from skimage import feature

        find_patterns: Any = feature.local_binary_pattern

        image = _sixteen_bits(pixels)
        radii = as_tuple(self.radii)
        patterns = [find_patterns(image, 8 * r, r, "uniform") for r in radii]
        rows, columns = (np.array_split(np.arange(n), self.grid) for n in image.shape)
        histograms = [
            np.bincount(codes[y[0] : y[-1] + 1, x[0] : x[-1] + 1].ravel(), minlength=8 * r + 2)
            / (len(y) * len(x))
            for y in rows
            for x in columns
            for r, codes in zip(radii, [pattern.astype(np.intp) for pattern in patterns])
        ]
        return np.concatenate(histograms).astype(np.float32)


class GLCM(Extractor):
    """Haralick's texture properties of gray-level co-occurrence matrices.

    A co-occurrence matrix counts how often two gray levels lie at a distance in a direction. Of
    each of five properties of it, the mean and the range over four directions are features.

    Parameters
    ----------
    image_size : int or tuple of int, default=128
        Height and width in px to which images are resized.
    distances : tuple of int, default=(1, 2, 4)
        Distances in px.
    levels : int, default=32
        Number of gray levels, of equal width, between black and white.
    image_shape, value_range, window, pages, bands, max_pixels, on_error, n_jobs, store
        As in `featx.extractors.base.Extractor`.

    Raises
    ------
    ImageError
        If an image cannot be decoded.
    ValueError
        If the image is not larger than the largest distance.

    Notes
    -----
    Matrices are symmetric and sum to 1; they and their contrast, dissimilarity, homogeneity, energy
    and correlation equal ``skimage.feature.graycomatrix`` and ``graycoprops``. Directions are 0,
    45, 90 and 135 degrees. Departs from [1]_ in the choice of five of its fourteen properties.

    References
    ----------
    .. [1] Haralick, Shanmugam and Dinstein, "Textural Features for Image Classification", IEEE
       Transactions on Systems, Man, and Cybernetics 3 (1973) 610-621.

    Examples
    --------
    >>> import numpy as np
    >>> GLCM(distances=(1,)).fit_transform(np.zeros((2, 32, 32), np.uint8)).round(2)
    array([[0., 0., 0., 0., 1., 0., 1., 0., 1., 0.],
           [0., 0., 0., 0., 1., 0., 1., 0., 1., 0.]], dtype=float32)
    """

    spec_name: ClassVar[str] = "glcm"
    positional: ClassVar[tuple[str, ...]] = ("image_size",)
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Extractor._parameter_constraints,
        "image_size": [Interval(numbers.Integral, 1, None, closed="left"), tuple, list],
        "distances": [tuple, list, Interval(numbers.Integral, 1, None, closed="left")],
        "levels": [Interval(numbers.Integral, 2, 256, closed="both")],
    }

    def __init__(
        self,
        image_size: int | tuple[int, int] = 128,
        *,
        distances: tuple[int, ...] | int = (1, 2, 4),
        levels: int = 32,
        **common: Unpack[CommonParameters],
    ) -> None:
        super().__init__(**common)
        self.image_size = image_size
        self.distances = distances
        self.levels = levels

    @property
    def _n_features_out(self) -> int:
        return 2 * len(_PROPERTIES) * len(as_tuple(self.distances))

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return names such as ``contrast_4px_range``."""
        names = [
            f"{name}_{distance}px_{statistic}"
            for name in _PROPERTIES
            for distance in as_tuple(self.distances)
            for statistic in ("mean", "range")
        ]
        return np.array(names, dtype=object)

    def _check_parameters(self) -> None:
        distances = as_tuple(self.distances)
        if not distances or min(map(_least, distances)) < 1:
            raise ValueError(f"GLCM: distances={self.distances!r}: expected integers of 1 or more.")
        height, width = size_pair(self.image_size)
        if min(height, width) <= max(distances):
            least_px = max(distances) + 1
            raise ValueError(
                f"GLCM needs images of at least {least_px}x{least_px} px for "
                f"distances={distances}; got image_size={height}x{width}."
            )

    def _prepare(self, pixels: Pixels) -> Pixels:
        return resize(pixels, size_pair(self.image_size))

    def _extract(self, batch: Sequence[Pixels]) -> Matrix:
        return np.stack([self._describe(pixels) for pixels in batch])

    def _describe(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        from skimage import feature

        skimage_feature: Any = feature  # Its functions are not annotated.

        image = (_sixteen_bits(pixels).astype(np.int64) * self.levels >> 16).astype(np.uint8)
        angles = np.arange(4) * np.pi / 4
        matrices = skimage_feature.graycomatrix(
            image, as_tuple(self.distances), angles, self.levels, symmetric=True, normed=True
        )
        values = np.stack([skimage_feature.graycoprops(matrices, name) for name in _PROPERTIES])
        statistics = np.stack([values.mean(-1), np.ptp(values, -1)], -1)
        return statistics.ravel().astype(np.float32)  # (properties, distances, statistics)


def _least(value: Any) -> int:
    """A number, or 0 for what is not an integer."""
    return int(value) if isinstance(value, numbers.Integral) else 0


def _sixteen_bits(pixels: Pixels) -> npt.NDArray[np.uint16]:
    """Gray image with 16 bits, from 0 to 65,535."""
    return np.rint(gray(pixels).reshape(pixels.shape[:2]) * 257.0).astype(np.uint16)
