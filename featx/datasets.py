"""Data sets: folders, files, manifests, the built-in digits, and torchvision's by name."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from featx.errors import DatasetError, did_you_mean
from featx.images import MAX_PIXELS, Images
from featx.listings import (
    Listing,
    Source,
    join_listings,
    keep_places,
    list_source,
    name_of,
)

logger = logging.getLogger(__name__)

Strings: TypeAlias = npt.NDArray[np.str_]
Labels: TypeAlias = Sequence[str] | Strings | npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Pictures, and what is known about each.

    Attributes
    ----------
    images : Images
        The pictures, decoded on request.
    names : list of str
        One unique name each. A file's is its path as reached from what was given, so that it
        opens from the same working folder.
    labels, splits, domains : ndarray of str, shape (n_images,), or None
        None where nothing is known of any picture, the empty text where nothing is of one.
        Splits are ``train``, ``val`` and ``test``.
    n_ignored : int
        Files in the folders given that are no pictures by suffix; dot files are not counted.
    unreadable : list of (str, str)
        Folders that could not be read, and why.
    source : str
        What was given.

    Examples
    --------
    >>> dataset = load_dataset("digits")
    >>> len(dataset), dataset.names[0], str(dataset.labels[0])
    (1797, 'digits/0000', '0')
    """

    images: Images
    names: list[str]
    labels: Strings | None = None
    splits: Strings | None = None
    domains: Strings | None = None
    n_ignored: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    source: str = ""

    def __len__(self) -> int:
        return len(self.names)

    def take(self, indices: Sequence[int] | npt.NDArray[np.intp]) -> ImageDataset:
        """Pictures at `indices`, in that order, and what is known about them."""
        places = [int(i) for i in indices]
        return replace(
            self,
            images=self.images.take(places),
            names=[self.names[i] for i in places],
            labels=None if self.labels is None else self.labels[places],
            splits=None if self.splits is None else self.splits[places],
            domains=None if self.domains is None else self.domains[places],
        )

    def split(self, name: str) -> npt.NDArray[np.intp]:
        """Places of the pictures of one split, in order.

        Parameters
        ----------
        name : {"train", "val", "test"}

        Returns
        -------
        ndarray of int, shape (n_images_of_the_split,)
            Empty where the data set has no such split.
        """
        if self.splits is None:
            return np.empty(0, np.intp)
        return np.flatnonzero(self.splits == name)


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
        raise DatasetError("No data given; wanted a folder, files, a manifest or 'digits'.")
    listing = join_listings(
        [list_source(source, root=root, has_domains=bool(domains)) for source in given]
    )
    if not len(listing.items):
        raise DatasetError(" ".join(listing.notes))
    if domains is False:
        listing.domains = None
    if domains:
        listing = _keep_domains(listing, domains)
    for folder, reason in listing.unreadable:
        logger.warning("Folder %s cannot be read: %s.", folder, reason)
    return _to_dataset(listing, given, max_pixels)


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
        places = generator.permutation(np.flatnonzero(labels == label))
        wanted = train_size if isinstance(train_size, int) else round(train_size * len(places))
        train[places[: max(1, min(wanted, len(places) - 1))]] = True
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
        places = rng.permutation(np.flatnonzero(labels == label))
        if len(places) > 1:
            folds[places] = (n_dealt + np.arange(len(places))) % n_folds
            n_dealt += len(places)
    return folds


def _keep_domains(listing: Listing, domains: bool | Sequence[str]) -> Listing:
    """Pictures of the domains asked for."""
    if listing.domains is None:
        raise DatasetError(
            "The data has no domains; wanted folders <domain>/<class>/<picture>, or a manifest "
            "with a column 'domain'."
        )
    if isinstance(domains, bool):
        return listing
    wanted = [domains] if isinstance(domains, str) else list(domains)
    there = Counter(filter(None, listing.domains))
    for domain in wanted:
        if domain not in there:
            raise DatasetError(
                f"Domain {domain!r} is not in the data.{did_you_mean(domain, there)} "
                f"There are: {', '.join(there)}."
            )
    return keep_places(listing, [i for i, domain in enumerate(listing.domains) if domain in wanted])


def _to_dataset(listing: Listing, given: Sequence[Source], max_pixels: int) -> ImageDataset:
    names = _unique(listing.names)
    return ImageDataset(
        images=Images(listing.items, names=names, max_pixels=max_pixels),
        names=names,
        labels=None if listing.labels is None else np.array(listing.labels, str),
        splits=None if listing.splits is None else np.array(listing.splits, str),
        domains=None if listing.domains is None else np.array(listing.domains, str),
        n_ignored=listing.n_ignored,
        unreadable=listing.unreadable,
        source=", ".join(name_of(os.fspath(source)) for source in given[:3])
        + (f" and {len(given) - 3} more" if len(given) > 3 else ""),
    )


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
