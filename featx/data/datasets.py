"""Data sets: folders, files, manifests, the built-in digits, and torchvision's by name."""

from __future__ import annotations

import logging
import os
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from featx.data.groups import column_of_groups, deal_groups, draw_groups, group_images
from featx.data.image_dataset import ImageDataset, Strings, name_of
from featx.data.images import MAX_PIXELS, Images
from featx.data.listings import Meaning, Source, list_sources
from featx.errors import DatasetError, did_you_mean
from featx.process.phases import phase

__all__ = ["ImageDataset", "fold_numbers", "load_dataset", "train_test_indices"]

logger = logging.getLogger(__name__)

_SPLITS = ("auto", "none")

Labels: TypeAlias = Sequence[str] | Strings | npt.NDArray[np.intp]


@phase("list images")
def load_dataset(
    data: Source | Iterable[Source],
    *,
    domains: bool | Sequence[str] | None = None,
    groups: str | bool | None = None,
    splits: str = "auto",
    root: Source | None = None,
    value_range: Any = None,
    window: Any = None,
    pages: str | None = None,
    bands: Any = None,
    max_pixels: int = MAX_PIXELS,
) -> ImageDataset:
    """Find the images of folders, files, manifests or a named data set; none is decoded yet.

    Parameters
    ----------
    data : str or path, or several of them
        A folder, searched recursively: the folder of an image is its class, and a folder called
        ``train``, ``val`` or ``test`` above it its split. A file. Several files or folders, read
        as if the folder that contains them were given. A manifest (``.csv``, ``.tsv``,
        ``.parquet`` or ``.jsonl`` with the columns ``path,label[,split][,domain][,group]``,
        ``.json``, ``.txt``). ``-`` (names on standard input, one per line or separated by NUL),
        ``digits``, or ``torchvision:NAME[,key=value...]``.
    domains : bool or list of str, optional
        Whether the folder above the class is the domain; a list selects domains. Manifests have
        a column for it.
    groups : str or False, optional
        Images of one group, such as a patient or a site, stay on one side of every split. Either a
        column of the manifest, or ``re:PATTERN``, a regular expression searched for in the
        images' names whose parenthesised part is the group. By default the manifest's column
        ``group``; False ignores it.
    splits : {"auto", "none"}, default="auto"
        Whether folders with the usual names of splits (`featx.data.splits.find_split`) and a
        manifest's column ``split`` define splits. With ``none`` such a folder above the classes
        is skipped, and one that holds images itself is a class.
    root : path, optional
        Folder of torchvision's data sets; by default in the user's cache folder.
    value_range, window, pages, bands
        How stored values are converted to pixels, as in `featx.Images`.
    max_pixels : int, default=89478485
        Images with more pixels are refused before they are decoded.

    Returns
    -------
    ImageDataset
        Sorted by name if read from a folder, else in the given order.

    Raises
    ------
    DatasetError
        If the data do not exist or contain no image.

    Examples
    --------
    >>> load_dataset("digits").images.pixels(0).shape
    (8, 8, 3)
    """
    given = [data] if isinstance(data, str | os.PathLike) else list(data)
    if not given:
        raise DatasetError("No data given; expected a folder, files, a manifest or 'digits'.")
    if splits not in _SPLITS:
        raise DatasetError(f"splits must be one of {', '.join(_SPLITS)}; got {splits!r}.")
    meaning = Meaning(bool(domains), splits != "none", column_of_groups(groups))
    dataset = list_sources(given, meaning, root=root)
    if not len(dataset):
        raise DatasetError(" ".join(dataset.notes))
    if domains is False:
        dataset = replace(dataset, domains=None)
    if domains:
        dataset = _keep_domains(dataset, domains)
    for folder, reason in dataset.unreadable:
        logger.warning("Folder %s cannot be read: %s.", folder, reason)
    names = _unique(dataset.names)
    images = Images(
        dataset.images,
        names=names,
        value_range=value_range,
        window=window,
        pages=pages,
        bands=bands,
        max_pixels=max_pixels,
    )
    dataset = replace(dataset, images=images, names=names, source=_describe(given))
    dataset = replace(dataset, words=_quote(given))
    return group_images(dataset, groups)


