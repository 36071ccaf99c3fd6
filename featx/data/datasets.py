"""Load data sets (folders, files, manifests, the built-in digits, torchvision's) and split them."""

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

from featx._lists import shorten_names
from featx.data.groups import column_of_groups, draw_groups, group_folds, group_images
from featx.data.image_dataset import ImageDataset, Strings, name_of
from featx.data.images import MAX_PIXELS, Images
from featx.data.listings import ListingOptions, Source, list_sources
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
        ``.json``, ``.txt``). Archives (``.tar``, ``.zip``, ``.parquet`` with images) and patterns
        of them; URLs that fsspec opens. ``-`` (names on standard input, one per line or separated
        by NUL), ``digits``, ``drawings`` (`featx.data.drawings`), or
        ``torchvision:NAME[,key=value...]``.
    domains : bool or list of str, optional
        Whether the folder above the class is the domain; a list selects domains. Manifests have
        a column for it.
    groups : str or False, optional
        Images of one group, such as a patient or a site, stay on one side of every split. Either a
        column of the manifest, or ``re:PATTERN``, a regular expression searched for in the
        images' names whose parenthesized part is the group. By default the manifest's column
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
    sources = [data] if isinstance(data, str | os.PathLike) else list(data)
    if not sources:
        raise DatasetError(
            "No data given; expected a folder, files, a manifest, 'digits' or 'drawings'."
        )
    if splits not in _SPLITS:
        raise DatasetError(f"splits must be one of {', '.join(_SPLITS)}; got {splits!r}.")
    options = ListingOptions(bool(domains), splits != "none", column_of_groups(groups))
    dataset = list_sources(sources, options, root=root)
    if not len(dataset):
        raise DatasetError(" ".join(dataset.empty_reasons))
    if domains is False:
        dataset = replace(dataset, domains=None)
    if domains:
        dataset = _select_domains(dataset, domains)
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
    dataset = replace(dataset, images=images, names=names, source=_describe(sources))
    dataset = replace(dataset, quoted_source=_quote(sources))
    return group_images(dataset, groups)


def train_test_indices(
    labels: Labels,
    *,
    train_size: int | float,
    random_state: int | None = 0,
    groups: Strings | None = None,
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Indices of a random training and test split, stratified by class.

    Parameters
    ----------
    labels : sequence of str
    train_size : int or float
        Number or fraction of training images per class; every class with at least two images
        keeps at least one test image.
    random_state : int or None, default=0
    groups : array of str, shape (n_images,), optional
        Groups are never divided. A number of training images is drawn from the groups on the
        training side; a fraction is met only approximately.

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
    n_train = np.full(len(counts), train_size) if is_number else np.rint(train_size * counts)
    n_train = np.clip(n_train, 1, np.maximum(counts - 1, 1)).astype(int)
    rng = np.random.default_rng(random_state)
    if groups is None:
        train = _draw(np.arange(len(codes)), codes, n_train, rng)
        return train, np.setdiff1d(np.arange(len(codes)), train)
    is_train = draw_groups(codes, groups, n_train, rng)
    train = np.flatnonzero(is_train)
    if is_number:
        train = _draw(train, codes, n_train, rng)
    return train, np.flatnonzero(~is_train)


def fold_numbers(
    labels: Labels,
    n_folds: int,
    *,
    random_state: int | None = 0,
    groups: Strings | None = None,
) -> npt.NDArray[np.intp]:
    """Index of each image's fold, stratified by class.

    Parameters
    ----------
    labels : sequence
    n_folds : int
    random_state : int or None, default=0
    groups : array of str, shape (n_images,), optional
        With groups the folds are those of scikit-learn's `StratifiedGroupKFold`.

    Returns
    -------
    ndarray of int, shape (n_images,)
        0 to ``n_folds - 1``. Without groups, the only image of a class is in fold -1, as it cannot
        be both learned and tested.

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
        return group_folds(codes, groups, n_folds, random_state)
    rng = np.random.default_rng(random_state)
    # Each class continues where the previous one stopped, so that folds are equally large.
    folds, n_assigned = np.full(len(labels), -1), 0
    for label in np.unique(labels):
        indices = rng.permutation(np.flatnonzero(labels == label))
        if len(indices) > 1:
            folds[indices] = (n_assigned + np.arange(len(indices))) % n_folds
            n_assigned += len(indices)
    return folds


def _draw(
    indices: npt.NDArray[np.intp],
    codes: npt.NDArray[np.intp],
    n_per_class: npt.NDArray[np.intp],
    rng: np.random.Generator,
) -> npt.NDArray[np.intp]:
    """At most ``n_per_class[code]`` random indices of each class, in ascending order."""
    drawn = [
        rng.permutation(indices[codes[indices] == code])[: n_per_class[code]]
        for code in range(len(n_per_class))
    ]
    return np.sort(np.concatenate([np.empty(0, np.intp), *drawn]))


def _select_domains(dataset: ImageDataset, domains: bool | Sequence[str]) -> ImageDataset:
    """Images of some domains; of all if `domains` is True."""
    if dataset.domains is None:
        raise DatasetError(
            "The data has no domains; expected folders <domain>/<class>/<image>, or a manifest "
            "with a column 'domain'."
        )
    if isinstance(domains, bool):
        return dataset
    selected = [domains] if isinstance(domains, str) else list(domains)
    available = list(dict.fromkeys(filter(None, dataset.domains.tolist())))
    for domain in selected:
        if domain not in available:
            raise DatasetError(
                f"Domain {domain!r} is not in the data.{did_you_mean(domain, available)} "
                f"Available: {', '.join(available)}."
            )
    is_selected = np.isin(dataset.domains, selected)
    return dataset if is_selected.all() else dataset.take(np.flatnonzero(is_selected))


def _quote(sources: Sequence[Source]) -> str:
    """The first three sources, quoted for a shell."""
    words = [shlex.quote(name_of(os.fspath(source))) for source in sources[:3]]
    return " ".join([*words, *(["…"] if len(sources) > 3 else [])])


def _describe(sources: Sequence[Source]) -> str:
    """The first three sources, and the number of the others."""
    return shorten_names([name_of(os.fspath(source)) for source in sources], 3)


def _unique(names: list[str]) -> list[str]:
    r"""Make names unique by a number: two different files may be shown as ``caf\xe9``."""
    if len(set(names)) == len(names):
        return names
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return unique
