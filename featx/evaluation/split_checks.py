"""What to know of the splits behind an accuracy: who takes no part, who is on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from featx._lists import shorten_names
from featx.data.datasets import ImageDataset
from featx.data.groups import group_codes
from featx.errors import DatasetError
from featx.evaluation.protocols import Indices, Protocol, Split


def split_readable(
    protocol: Protocol, dataset: Any, failures: Sequence[tuple[str, str]]
) -> list[Split]:
    """Splits of the images that could be read, as `Protocol.split` makes and checks them.

    Parameters
    ----------
    protocol : Protocol
    dataset : ImageDataset or FeatureSet
        Its `labels`, `splits` and `groups` are those of images that could be read.
    failures : sequence of (str, str)
        The others, and why.

    Raises
    ------
    DatasetError
        If the images do not suffice; it says how many could not be read.
    """
    try:
        return protocol.split(dataset.labels, dataset.splits, dataset.groups)
    except DatasetError as error:
        if not failures:
            raise
        path, reason = failures[0]
        n_images = len(failures) + len(dataset.labels)
        raise DatasetError(
            f"{error} {len(failures):,} of {n_images:,} images cannot be read, such as {path}: "
            f"{reason}."
        ) from error


def find_copies(folds: Sequence[Split], digests: Sequence[Any]) -> Indices:
    """Test images whose content is also among the training images of the same split.

    Parameters
    ----------
    folds : sequence of (ndarray, ndarray)
    digests : sequence of str or ImageError, of length n_images
        As `featx.store.feature_store.find_digests` gives them.

    Returns
    -------
    ndarray of int, shape (n_copies,)
        Ascending, each once.

    Examples
    --------
    >>> find_copies([(np.array([0, 1]), np.array([2, 3]))], ["a", "b", "b", "c"])
    array([2])
    """
    # An image that cannot be read is a copy of none.
    contents = group_codes([digest if isinstance(digest, str) else "" for digest in digests])
    copies = [test[np.isin(contents[test], contents[train])] for train, test in folds]
    return np.unique(np.concatenate(copies))


def describe_splits(
    dataset: ImageDataset, protocol: Protocol, folds: Sequence[Split], copies: Indices
) -> list[str]:
    """Sentences on who takes no part in an accuracy, and on copies of training images.

    Parameters
    ----------
    dataset : ImageDataset
        With labels.
    protocol : Protocol
    folds : sequence of (ndarray, ndarray)
    copies : ndarray of int
        As `find_copies` gives them.

    Returns
    -------
    list of str
        Empty where every image is tested or trained on, and no class or group is special.

    Examples
    --------
    >>> from featx import load_dataset
    >>> digits, cv = load_dataset("digits"), Protocol("cv")
    >>> describe_splits(digits, cv, cv.split(digits.labels), np.array([]))
    []
    """
    return [
        *describe_copies(folds, copies),
        *_describe_unlabeled(dataset, protocol),
        *_describe_outside(dataset, protocol),
        *_describe_classes(dataset, folds, protocol),
        *describe_groups(dataset),
    ]


def describe_copies(folds: Sequence[Split], copies: Indices) -> list[str]:
    """A warning of test images that are among the training images, too."""
    if not len(copies):
        return []
    n_tested = len(np.unique(np.concatenate([test for _, test in folds])))
    return [
        f"Beware: {len(copies):,} of {n_tested:,} test images are also among the training images "
        "(the same bytes); an accuracy on them says nothing of new images."
    ]


def _describe_unlabeled(dataset: ImageDataset, protocol: Protocol) -> list[str]:
    labels, splits = _columns(dataset)
    is_unknown = labels == ""
    is_test = (splits == "test") & is_unknown
    if is_test.any() and not ((splits == "test") & ~is_unknown).any():
        how = {
            "cv": "accuracy is cross-validated on the others",
            "random": "accuracy is that of random splits of the others",
            "folders": "accuracy is that on the validation images",
        }[protocol.splits]
        return [f"No class is known of {_counted(is_test)} in test: {how}."]
    if is_unknown.any():
        return [f"Excluded: {_counted(is_unknown)} without a class."]
    return []


def _describe_outside(dataset: ImageDataset, protocol: Protocol) -> list[str]:
    if protocol.splits != "folders":
        return []
    labels, splits = _columns(dataset)
    is_outside = (labels != "") & (splits == "")
    if not is_outside.any():
        return []
    return [f"Excluded: {_counted(is_outside)} outside of train, val and test."]


def _describe_classes(
    dataset: ImageDataset, folds: Sequence[Split], protocol: Protocol
) -> list[str]:
    """Classes that no split tests, and why."""
    labels, splits = _columns(dataset)
    if protocol.splits == "folders":
        labels = np.where(splits == "", "", labels)
    groups = None if dataset.groups is None else group_codes(dataset.groups)
    trained, tested = (
        set(labels[np.concatenate(part)].tolist()) for part in zip(*folds, strict=True)
    )
    reasons: dict[str, list[str]] = {}
    for name in sorted(set(labels.tolist()) - {""} - tested):
        members = np.flatnonzero(labels == name)
        if len(members) == 1:
            why = "Classes with one image, which cannot be both learned and tested"
        elif groups is not None and len(np.unique(groups[members])) == 1:
            why = "Classes of one group, which cannot be both learned and tested"
        elif name not in trained:
            why = "Classes without training images, whose test images take no part"
        else:
            why = "Classes without test images"
        reasons.setdefault(why, []).append(name)
    return [f"{why}: {shorten_names(names)}." for why, names in reasons.items()]


def describe_groups(dataset: ImageDataset) -> list[str]:
    """That groups are on one side, where there are groups."""
    if dataset.groups is None:
        return []
    n_groups = len(np.unique(group_codes(dataset.groups)))
    return [f"No group is on both sides of a split ({n_groups:,} groups)."]


def _counted(mask: npt.NDArray[np.bool_]) -> str:
    n = int(mask.sum())
    return f"{n:,} image{'s' * (n != 1)}"


def _columns(dataset: ImageDataset) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.str_]]:
    """Class and split of each image, empty where unknown."""
    empty = np.full(len(dataset), "")
    return tuple(empty if column is None else column for column in (dataset.labels, dataset.splits))  # type: ignore[return-value]