def train_test_indices(
    labels: Labels,
    *,
    train_size: int | float,
    random_state: int | None = 0,
    groups: Strings | None = None,
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Indices of a random training and test part, stratified by class.

    Parameters
    ----------
    labels : sequence of str
    train_size : int or float
        Number or fraction of training images per class; every class with at least two images
        keeps at least one test image.
    random_state : int or None, default=0
    groups : array of str, shape (n_images,), optional
        Groups are never divided: a number of training images is drawn from the groups on that
        side, and a fraction is met only approximately.

    Returns
    -------
    train, test : ndarray of int
        In ascending order.

    Examples
    --------
    >>> train_test_indices(["a", "a", "b", "b"], train_size=1)[0].shape
    (2,)
    """
    codes = np.unique(np.asarray(labels), return_inverse=True)[1]
    counts = np.bincount(codes)
    is_number = isinstance(train_size, int)
    wanted = np.full(len(counts), train_size) if is_number else np.rint(train_size * counts)
    wanted = np.clip(wanted, 1, np.maximum(counts - 1, 1)).astype(int)
    rng = np.random.default_rng(random_state)
    if groups is None:
        train = _draw(np.arange(len(codes)), codes, wanted, rng)
        return train, np.setdiff1d(np.arange(len(codes)), train)
    is_train = draw_groups(codes, groups, wanted, rng)
    train = np.flatnonzero(is_train)
    if is_number:
        train = _draw(train, codes, wanted, rng)
    return train, np.flatnonzero(~is_train)


def fold_numbers(
    labels: Labels,
    n_folds: int,
    *,
    random_state: int | None = 0,
    groups: Strings | None = None,
) -> npt.NDArray[np.intp]:
    """Fold of each image, every class dealt out evenly in turn.

    Parameters
    ----------
    labels : sequence
    n_folds : int
    random_state : int or None, default=0
    groups : array of str, shape (n_images,), optional
        With them the folds are those of scikit-learn's `StratifiedGroupKFold`.

    Returns
    -------
    ndarray of int, shape (n_images,)
        From 0 on; without groups -1 for the only image of a class, which cannot be both learned
        and tested.

    Raises
    ------
    ValueError
        If there are fewer groups than folds, or fewer images of every class.

    Examples
    --------
    >>> np.bincount(fold_numbers(["a", "a", "a", "b", "b", "b"], 3))
    array([2, 2, 2])
    """
    labels = np.asarray(labels)
    if groups is not None:
        codes = np.unique(labels, return_inverse=True)[1]
        return deal_groups(codes, groups, n_folds, random_state)
    rng = np.random.default_rng(random_state)
    folds, n_dealt = np.full(len(labels), -1), 0
    for label in np.unique(labels):
        indices = rng.permutation(np.flatnonzero(labels == label))
        if len(indices) > 1:
            folds[indices] = (n_dealt + np.arange(len(indices))) % n_folds
            n_dealt += len(indices)
    return folds


def _draw(
    indices: npt.NDArray[np.intp],
    codes: npt.NDArray[np.intp],
    n_wanted: npt.NDArray[np.intp],
    rng: np.random.Generator,
) -> npt.NDArray[np.intp]:
    """At most so many of each class, at random, in ascending order."""
    drawn = [
        rng.permutation(indices[codes[indices] == code])[: n_wanted[code]]
        for code in range(len(n_wanted))
    ]
    return np.sort(np.concatenate([np.empty(0, np.intp), *drawn]))


def _keep_domains(dataset: ImageDataset, domains: bool | Sequence[str]) -> ImageDataset:
    """Images of the domains asked for."""
    if dataset.domains is None:
        raise DatasetError(
            "The data has no domains; expected folders <domain>/<class>/<image>, or a manifest "
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


def _quote(given: Sequence[Source]) -> str:
    """Sources as a command line has them; of many, the first three."""
    words = [shlex.quote(name_of(os.fspath(source))) for source in given[:3]]
    return " ".join([*words, *(["…"] if len(given) > 3 else [])])


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
