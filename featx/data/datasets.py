"""Data sets: folders, files, manifests, the built-in digits, and torchvision's by name."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from featx.data.images import MAX_PIXELS, Images
from featx.data.listings import (
    ImageDataset,
    Source,
    Strings,
    join_datasets,
    list_source,
    name_of,
)
from featx.errors import DatasetError, did_you_mean

__all__ = ["ImageDataset", "fold_numbers", "load_dataset", "train_test_indices"]

logger = logging.getLogger(__name__)

Labels: TypeAlias = Sequence[str] | Strings | npt.NDArray[np.intp]


def load_dataset(
    data: Source | Iterable[Source],
    *,
    domains: bool | Sequence[str] | None = None,
    root: Source | None = None,
    max_pixels: int = MAX_PIXELS,
) -> ImageDataset:
    """Pictures of folders, files, manifests or a data set by name, not decoded yet.

    Parameters
    ----------
    data : str or path, or several of them
        A folder (read recursively; the folder of a picture names its class, one called
        ``train``, ``val`` or ``test`` above it its split), a file, a manifest (``.csv``,
        ``.tsv`` or ``.parquet`` with the columns ``path,label[,split][,domain]``), ``-``
        (names on standard input, one a line or separated by NUL), ``digits``, or
        ``torchvision:NAME[,key=value...]``.
    domains : bool or list of str, optional
        Whether the folder above the class is the domain; a list keeps only those domains. A
        manifest says its domains by itself.
    root : path, optional
        Where torchvision's data sets lie or are downloaded to; by default the user's cache.
    max_pixels : int, default=89478485
        Pictures with more pixels are refused before they are decoded.

    Returns
    -------
    ImageDataset
        Sorted by name where it was read from a folder, else in the order given.

    Raises
    ------
    DatasetError
        If there is no such data or no picture in it.

    Examples
    --------
    >>> load_dataset("digits").images.pixels(0).shape
    (8, 8, 3)
    """
    given = [data] if isinstance(data, str | os.PathLike) else list(data)
    if not given:
        raise DatasetError("No data given; expected a folder, files, a manifest or 'digits'.")
    dataset = join_datasets(
        [list_source(source, root=root, has_domains=bool(domains)) for source in given]
    )
    if not len(dataset):
        raise DatasetError(" ".join(dataset.notes))
    if domains is False:
        dataset = replace(dataset, domains=None)
    if domains:
        dataset = _keep_domains(dataset, domains)
    for folder, reason in dataset.unreadable:
        logger.warning("Folder %s cannot be read: %s.", folder, reason)
    names = _unique(dataset.names)
    images = Images(dataset.images, names=names, max_pixels=max_pixels)
    return replace(dataset, images=images, names=names, source=_describe(given))


def train_test_indices(
    labels: Labels, *, train_size: int | float, random_state: int | None = 0
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Places of a training and a test part, drawn at random within each class.

    Parameters
    ----------
    labels : sequence of str
    train_size : int or float
        Pictures of each class to train on, or their share; at least one of each class is
        left to test on where it has two.
    random_state : int or None, default=0

    Returns
    -------
    train, test : ndarray of int
        In ascending order.

    Examples
    --------
    >>> train_test_indices(["a", "a", "b", "b"], train_size=1)[0].shape
    (2,)
    """
    labels = np.asarray(labels)
    generator = np.random.default_rng(random_state)
    train = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        indices = generator.permutation(np.flatnonzero(labels == label))
        wanted = train_size if isinstance(train_size, int) else round(train_size * len(indices))
        train[indices[: max(1, min(wanted, len(indices) - 1))]] = True
    return np.flatnonzero(train), np.flatnonzero(~train)


def fold_numbers(
    labels: Labels,
    n_folds: int,
    *,
    random_state: int | None = 0,
) -> npt.NDArray[np.intp]:
    """Fold of each picture, every class dealt out evenly in turn.

    Parameters
    ----------
    labels : sequence
    n_folds : int
    random_state : int or None, default=0

    Returns
    -------
    ndarray of int, shape (n_images,)
        From 0 on; -1 for the only picture of a class, which cannot be both learned and tested.

    Examples
    --------
    >>> np.bincount(fold_numbers(["a", "a", "a", "b", "b", "b"], 3))
    array([2, 2, 2])
    """
    labels = np.asarray(labels)
    rng = np.random.default_rng(random_state)
    folds, n_dealt = np.full(len(labels), -1), 0
    for label in np.unique(labels):
        indices = rng.permutation(np.flatnonzero(labels == label))
        if len(indices) > 1:
            folds[indices] = (n_dealt + np.arange(len(indices))) % n_folds
            n_dealt += len(indices)
    return folds


def _keep_domains(dataset: ImageDataset, domains: bool | Sequence[str]) -> ImageDataset:
    """Images of the domains asked for."""
    if dataset.domains is None:
        raise DatasetError(
            "The data has no domains; expected folders <domain>/<class>/<picture>, or a manifest "
            "with a column 'domain'."
        )
    if isinstance(domains, bool):
        return dataset
    wanted = [domains] if isinstance(domains, str) else list(domains)
    there = Counter(filter(None, dataset.domains.tolist()))
    for domain in wanted:
        if domain not in there:
            raise DatasetError(
                f"Domain {domain!r} is not in the data.{did_you_mean(domain, there)} "
                f"There are: {', '.join(there)}."
            )
    is_wanted = np.isin(dataset.domains, wanted)
    return dataset if is_wanted.all() else dataset.take(np.flatnonzero(is_wanted))


def _describe(given: Sequence[Source]) -> str:
    """Sources as one line; of many, the first three."""
    names = ", ".join(name_of(os.fspath(source)) for source in given[:3])
    return names + (f" and {len(given) - 3} more" if len(given) > 3 else "")


def _unique(names: list[str]) -> list[str]:
    r"""Names made different where they are not: ``caf\xe9`` may stand for two files."""
    if len(set(names)) == len(names):
        return names
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return unique
