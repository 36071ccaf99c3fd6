"""Groups of images that belong together, such as those of one patient: kept on one side."""

from __future__ import annotations

import logging
import re
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.data.image_dataset import ImageDataset
from featx.errors import DatasetError, SpecError

logger = logging.getLogger(__name__)

Indices = npt.NDArray[np.intp]

_PATTERN = "re:"


def column_of_groups(groups: Any) -> str | None:
    """Name of the manifest column that `groups` asks for; None where it asks for none.

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
    r"""Data set with the groups that a pattern finds in the names, or without any.

    Parameters
    ----------
    dataset : ImageDataset
    groups : str, False or None
        ``re:PATTERN`` is searched for in each name: what its parentheses match, else the whole
        match, is the group. False takes the groups away, None leaves them as they are.

    Returns
    -------
    ImageDataset
        An image whose name does not match has an empty group: it is one of its own.

    Raises
    ------
    SpecError
        If the pattern is no regular expression.
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
        raise SpecError(f"groups={groups!r} is no regular expression: {error}.") from error
    found = [_group_of(pattern.search(name)) for name in dataset.names]
    n_other = found.count("")
    if n_other == len(found):
        raise DatasetError(
            f"groups={groups!r} matches no name of {len(found):,} images, such as "
            f"{dataset.names[0]}."
        )
    if n_other:
        logger.warning(
            "groups=%r matches %s of %s names; each other image is a group of its own, such as %s.",
            *(groups, f"{len(found) - n_other:,}", f"{len(found):,}"),
            dataset.names[found.index("")],
        )
    return replace(dataset, groups=np.array(found, str))


def group_codes(groups: Any) -> Indices:
    """Number of each image's group from 0 on: (n_images,); an empty group is one of its own.

    Examples
    --------
    >>> group_codes(["b", "", "a", "b", ""])
    array([1, 2, 0, 1, 3])
    """
    groups = np.asarray(groups, str)
    is_own = groups == ""
    names, codes = np.unique(groups[~is_own], return_inverse=True)
    found = np.empty(len(groups), np.intp)
    found[~is_own] = codes
    found[is_own] = len(names) + np.arange(is_own.sum())
    return found


def draw_groups(
    codes: Indices, groups: Any, n_wanted: npt.ArrayLike, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Which images are trained on, whole groups drawn so that each class fills both sides alike.

    Parameters
    ----------
    codes : ndarray of int, shape (n_images,)
        Class of each image.
    groups : array of str, shape (n_images,)
    n_wanted : array of int, shape (n_classes,)
        Images of each class to train on. As groups are whole there may be more or fewer.
    rng : numpy.random.Generator
        Of the order in which groups are dealt.

    Returns
    -------
    ndarray of bool, shape (n_images,)
    """
    wanted = np.stack(
        [np.asarray(n_wanted), np.bincount(codes) - np.asarray(n_wanted)]
    )  # To train on, to test on.
    dealt = np.zeros(wanted.shape)
    numbers = group_codes(groups)
    by_group = np.split(np.argsort(numbers, kind="stable"), np.cumsum(np.bincount(numbers))[:-1])
    is_train = np.zeros(len(codes), bool)
    for number in rng.permutation(len(by_group)):
        members = by_group[number]
        classes, counts = np.unique(codes[members], return_counts=True)
        # The side that lacks more of its share of these classes; with neither begun, training.
        lacking = 1 - dealt[:, classes] / np.maximum(wanted[:, classes], 1)
        side = int((lacking @ counts).argmax())
        dealt[side, classes] += counts
        is_train[members] = side == 0
    return is_train


def deal_groups(
    codes: Indices, groups: Any, n_folds: int, random_state: int | None
) -> npt.NDArray[np.intp]:
    """Fold of each image by scikit-learn's `StratifiedGroupKFold`: (n_images,).

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
    dealer = StratifiedGroupKFold(n_folds, shuffle=True, random_state=random_state)
    folds = np.empty(len(codes), np.intp)
    with warnings.catch_warnings():
        # A class with fewer images than folds is told of where the splits are described.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        for fold, (_, left_out) in enumerate(dealer.split(codes, codes, numbers)):
            folds[left_out] = fold
    return folds


def _group_of(match: re.Match[str] | None) -> str:
    if match is None:
        return ""
    parts = [part for part in match.groups() if part]
    return "/".join(parts) or match.group()
