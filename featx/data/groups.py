"""Groups of images, such as those of one patient, which splits must not divide."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.data.image_dataset import ImageDataset
from featx.errors import DatasetError, SpecError
from featx.process.ignored_warnings import ignored_warning

logger = logging.getLogger(__name__)

Indices = npt.NDArray[np.intp]

_PATTERN = "re:"


def column_of_groups(groups: Any) -> str | None:
    """Name of the manifest column that the parameter `groups` selects; None if it selects none.

    Raises
    ------
    SpecError
        If it is neither a name nor a boolean.

    Examples
    --------
    >>> column_of_groups("patient"), column_of_groups("re:p[0-9]+"), column_of_groups(None)
    ('patient', None, None)
    """
    if groups is None or groups is False:
        return None
    if not isinstance(groups, str) or not groups.strip():
        raise SpecError(
            f"groups must be a column of a manifest, re:PATTERN, or False for none; got {groups!r}."
        )
    return None if groups.startswith(_PATTERN) else groups


def group_images(dataset: ImageDataset, groups: str | bool | None) -> ImageDataset:
    r"""Data set with groups that a pattern extracts from the image names, or without groups.

    Parameters
    ----------
    dataset : ImageDataset
    groups : str, False or None
        ``re:PATTERN`` is searched for in each name; the group is what its parentheses match, or
        the whole match if there are none. False removes the groups. None, or the name of a
        column, leaves them unchanged.

    Returns
    -------
    ImageDataset
        The group of an image whose name does not match is empty: the image is its own group.

    Raises
    ------
    SpecError
        If the pattern is not a regular expression.
    DatasetError
        If no name matches.

    Examples
    --------
    >>> from featx import load_dataset
    >>> group_images(load_dataset("digits"), r"re:/(\d\d)").groups[:2].tolist()
    ['00', '00']
    """
    if groups is False:
        return replace(dataset, groups=None)
    if not isinstance(groups, str) or not groups.startswith(_PATTERN):
        return dataset
    try:
        pattern = re.compile(groups.removeprefix(_PATTERN))
    except re.error as error:
        raise SpecError(f"groups={groups!r} is not a regular expression: {error}.") from error
    values = [_group_of(pattern.search(name)) for name in dataset.names]
    n_unmatched = values.count("")
    if n_unmatched == len(values):
        raise DatasetError(
            f"groups={groups!r} matches none of the {len(values):,} image names, such as "
            f"{dataset.names[0]}."
        )
    if n_unmatched:
        logger.warning(
            "groups=%r matches %s of %s names; every other image is its own group, such as %s.",
            *(groups, f"{len(values) - n_unmatched:,}", f"{len(values):,}"),
            dataset.names[values.index("")],
        )
    return replace(dataset, groups=np.array(values, str))


def group_codes(groups: Any) -> Indices:
    """Integer code of each image's group; an image with an empty group is its own group.

    Parameters
    ----------
    groups : array of str, shape (n_images,)

    Returns
    -------
    ndarray of int, shape (n_images,)
        0 to ``n_groups - 1``.

    Examples
    --------
    >>> group_codes(["b", "", "a", "b", ""])
    array([1, 2, 0, 1, 3])
    """
    groups = np.asarray(groups, str)
    is_single = groups == ""
    names, named_codes = np.unique(groups[~is_single], return_inverse=True)
    codes = np.empty(len(groups), np.intp)
    codes[~is_single] = named_codes
    codes[is_single] = len(names) + np.arange(is_single.sum())
    return codes


def draw_groups(
    codes: Indices, groups: Any, n_train: npt.ArrayLike, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Draw whole groups for training, so that every class fills both splits in proportion.

    Parameters
    ----------
    codes : ndarray of int, shape (n_images,)
        Class of each image.
    groups : array of str, shape (n_images,)
    n_train : array of int, shape (n_classes,)
        Number of training images per class; met only approximately, as groups are not divided.
    rng : numpy.random.Generator
        Draws the order in which groups are assigned.

    Returns
    -------
    ndarray of bool, shape (n_images,)
        Whether an image is in the training split.
    """
    n_train = np.asarray(n_train)
    targets = np.stack([n_train, np.bincount(codes) - n_train])  # (train or test, n_classes)
    assigned = np.zeros(targets.shape)
    numbers = group_codes(groups)
    by_group = np.split(np.argsort(numbers, kind="stable"), np.cumsum(np.bincount(numbers))[:-1])
    is_train = np.zeros(len(codes), bool)
    for number in rng.permutation(len(by_group)):
        members = by_group[number]
        classes, counts = np.unique(codes[members], return_counts=True)
        # The split that lacks the larger fraction of these classes; training in case of a tie.
        lacking = 1 - assigned[:, classes] / np.maximum(targets[:, classes], 1)
        split = int((lacking @ counts).argmax())
        assigned[split, classes] += counts
        is_train[members] = split == 0
    return is_train


def group_folds(
    codes: Indices, groups: Any, n_folds: int, random_state: int | None
) -> npt.NDArray[np.intp]:
    """Index of each image's fold by scikit-learn's `StratifiedGroupKFold`: (n_images,).

    Raises
    ------
    ValueError
        If there are fewer groups than folds, or fewer images of every class.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    if n_folds < 2:
        return np.zeros(len(codes), np.intp)
    numbers = group_codes(groups)
    if numbers.max() + 1 < n_folds:
        raise ValueError(f"{n_folds} folds need as many groups; got {numbers.max() + 1}")
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=random_state)
    folds = np.empty(len(codes), np.intp)
    # Classes with fewer images than folds are reported with the description of the splits.
    with ignored_warning("The least populated class", UserWarning):
        for fold, (_, test) in enumerate(splitter.split(codes, codes, numbers)):
            folds[test] = fold
    return folds


def _group_of(match: re.Match[str] | None) -> str:
    if match is None:
        return ""
    parts = [part for part in match.groups() if part]
    return "/".join(parts) or match.group()
