"""Black and white of a data set, measured once: percentiles of its stored values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from featx.data.images import Images
from featx.data.reading import Reading
from featx.errors import DatasetError, ImageError

_MAX_IMAGES = 4096
_MAX_VALUES = 4096
"""Images measured, and values of each: spread evenly, 64 MiB in all."""


def measure_range(images: Images, indices: Sequence[int] | None = None) -> Reading:
    """How `images` are read once the percentiles that are asked for are known as numbers.

    Every image weighs the same, whatever its size; of more than 4,096 images, and of more than
    4,096 values in one, so many are taken at equal steps. Labels are not looked at.

    Parameters
    ----------
    images : Images
        Their reading names percentiles.
    indices : sequence of int, optional
        Images to measure, those that are trained on; by default all.

    Returns
    -------
    Reading
        `measured` says what was measured on how many images.

    Raises
    ------
    DatasetError
        If no image can be read, or all hold one value.
    """
    asked = images.reading.percentiles
    assert asked is not None
    chosen = np.arange(len(images)) if indices is None else np.asarray(indices)
    chosen = chosen[_spread(len(chosen), _MAX_IMAGES)]
    samples = [sample for index in chosen if len(sample := _sample(images, int(index)))]
    if not samples:
        raise DatasetError("No image can be read to measure the value range on.")
    weights = np.concatenate([np.full(len(it), 1 / len(it)) for it in samples])
    low, high = _quantiles(np.concatenate(samples), weights, asked)
    if not low < high:
        raise DatasetError(
            f"value_range {images.reading.value_range}: both percentiles are {low:g}; give numbers."
        )
    what = f"{images.reading.value_range} of {len(samples):,} images"
    return replace(images.reading, value_range=(low, high), measured=what)


def _spread(n: int, n_wanted: int) -> npt.NDArray[np.intp]:
    """Indices at equal steps."""
    return np.unique(np.linspace(0, n - 1, min(n, n_wanted)).round().astype(np.intp))


def _sample(images: Images, index: int) -> npt.NDArray[np.float64]:
    """Some values of one image, finite ones; none of an image that cannot be read."""
    try:
        values = images.stored(index).values.reshape(-1)
    except ImageError:
        return np.empty(0)
    some = values[_spread(len(values), _MAX_VALUES)].astype(np.float64)
    return some[np.isfinite(some)]


def _quantiles(
    values: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    percentiles: tuple[float, float],
) -> tuple[float, float]:
    """Smallest values that so many percent of the weight do not exceed."""
    order = np.argsort(values)
    shares = np.cumsum(weights[order])
    wanted = np.array(percentiles) / 100 * shares[-1]
    at = np.searchsorted(shares, wanted - 1e-9 * shares[-1]).clip(0, len(values) - 1)
    low, high = values[order][at]
    return float(low), float(high)
