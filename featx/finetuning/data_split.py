"""Pictures to train on and to test on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed

from featx.data.datasets import ImageDataset, train_test_indices
from featx.data.images import Images
from featx.errors import DatasetError, ImageError

_TEST_SHARE = 0.25


@dataclass
class DataSplit:
    """Pictures with classes, divided.

    Parameters
    ----------
    dataset : ImageDataset
        Those that have a class and can be read.
    train, valid, test : ndarray of int
        Places of each; `valid` may be empty: then a share of `train` is what to stop by.
    failures : list of (str, str)
        Pictures that cannot be read, and why.
    division : str
        How it was divided, in words.
    """

    dataset: ImageDataset
    train: npt.NDArray[np.intp]
    valid: npt.NDArray[np.intp]
    test: npt.NDArray[np.intp]
    failures: list[tuple[str, str]] = field(default_factory=list)
    division: str = ""

    def part(self, indices: npt.NDArray[np.intp]) -> tuple[Images, npt.NDArray[np.str_]]:
        """Pictures and classes at places."""
        assert self.dataset.labels is not None
        return self.dataset.images.take(indices.tolist()), self.dataset.labels[indices]

    def thinned(self, n_per_class: int, random_state: int) -> DataSplit:
        """The same with so many training pictures of each class, drawn at random."""
        _, labels = self.part(self.train)
        generator = np.random.default_rng(random_state)
        drawn = [
            generator.permutation(np.flatnonzero(labels == label))[:n_per_class]
            for label in np.unique(labels)
        ]
        kept = np.sort(np.concatenate(drawn))
        return DataSplit(self.dataset, self.train[kept], self.valid, self.test)

    def check_per_class(self, labels: Sequence[int], train_per_class: int | None) -> None:
        """Refuse more training pictures of each class than there are.

        Raises
        ------
        DatasetError
            With the smallest class.
        """
        names, counts = np.unique(self.part(self.train)[1], return_counts=True)
        smallest = int(counts.argmin())
        wanted = [*labels, *([] if train_per_class is None else [train_per_class])]
        if train_per_class is not None and max(wanted) > train_per_class:
            raise DatasetError(
                f"labels {', '.join(map(str, labels))} are more than train_per_class="
                f"{train_per_class}; give fewer."
            )
        if wanted and not 1 <= min(wanted) <= max(wanted) <= counts[smallest]:
            raise DatasetError(
                f"Expected {', '.join(map(str, sorted(wanted)))} training pictures of each class; "
                f"{names[smallest]} has {counts[smallest]}, so give 1 to {counts[smallest]}."
            )


def load_data_split(
    dataset: ImageDataset, *, random_state: int = 0, n_jobs: int | None = None
) -> DataSplit:
    """Images with classes that can be read, divided by their folders, else at random.

    Parameters
    ----------
    dataset : ImageDataset
        With ``train`` and ``val`` or ``test`` folders these are kept: the network is tested on
        ``test``, or on ``val`` where there is no other; with all three it stops by ``val``.
        Otherwise a quarter of each class is left out to test on.
    random_state : int, default=0
        Of the division.
    n_jobs : int, optional

    Raises
    ------
    DatasetError
        If there are no classes or too few.
    """
    if dataset.labels is None or len(set(dataset.labels) - {""}) < 2:
        raise DatasetError(
            f"{dataset.source}: expected pictures of two or more classes, as folders or a manifest."
        )
    labelled = np.flatnonzero(dataset.labels != "")
    dataset = dataset.take(labelled)
    failures = dict(_unreadable(dataset.images, n_jobs))
    readable = np.array([i for i in range(len(dataset)) if i not in failures], np.intp)
    named = [(dataset.names[i], reason) for i, reason in sorted(failures.items())]
    if named and len(set(dataset.labels[readable])) < 2:  # type: ignore[index]
        raise DatasetError(
            f"{dataset.source}: expected readable images of two or more classes; {len(named)} of "
            f"{len(dataset)} cannot be read, such as {named[0][0]}: {named[0][1]}."
        )
    task = _divide(dataset.take(readable), named, random_state)
    for part in (task.valid, task.test):
        check_known(task.part(part)[1], task.part(task.train)[1])
    return task


def check_known(labels: Any, learned: Any) -> None:
    """Refuse pictures to measure with whose classes nothing is learned of.

    Raises
    ------
    DatasetError
        With the classes.

    Examples
    --------
    >>> check_known(["ant"], ["ant", "bee"])
    """
    strange = sorted(set(np.asarray(labels).tolist()) - set(np.asarray(learned).tolist()))
    if strange:
        raise DatasetError(
            f"No pictures to train on of {', '.join(map(str, strange))}, which other pictures are "
            "to be measured by; add some, or leave those out."
        )


def _divide(dataset: ImageDataset, failures: list[tuple[str, str]], random_state: int) -> DataSplit:
    none = np.empty(0, np.intp)
    train, val, test = (dataset.split(name) for name in ("train", "val", "test"))
    if len(train) and (len(val) or len(test)):
        if not len(test):
            return DataSplit(dataset, train, none, val, failures, "folders train and val")
        return DataSplit(dataset, train, val, test, failures, "folders train, val and test")
    assert dataset.labels is not None
    size = 1 - _TEST_SHARE
    train, test = train_test_indices(dataset.labels, train_size=size, random_state=random_state)
    words = f"{_TEST_SHARE:.0%} of each class left out to test on, seed {random_state}"
    return DataSplit(dataset, train, none, test, failures, words)


def _unreadable(images: Images, n_jobs: int | None) -> Iterator[tuple[int, str]]:
    """Places of pictures that cannot be decoded, and why."""
    reasons = Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(_reason)(images, i) for i in range(len(images))
    )
    yield from ((i, reason) for i, reason in enumerate(reasons) if reason)


def _reason(images: Images, index: int) -> str:
    try:
        images.pixels(index)
    except ImageError as error:
        return error.reason
    return ""
