"""What every library function begins with: its images, its store and its progress callback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from featx.data.datasets import ImageDataset, load_dataset
from featx.data.descriptions import describe_dataset
from featx.data.groups import column_of_groups, group_images
from featx.data.images import MAX_PIXELS, Images
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
        Those for the extractors: all but the ones that say how images are read.
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
    """Images, store and progress callback that the arguments of a function mean.

    Parameters
    ----------
    data, domains, groups, splits
        As in `_open_data`.
    store : {"default"}, path, FeatureStore or None
        As in `featx.store.feature_store.open_usable_store`.
    progress : ProgressCallback, optional
        By default one that does nothing.
    **parameters
        ``image_shape``, ``value_range`` and ``max_pixels`` go to `_open_data`; all others are
        left to the extractors.

    Returns
    -------
    Session

    Examples
    --------
    >>> session = open_session("digits", max_pixels=100, n_jobs=2)
    >>> session.dataset.images.max_pixels, session.store, session.parameters
    (100, None, {'n_jobs': 2})
    """
    reading = {name: parameters.pop(name) for name in INPUT_PARAMETERS & parameters.keys()}
    progress = progress or ProgressCallback()
    dataset = _open_data(data, domains=domains, groups=groups, splits=splits, **reading)
    if _is_named(data):
        progress.note(f"{dataset.source}: {describe_dataset(dataset)}")
    return Session(dataset, open_usable_store(store), progress, parameters)


def _open_data(
    data: Any,
    *,
    domains: Any = None,
    groups: str | bool | None = None,
    splits: str = "auto",
    image_shape: tuple[int, ...] | None = None,
    value_range: tuple[float, float] | None = None,
    max_pixels: int | None = None,
) -> ImageDataset:
    """Data set of whatever names images or holds them.

    Parameters
    ----------
    data : str, path, several of these, ImageDataset, or images
        Names are looked up by `featx.data.datasets.load_dataset`; images in memory are those that
        `featx.data.images.Images` takes.
    domains : bool or list of str, optional
        Of data given by name.
    groups : str or False, optional
        As in `featx.data.datasets.load_dataset`; a manifest's column only of data given by name.
    splits : {"auto", "none"}, default="auto"
        As in `featx.data.datasets.load_dataset`; with ``none`` open data lose their splits.
    image_shape, value_range
        As in `featx.data.images.Images`, of arrays.
    max_pixels : int, optional
        Images with more pixels are refused before they are decoded; by default the limit that
        opened images have, else 89478485.

    Returns
    -------
    ImageDataset

    Raises
    ------
    DatasetError
        If there are no images.
    SpecError
        If `image_shape` or `value_range` is given and would change nothing, or `groups` names a
        column of data that is open already.

    Examples
    --------
    >>> import numpy as np
    >>> _open_data(np.array([[[0, 4095]]]), value_range=(0, 4095)).images.pixels(0)[0, :, 0]
    array([  0, 255], dtype=uint8)
    """
    data = list(data) if isinstance(data, Iterator) else data
    limit = MAX_PIXELS if max_pixels is None else max_pixels
    arrays: dict[str, Any] = {"image_shape": image_shape, "value_range": value_range}
    if isinstance(data, ImageDataset | Images):
        _refuse(arrays, "these are open already: give it to featx.Images with the arrays")
        dataset = _limit(data if isinstance(data, ImageDataset) else _wrap(data), max_pixels)
    elif _is_named(data):
        _refuse(arrays, "images given by name need none: leave it out")
        dataset = load_dataset(
            data, domains=domains, groups=groups, splits=splits, max_pixels=limit
        )
    else:
        dataset = _wrap(Images(data, **arrays, max_pixels=limit))
    if not _is_named(data):
        dataset = _regroup(dataset, groups)
        dataset = replace(dataset, splits=None) if splits == "none" else dataset
    if not len(dataset):
        raise DatasetError(f"{dataset.source}: expected at least one image, got none.")
    return dataset


def _refuse(parameters: dict[str, Any], reason: str) -> None:
    """Refuse parameters that say how arrays are read where there are none to read."""
    for name, value in parameters.items():
        if value is not None:
            raise SpecError(f"{name} says how arrays are read as images; {reason}.")


def _regroup(dataset: ImageDataset, groups: str | bool | None) -> ImageDataset:
    """Data set that is open already, with the groups asked for."""
    if (column := column_of_groups(groups)) is not None:
        raise SpecError(
            f"groups={column!r} names a column of a manifest, and these images are open already; "
            "give re:PATTERN, or an ImageDataset with groups."
        )
    return group_images(dataset, groups)


def _wrap(images: Images) -> ImageDataset:
    """Images of which nothing else is known."""
    return ImageDataset(images, list(images.names), source="memory")


def _limit(dataset: ImageDataset, max_pixels: int | None) -> ImageDataset:
    """Data set whose images are refused above so many pixels."""
    if max_pixels is None:
        return dataset
    images = Images(
        dataset.images,
        names=dataset.images.names,
        value_range=dataset.images.value_range,
        max_pixels=max_pixels,
    )
    return replace(dataset, images=images)


def _is_named(data: Any) -> bool:
    """Whether images are given by name rather than in memory."""
    if isinstance(data, str | os.PathLike):
        return True
    return isinstance(data, list | tuple) and all(
        isinstance(item, str | os.PathLike) for item in data
    )
