"""Color features: the controls that any other extractor has to beat."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

import numpy as np
import numpy.typing as npt
from sklearn.utils._param_validation import Interval

from featx.data.images import Pixels
from featx.extractors.base import CommonParameters, Extractor
from featx.streaming.rows import Matrix

_CHANNELS = ("red", "green", "blue")


class ColorHistogram(Extractor):
    """Per-channel color histograms.

    The simplest extractor, and a template for new ones.

    Parameters
    ----------
    n_bins : int, default=32
        Number of bins per channel, of equal width, for intensities from 0 to 255.
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

    Notes
    -----
    The histogram of each channel sums to 1. Departs from [1]_: channels are binned separately,
    which gives ``3 * n_bins`` columns rather than ``n_bins ** 3``.

    References
    ----------
    .. [1] Swain and Ballard, "Color Indexing", IJCV 7 (1991) 11-32.

    Examples
    --------
    >>> import numpy as np
    >>> ColorHistogram(n_bins=4).fit_transform(np.zeros((2, 8, 8, 3), np.uint8)).shape
    (2, 12)
    """

    spec_name: ClassVar[str] = "color"
    positional: ClassVar[tuple[str, ...]] = ("n_bins",)
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Extractor._parameter_constraints,
        "n_bins": [Interval(numbers.Integral, 1, 256, closed="both")],
    }

    def __init__(
        self,
        n_bins: int = 32,
        **common: Unpack[CommonParameters],
    ) -> None:
        super().__init__(**common)
        self.n_bins = n_bins

    @property
    def _n_features_out(self) -> int:
        return 3 * self.n_bins

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return names such as ``red_0``: the channel, and the bin from dark to bright."""
        names = [f"{channel}_{i}" for channel in _CHANNELS for i in range(self.n_bins)]
        return np.array(names, dtype=object)

    def _prepare(self, pixels: Pixels) -> Matrix:
        counts = [self._count(pixels[:, :, c].ravel()) for c in range(3)]
        histogram = np.concatenate(counts) / (pixels.shape[0] * pixels.shape[1])  # (3 * n_bins,)
        return histogram.astype(np.float32)

    def _count(self, intensities: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Number of pixels in each bin ``(n_bins,)``."""
        if intensities.dtype == np.uint8:
            # Much faster: count the 256 values first, then sum them up to bins.
            bins = np.arange(256) * self.n_bins // 256
            counts = np.bincount(intensities, minlength=256)
            return np.bincount(bins, weights=counts, minlength=self.n_bins)
        bins = (intensities * (self.n_bins / 256)).astype(np.intp)
        return np.bincount(bins, minlength=self.n_bins)

    def _extract(self, batch: Sequence[Matrix]) -> Matrix:
        return np.stack(batch)


class HSVHistogram(Extractor):
    """Joint histograms of hue, saturation and value, in the cells of a grid.

    Parameters
    ----------
    grid : int, default=2
        A histogram is computed for each cell of a grid of `grid` x `grid` cells.
    n_bins : tuple of int, default=(8, 3, 3)
        Number of bins of hue, saturation and value, each of equal width.
    image_shape, value_range, window, pages, bands, max_pixels, on_error, n_jobs, store
        As in `featx.extractors.base.Extractor`.

    Raises
    ------
    ImageError
        If an image cannot be decoded.

    Notes
    -----
    Each cell's histogram sums to 1; a cell without a pixel, in images smaller than the grid, has
    zeros. Colors are those of ``skimage.color.rgb2hsv`` [1]_; the hue of gray pixels is 0, that of
    red.

    References
    ----------
    .. [1] Smith, "Color Gamut Transform Pairs", SIGGRAPH 1978, 12-19.

    Examples
    --------
    >>> import numpy as np
    >>> HSVHistogram(grid=1, n_bins=(2, 1, 2)).fit_transform(np.zeros((1, 8, 8, 3), np.uint8))
    array([[1., 0., 0., 0.]], dtype=float32)
    """

    spec_name: ClassVar[str] = "hsv"
    positional: ClassVar[tuple[str, ...]] = ("grid",)
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Extractor._parameter_constraints,
        "grid": [Interval(numbers.Integral, 1, 64, closed="both")],
        "n_bins": [tuple, list],
    }

    def __init__(
        self,
        grid: int = 2,
        *,
        n_bins: tuple[int, int, int] = (8, 3, 3),
        **common: Unpack[CommonParameters],
    ) -> None:
        super().__init__(**common)
        self.grid = grid
        self.n_bins = n_bins

    @property
    def _n_features_out(self) -> int:
        return int(self.grid**2 * np.prod(self.n_bins))

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return names such as ``cell0_1_h7_s0_v2``: row and column of the cell, and the bin."""
        cells = np.ndindex(self.grid, self.grid)
        bins = ["_h{}_s{}_v{}".format(*index) for index in np.ndindex(*self.n_bins)]
        return np.array([f"cell{y}_{x}{name}" for y, x in cells for name in bins], dtype=object)

    def _check_parameters(self) -> None:
        n_bins: Sequence[Any] = self.n_bins
        is_valid = [isinstance(n, int | np.integer) and 1 <= n <= 256 for n in n_bins]
        if len(is_valid) != 3 or not all(is_valid):
            raise ValueError(
                f"HSVHistogram: n_bins={self.n_bins!r}: expected three integers from 1 to 256, of "
                "hue, saturation and value."
            )

    def _prepare(self, pixels: Pixels) -> Matrix:
        from skimage.color import rgb2hsv

        n_bins = np.array(self.n_bins)
        colors = rgb2hsv(np.broadcast_to(pixels, (*pixels.shape[:2], 3)) / 255.0)
        bins = np.minimum((colors * n_bins).astype(np.intp), n_bins - 1)
        codes = np.ravel_multi_index(tuple(np.moveaxis(bins, -1, 0)), self.n_bins)  # (h, w)
        cells = [
            cell.ravel()
            for row in np.array_split(codes, self.grid)
            for cell in np.array_split(row, self.grid, axis=1)
        ]
        counts = [np.bincount(c, minlength=n_bins.prod()) / max(1, len(c)) for c in cells]
        return np.concatenate(counts).astype(np.float32)

    def _extract(self, batch: Sequence[Matrix]) -> Matrix:
        return np.stack(batch)


class MeanColor(Extractor):
    """Mean color: three values from 0 to 255.

    The simplest control: classes that mean color already separates prove nothing about a network.

    Parameters
    ----------
    image_shape, value_range, window, pages, bands, max_pixels, on_error, n_jobs, store
        As in `featx.extractors.base.Extractor`.

    Examples
    --------
    >>> import numpy as np
    >>> MeanColor().fit_transform(np.full((1, 4, 4, 3), 7, np.uint8))
    array([[7., 7., 7.]], dtype=float32)
    """

    spec_name: ClassVar[str] = "mean_color"

    @property
    def _n_features_out(self) -> int:
        return 3

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``red``, ``green``, ``blue``."""
        return np.array(_CHANNELS, dtype=object)

    def _prepare(self, pixels: Pixels) -> Matrix:
        return pixels.mean((0, 1), dtype=np.float64).astype(np.float32)  # (3,)

    def _extract(self, batch: Sequence[Matrix]) -> Matrix:
        return np.stack(batch)
