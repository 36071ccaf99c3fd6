"""Open the images, the store and the progress callback that a library function works with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from typing import Any, NamedTuple

from featx.data.datasets import ImageDataset, load_dataset
from featx.data.descriptions import describe_dataset
from featx.data.groups import column_of_groups, group_images
from featx.data.images import MAX_PIXELS, Images
from featx.data.percentiles import measure_range
from featx.data.reading import Reading, make_reading
from featx.errors import DatasetError, SpecError
from featx.extractors.base import INPUT_PARAMETERS
from featx.store.feature_store import FeatureStore, open_usable_store
from featx.streaming.progress import ProgressCallback


class Session(NamedTuple):
    """What a run works with.

    Attributes
    ----------
    dataset : ImageDataset
    store : FeatureStore or None
    progress : ProgressCallback
    parameters : dict
        Parameters of the extractors: all except those for reading images.
    """

    dataset: ImageDataset
    store: FeatureStore | None
    progress: ProgressCallback
    parameters: dict[str, Any]


def open_session(
    data: Any,
    /,
    *,
    domains: Any = None,
    groups: str | bool | None = None,
    splits: str = "auto",
    store: Any = None,
    progress: ProgressCallback | None = None,
    **parameters: Any,
) -> Session:
    """Images, store and progress callback from the arguments of a library function.

    Parameters
    ----------
    data, domains, groups, splits
        As in `_open_data`.
    store : {"default"}, path, FeatureStore or None
        As in `featx.store.feature_store.open_usable_store`.
    progress : ProgressCallback, optional
        Gets a note on how named data were understood; by default it does nothing.
    **parameters
        ``image_shape``, ``value_range``, ``window``, ``pages``, ``bands`` and ``max_pixels`` go
        to `_open_data`; all others go to the extractors.

    Returns
    -------
    Session

    Examples
    --------
    >>> session = open_session("digits", max_pixels=100, n_jobs=2)
    >>> session.dataset.images.max_pixels, session.store, session.parameters
    (100, None, {'n_jobs': 2})
    """
    options = {name: parameters.pop(name) for name in INPUT_PARAMETERS & parameters.keys()}
    progress = progress or ProgressCallback()
    data = list(data) if isinstance(data, Iterator) else data
    dataset = _open_data(data, domains=domains, groups=groups, splits=splits, **options)
    if _is_named(data):
        progress.note(f"{dataset.source}: {describe_dataset(dataset)}")
    dataset = _measure(dataset, progress)
    return Session(dataset, open_usable_store(store), progress, parameters)


def _measure(dataset: ImageDataset, progress: ProgressCallback) -> ImageDataset:
    """Data set with its value range as numbers, measured on the train split if there is one."""
    if dataset.images.reading.percentiles is None:
        return dataset
    train = dataset.split("train").tolist()
    reading = measure_range(dataset.images, train or None)
    which = "of the train split" if train else "there are (no train split)"
    reading = replace(reading, measured=f"{reading.measured} {which}")
    low, high = reading.limits or (0, 0)
    progress.note(f"value range {reading.measured}: {low:g} to {high:g}")
    return replace(dataset, images=dataset.images.read_as(reading))


def _open_data(
    data: Any,
    *,
    domains: Any = None,
    groups: str | bool | None = None,
    splits: str = "auto",
    image_shape: tuple[int, ...] | None = None,
    max_pixels: int | None = None,
    **reading: Any,
) -> ImageDataset:
    """Data set of images given by name or in memory.

    Parameters
    ----------
    data : str, path, several of these, ImageDataset, or images
        Names are looked up by `featx.data.datasets.load_dataset`; images in memory are those that
        `featx.data.images.Images` takes.
    domains : bool or list of str, optional
        Only for data given by name.
    groups : str or False, optional
        As in `featx.data.datasets.load_dataset`; a manifest's column only for data given by name.
    splits : {"auto", "none"}, default="auto"
        As in `featx.data.datasets.load_dataset`; ``none`` also removes the splits of open data.
    image_shape
        As in `featx.data.images.Images`; only for arrays.
    max_pixels : int, optional
        Images with more pixels are refused before they are decoded; by default the limit that
        opened images have, else 89478485.
    **reading
        ``value_range``, ``window``, ``pages`` and ``bands``, as in `featx.data.images.Images`; by
        default those that opened images have.

    Returns
    -------
    ImageDataset

    Raises
    ------
    DatasetError
        If there are no images.
    SpecError
        If `image_shape` is given but there are no arrays, or `groups` names a column although the
        data are already open.

    Examples
    --------
    >>> import numpy as np
    >>> _open_data(np.array([[[0, 4095]]]), value_range=(0, 4095)).images.pixels(0)[0, :, 0]
    array([  0., 255.], dtype=float32)
    """
    limit = MAX_PIXELS if max_pixels is None else max_pixels
    if isinstance(data, ImageDataset | Images):
        _refuse(image_shape, "these are open already: give it to featx.Images with the arrays")
        dataset = _limit(data if isinstance(data, ImageDataset) else _wrap(data), max_pixels)
    elif _is_named(data):
        _refuse(image_shape, "images given by name have no need of it: leave it out")
        dataset = load_dataset(
            data, domains=domains, groups=groups, splits=splits, max_pixels=limit
        )
    else:
        dataset = _wrap(Images(data, image_shape=image_shape, max_pixels=limit))
    dataset = _read_as(dataset, make_reading(**reading))
    if not _is_named(data):
        dataset = _regroup(dataset, groups)
        dataset = replace(dataset, splits=None) if splits == "none" else dataset
    if not len(dataset):
        raise DatasetError(f"{dataset.source}: expected at least one image, got none.")
    return dataset


def _refuse(image_shape: Any, reason: str) -> None:
    """Raise if `image_shape` is given where there are no arrays to read."""
    if image_shape is not None:
        raise SpecError(f"image_shape says how arrays are read as images; {reason}.")


def _read_as(dataset: ImageDataset, reading: Reading) -> ImageDataset:
    """Data set with the given settings of reading; the others stay as they are."""
    if not reading.settings():
        return dataset
    changed = replace(dataset.images.reading, **reading.settings())
    return replace(dataset, images=dataset.images.read_as(changed))


def _regroup(dataset: ImageDataset, groups: str | bool | None) -> ImageDataset:
    """Open data set with the given groups."""
    if (column := column_of_groups(groups)) is not None:
        raise SpecError(
            f"groups={column!r} names a column of a manifest, but these images are open already; "
            "give re:PATTERN, or an ImageDataset with groups."
        )
    return group_images(dataset, groups)


def _wrap(images: Images) -> ImageDataset:
    """Data set of images without labels, splits or groups."""
    return ImageDataset(images, list(images.names), source="memory")


def _limit(dataset: ImageDataset, max_pixels: int | None) -> ImageDataset:
    """Data set that refuses images of more than `max_pixels` pixels."""
    if max_pixels is None:
        return dataset
    images = copy(dataset.images)
    images.max_pixels = max_pixels
    return replace(dataset, images=images)


def _is_named(data: Any) -> bool:
    """Whether images are given by name rather than in memory."""
    if isinstance(data, str | os.PathLike):
        return True
    return isinstance(data, list | tuple) and all(
        isinstance(item, str | os.PathLike) for item in data
    )
