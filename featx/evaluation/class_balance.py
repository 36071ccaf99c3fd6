"""Classes as a classifier meets them: how many images each has, and which may be one class."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_LEAST_IMAGES = 5
"""So many folds are usual: with fewer images per class is missing from some."""


class ClassProblem(NamedTuple):
    """What is wrong with a class.

    Attributes
    ----------
    label, problem, note : str
    n_images : int
    """

    label: str
    problem: str
    note: str
    n_images: int


def find_class_problems(
    labels: npt.NDArray[np.str_], splits: npt.NDArray[np.str_] | None = None
) -> Iterator[ClassProblem]:
    """Classes that are too small, are tested on alone, or differ from another by form only.

    Parameters
    ----------
    labels : array of str, shape (n_images,)
        Empty where unknown.
    splits : array of str, shape (n_images,), optional

    Examples
    --------
    >>> labels = np.array(["cat"] * 9 + ["Cat"] * 5)
    >>> [problem[:3] for problem in find_class_problems(labels)]
    [('Cat', 'class name', "like 'cat' but for case, spaces or Unicode form")]
    """
    counts = count_classes(labels)
    for label, n_images in counts.items():
        if n_images < _LEAST_IMAGES:
            note = f"expected at least {_LEAST_IMAGES}, one for each of {_LEAST_IMAGES} folds"
            yield ClassProblem(label, "small class", note, n_images)
    if splits is not None and (splits == "train").any():
        trained = set(labels[np.isin(splits, ["train", "val"])])
        for label, n_images in counts.items():
            if label not in trained:
                note = "no training image"
                yield ClassProblem(label, "untrained class", note, n_images)
    for alike in _alike(counts):
        largest, *others = sorted(alike, key=lambda label: -counts[label])
        for label in others:
            note = f"like {largest!a} but for case, spaces or Unicode form"
            yield ClassProblem(label, "class name", note, counts[label])


def count_classes(labels: Any) -> dict[str, int]:
    """Number of images of each class, by name."""
    names, counts = np.unique(labels[labels != ""], return_counts=True)
    return {str(name): int(n) for name, n in zip(names, counts)}


def _alike(labels: Any) -> Iterator[list[str]]:
    """Sets of classes whose names are the same to a reader."""
    named: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        named[" ".join(unicodedata.normalize("NFKC", label).casefold().split())].append(label)
    return (alike for alike in named.values() if len(alike) > 1)
