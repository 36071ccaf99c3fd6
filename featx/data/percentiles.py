"""Measure the value range of a data set: percentiles of its stored values."""

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
"""Maximum number of images, and of values per image; the sample takes at most 128 MiB."""


def measure_range(images: Images, indices: Sequence[int] | None = None) -> Reading:
    """Replace the percentiles in the value range of `images` by the measured values.

    All images have the same weight, whatever their size. At most 4,096 images, and 4,096 values
    of each, are sampled at equal steps. Labels are not used.

    Parameters
    ----------
    images : Images
        Their `reading` has percentiles as value range.
    indices : sequence of int, optional
        Images to measure, usually those of the training split; by default all.

    Returns
    -------
    Reading
        `measured` tells which percentiles were measured on how many images.

    Raises
    ------
    DatasetError
        If no image can be read, or both percentiles have the same value.
    """
    percentiles = images.reading.percentiles
    assert percentiles is not None
    sampled = np.arange(len(images)) if indices is None else np.asarray(indices)
    sampled = sampled[_equal_steps(len(sampled), _MAX_IMAGES)]
    samples = [sample for index in sampled if len(sample := _sample(images, int(index)))]
    if not samples:
        raise DatasetError("No image can be read to measure the value range on.")
    weights = np.concatenate([np.full(len(sample), 1 / len(sample)) for sample in samples])
    low, high = _quantiles(np.concatenate(samples), weights, percentiles)
    if not low < high:
        raise DatasetError(
            f"value_range {images.reading.value_range}: both percentiles are {low:g}; give numbers."
        )
    measured = f"{images.reading.value_range} of {len(samples):,} images"
    return replace(images.reading, value_range=(low, high), measured=measured)


def _equal_steps(n: int, max_indices: int) -> npt.NDArray[np.intp]:
    """At most `max_indices` indices of ``range(n)`` at equal steps, with both ends."""
    return np.unique(np.linspace(0, n - 1, min(n, max_indices)).round().astype(np.intp))


def _sample(images: Images, index: int) -> npt.NDArray[np.float64]:
    """Sample of the finite values of one image; empty if the image cannot be read."""
    try:
        values = images.stored(index).values.reshape(-1)
    except ImageError:
        return np.empty(0)
    sample = values[_equal_steps(len(values), _MAX_VALUES)].astype(np.float64)
    return sample[np.isfinite(sample)]


def _quantiles(
    values: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    percentiles: tuple[float, float],
) -> tuple[float, float]:
    """Weighted percentiles, without interpolation."""
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    targets = np.array(percentiles) / 100 * cumulative[-1]
    # A tolerance: sums of weights such as 1/3 may miss a target by a rounding error.
    indices = np.searchsorted(cumulative, targets - 1e-9 * cumulative[-1])
    low, high = values[order][indices.clip(0, len(values) - 1)]
    return float(low), float(high)
