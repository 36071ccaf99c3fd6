"""Raw pixels as features, a control."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

import numpy as np
import numpy.typing as npt
from sklearn.utils._param_validation import Interval

from featx.data.images import (
    Pixels,
    gray,
    resize,
    size_pair,
)
from featx.extractors.base import CommonParameters, Extractor
from featx.streaming.rows import Matrix


class RawPixels(Extractor):
    """Pixels of images resized to one size, scaled to values from 0 to 1.

    A linear classifier on raw pixels is the baseline to beat.

    Parameters
    ----------
    image_size : int or tuple of int, default=32
        Height and width in px to which images are resized; one number means a square.
    color : bool, default=True
        Whether a pixel has three values (red, green, blue) or one, its luminance
        ``0.2125 red + 0.7154 green + 0.0721 blue``.
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
    Images ``(height, width, channel)`` are flattened in C order. Resizing does not preserve the
    aspect ratio.

    Examples
    --------
    >>> import numpy as np
    >>> RawPixels(image_size=(1, 2)).fit_transform(np.full((1, 4, 8, 3), 255, np.uint8))
    array([[1., 1., 1., 1., 1., 1.]], dtype=float32)
    """

    spec_name: ClassVar[str] = "pixels"
    positional: ClassVar[tuple[str, ...]] = ("image_size",)
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Extractor._parameter_constraints,
        "image_size": [Interval(numbers.Integral, 1, None, closed="left"), tuple, list],
        "color": ["boolean"],
    }

    def __init__(
        self,
        image_size: int | tuple[int, int] = 32,
        *,
        color: bool = True,
        **common: Unpack[CommonParameters],
    ) -> None:
        super().__init__(**common)
        self.image_size = image_size
        self.color = color

    @property
    def _n_features_out(self) -> int:
        height, width = size_pair(self.image_size)
        return height * width * (3 if self.color else 1)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return names such as ``0_1_red``: row and column of the pixel, and the channel."""
        height, width = size_pair(self.image_size)
        channels = ("_red", "_green", "_blue") if self.color else ("",)
        names = [f"{y}_{x}{c}" for y in range(height) for x in range(width) for c in channels]
        return np.array(names, dtype=object)

    def _check_parameters(self) -> None:
        size_pair(self.image_size)

    def _prepare(self, pixels: Pixels) -> npt.NDArray[Any]:
        pixels = resize(pixels, size_pair(self.image_size))
        return pixels if self.color else gray(pixels)

    def _extract(self, batch: Sequence[npt.NDArray[Any]]) -> Matrix:
        rows = np.stack(batch).reshape(len(batch), -1)
        return rows.astype(np.float32) / np.float32(255)
