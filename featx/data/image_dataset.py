"""Images and what is known about each: their classes, splits, domains and groups."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from featx.data.images import Images, printable

Strings: TypeAlias = npt.NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Images, and what is known about each.

    Attributes
    ----------
    images : Images
        The images, decoded on request.
    names : list of str
        One unique name each. A file's is its path as reached from what was given, so that it
        opens from the same working folder.
    labels, splits, domains, groups : ndarray of str, shape (n_images,), or None
        None where nothing is known of any image, the empty text where nothing is of one.
        Splits are ``train``, ``val`` and ``test``; images of one group, such as a patient, are
        kept on one side of every split.
    ignored : Counter
        How many files in the folders given are no images, by suffix; dot files are not counted.
    left_out : list of str
        Folders that were not read: those of systems, and the figures of featx's reports.
    split_folders : dict of str to str
        Split that each folder called as one stands for.
    unreadable : list of (str, str)
        Folders that could not be read, and why.
    source : str
        What was given.
    words : str
        The same as a command line has it.
    notes : list of str
        Why a source has no images.
    remarks : list of str
        What else was understood, such as which columns of a manifest were read.

    Examples
    --------
    >>> from featx import load_dataset
    >>> dataset = load_dataset("digits")
    >>> len(dataset), dataset.names[0], str(dataset.labels[0])
    (1797, 'digits/0000', '0')
    """

    images: Images
    names: list[str]
    labels: Strings | None = None
    splits: Strings | None = None
    domains: Strings | None = None
    groups: Strings | None = None
    ignored: Counter[str] = field(default_factory=Counter)
    left_out: list[str] = field(default_factory=list)
    split_folders: dict[str, str] = field(default_factory=dict)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    source: str = ""
    words: str = ""
    notes: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def n_ignored(self) -> int:
        """How many files in the folders given are no images."""
        return self.ignored.total()

    def take(self, indices: Sequence[int] | npt.NDArray[np.intp]) -> ImageDataset:
        """Images at `indices`, in that order, and what is known about them."""
        places = [int(i) for i in indices]
        return replace(
            self,
            images=self.images.take(places),
            names=[self.names[i] for i in places],
            labels=None if self.labels is None else self.labels[places],
            splits=None if self.splits is None else self.splits[places],
            domains=None if self.domains is None else self.domains[places],
            groups=None if self.groups is None else self.groups[places],
        )

    def split(self, name: str) -> npt.NDArray[np.intp]:
        """Places of the images of one split, in order.

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


def make_dataset(items: Any, names: list[str] | None = None, **known: Any) -> ImageDataset:
    """Images under their names, and what is known of them.

    Parameters
    ----------
    items : sequence of paths, or of images
    names : list of str, optional
        By default paths name themselves.
    **known
        Attributes of `ImageDataset`.
    """
    names = list(map(name_of, items)) if names is None else names
    return ImageDataset(Images(items, names=names), names, **known)


def join_datasets(datasets: list[ImageDataset]) -> ImageDataset:
    """Several data sets as one; an image that is in two of them is taken once.

    Examples
    --------
    >>> one, two = make_dataset(["a.jpg"]), make_dataset(["./a.jpg", "b.jpg"])
    >>> join_datasets([one, two]).names
    ['a.jpg', 'b.jpg']
    """
    if len(datasets) == 1:
        return datasets[0]
    names = [name for dataset in datasets for name in dataset.names]
    joined = make_dataset(
        [item for dataset in datasets for item in dataset.images],
        names,
        labels=_joined([(len(dataset), dataset.labels) for dataset in datasets]),
        splits=_joined([(len(dataset), dataset.splits) for dataset in datasets]),
        domains=_joined([(len(dataset), dataset.domains) for dataset in datasets]),
        groups=_joined([(len(dataset), dataset.groups) for dataset in datasets]),
        ignored=sum((dataset.ignored for dataset in datasets), Counter()),
        left_out=[folder for dataset in datasets for folder in dataset.left_out],
        split_folders={k: v for dataset in datasets for k, v in dataset.split_folders.items()},
        unreadable=[pair for dataset in datasets for pair in dataset.unreadable],
        notes=[note for dataset in datasets for note in dataset.notes],
        remarks=list(dict.fromkeys(it for dataset in datasets for it in dataset.remarks)),
    )
    return drop_repeated(joined)


def drop_repeated(dataset: ImageDataset) -> ImageDataset:
    """Data set with each file once, however its path is spelled, and each name once."""
    folders: dict[str, str] = {}
    first: dict[str, int] = {}
    for index, (item, name) in enumerate(zip(dataset.images, dataset.names)):
        first.setdefault(identify_file(item, folders) if isinstance(item, str) else name, index)
    return dataset if len(first) == len(dataset) else dataset.take(list(first.values()))


def identify_file(path: str, folders: dict[str, str]) -> str:
    """The one path of a file under all spellings of it: absolute, without links.

    Parameters
    ----------
    path : str
    folders : dict
        Of folders seen before; filled.
    """
    folder, name = os.path.split(path)
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    found = os.path.join(folders[folder], name)
    return os.path.realpath(found) if os.path.islink(found) else found


def known_column(values: Iterable[str]) -> Strings | None:
    """Values, or None where all are empty."""
    column = list(values)
    return np.array(column, str) if any(column) else None


def name_of(path: str) -> str:
    """Path as a name: valid Unicode, posix separators."""
    path = path if os.sep == "/" else path.replace(os.sep, "/")
    return path if path.isascii() else printable(path)


def _joined(columns: Iterable[tuple[int, Strings | None]]) -> Strings | None:
    """Columns end to end, one that is None as so many empty texts."""
    return known_column(
        value
        for length, column in columns
        for value in ([""] * length if column is None else column)
    )
