"""A data set: images with their classes, splits, domains and groups."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from featx.data.images import Images, printable
from featx.data.remote.remote_files import is_url, shown_url

Strings: TypeAlias = npt.NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Images with their names, classes, splits, domains and groups.

    Attributes
    ----------
    images : Images
        The images, decoded on request.
    names : list of str
        Unique name of each image. The name of a file is its path, relative to the working folder
        if that of the data set is.
    labels, splits, domains, groups : ndarray of str, shape (n_images,), or None
        None if no image has one; an empty string for an image without one. Splits are ``train``,
        ``val`` and ``test``. Images of one group, such as a patient, are in the same part of every
        split.
    ignored : Counter
        Number of files that are not images, by suffix; dot files are not counted.
    skipped_folders : list of str
        Folders that were not read: system folders, and the figures of featx's reports.
    split_folders : dict of str to str
        Name of a folder -> the split that it defines.
    unreadable : list of (str, str)
        Folders that could not be read, and why.
    source : str
        Where the images come from, for people.
    quoted_source : str
        The same, quoted for a command line.
    empty_reasons : list of str
        Why a source contains no images.
    remarks : list of str
        What else to tell the user, such as which columns of a manifest were read.

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
    skipped_folders: list[str] = field(default_factory=list)
    split_folders: dict[str, str] = field(default_factory=dict)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    source: str = ""
    quoted_source: str = ""
    empty_reasons: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def n_ignored(self) -> int:
        """Number of files that are not images."""
        return self.ignored.total()

    def take(self, indices: Sequence[int] | npt.NDArray[np.intp]) -> ImageDataset:
        """Data set of the images at `indices`, in that order."""
        indices = [int(i) for i in indices]
        return replace(
            self,
            images=self.images.take(indices),
            names=[self.names[i] for i in indices],
            labels=None if self.labels is None else self.labels[indices],
            splits=None if self.splits is None else self.splits[indices],
            domains=None if self.domains is None else self.domains[indices],
            groups=None if self.groups is None else self.groups[indices],
        )

    def split(self, name: str) -> npt.NDArray[np.intp]:
        """Indices of the images of one split, in ascending order.

        Parameters
        ----------
        name : {"train", "val", "test"}

        Returns
        -------
        ndarray of int, shape (n_images_of_the_split,)
            Empty if the data set has no such split.
        """
        if self.splits is None:
            return np.empty(0, np.intp)
        return np.flatnonzero(self.splits == name)


def make_dataset(items: Any, names: list[str] | None = None, **attributes: Any) -> ImageDataset:
    """Make a data set of paths or images.

    Parameters
    ----------
    items : sequence of paths, or of images
    names : list of str, optional
        By default the paths.
    **attributes
        Other attributes of `ImageDataset`.
    """
    names = list(map(name_of, items)) if names is None else names
    return ImageDataset(Images(items, names=names), names, **attributes)


def join_datasets(datasets: list[ImageDataset]) -> ImageDataset:
    """Concatenate data sets; an image in several of them is taken once.

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
        skipped_folders=[folder for dataset in datasets for folder in dataset.skipped_folders],
        split_folders={k: v for dataset in datasets for k, v in dataset.split_folders.items()},
        unreadable=[pair for dataset in datasets for pair in dataset.unreadable],
        empty_reasons=[reason for dataset in datasets for reason in dataset.empty_reasons],
        remarks=list(dict.fromkeys(remark for dataset in datasets for remark in dataset.remarks)),
    )
    return drop_repeated(joined)


def drop_repeated(dataset: ImageDataset) -> ImageDataset:
    """Data set with the first of the images that are the same file, or have the same name."""
    real_folders: dict[str, str] = {}
    first: dict[str, int] = {}
    for index, (item, name) in enumerate(zip(dataset.images, dataset.names)):
        key = identify_file(item, real_folders) if isinstance(item, str) else name
        first.setdefault(key, index)
    return dataset if len(first) == len(dataset) else dataset.take(list(first.values()))


def identify_file(path: str, real_folders: dict[str, str]) -> str:
    """Canonical path of a file: absolute, without links.

    Parameters
    ----------
    path : str
    real_folders : dict
        Cache of the canonical paths of folders, extended by this call.
    """
    folder, name = os.path.split(path)
    if folder not in real_folders:
        real_folders[folder] = os.path.realpath(folder)
    real = os.path.join(real_folders[folder], name)
    return os.path.realpath(real) if os.path.islink(real) else real


def column_or_none(values: Iterable[str]) -> Strings | None:
    """Values as an array, or None if all are empty."""
    column = list(values)
    return np.array(column, str) if any(column) else None


def name_of(path: str) -> str:
    """Path as the name of an image: valid Unicode with forward slashes; a URL without secrets."""
    path = shown_url(path) if is_url(path) else path
    path = path if os.sep == "/" else path.replace(os.sep, "/")
    return path if path.isascii() else printable(path)


def _joined(columns: Iterable[tuple[int, Strings | None]]) -> Strings | None:
    """Concatenate columns given with their lengths; None stands for empty strings."""
    return column_or_none(
        value
        for length, column in columns
        for value in ([""] * length if column is None else column)
    )
