"""Protocols by name: how pictures are split, what is tried, and what is measured."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from featx.data.datasets import fold_numbers, train_test_indices
from featx.errors import DatasetError, FeatxWarning, SpecError

Indices: TypeAlias = npt.NDArray[np.intp]
Split: TypeAlias = tuple[Indices, Indices]

_WIDE_GRID = tuple(float(f"{value:.6g}") for value in np.logspace(-6, 5, 45))
DEFAULT_GRID = tuple(float(f"1e{power}") for power in range(-5, 4))
"""Inverse strengths of the penalty that are tried by default."""

_CHOICES = {
    "splits": ("cv", "random", "folders"),
    "classifier": ("logistic", "svm", "ridge", "knn", "nearest_mean"),
    "scale": ("standard", "l2", "none"),
    "metric": ("accuracy", "balanced_accuracy"),
    "selection": ("log_loss", "accuracy", "balanced_accuracy"),
}


@dataclass(frozen=True)
class Protocol:
    """Everything that fixes an accuracy besides features and pictures.

    Attributes
    ----------
    name : str
    splits : {"cv", "random", "folders"}
        Stratified cross-validation; random training pictures of each class; the folders
        ``train``, ``val`` and ``test`` of the data.
    n_splits : int
        Folds, or repetitions with other seeds.
    train_per_class : int or None
        Training pictures of each class; None takes all there are.
    classifier : {"logistic", "svm", "ridge", "knn", "nearest_mean"}
    scale : {"standard", "l2", "none"}
    grid : tuple of float
        Inverse strengths C that are tried.
    validation : "auto", float or int
        Where C is chosen: a fraction of the training images, or a number of inner folds
        (`LinearProbe`).
    selection : {"log_loss", "accuracy", "balanced_accuracy"}
        What C is chosen by.
    metric : {"accuracy", "balanced_accuracy"}
        What features are ranked by.
    random_state : int
    source : str
        Where the protocol was published.
    """

    name: str
    splits: Literal["cv", "random", "folders"] = "cv"
    n_splits: int = 5
    train_per_class: int | None = None
    classifier: str = "logistic"
    scale: str = "standard"
    grid: tuple[float, ...] = DEFAULT_GRID
    validation: Literal["auto"] | float | int = "auto"
    selection: str = "log_loss"
    metric: str = "accuracy"
    random_state: int = 0
    source: str = ""

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise SpecError(f"No {name} {getattr(self, name)!r}; there are {', '.join(known)}.")
        if self.splits == "cv" and self.n_splits < 2:
            raise SpecError(f"Cross-validation needs at least 2 folds; got {self.n_splits}.")

    def split(self, labels: Any, splits: Any = None) -> list[Split]:
        """Places of training and test pictures, once for each repetition.

        Parameters
        ----------
        labels : array of str, shape (n_images,)
            Pictures with an empty label take no part.
        splits : array of str, shape (n_images,), optional
            ``train``, ``val`` or ``test`` of each picture.

        Returns
        -------
        list of (ndarray, ndarray)

        Raises
        ------
        DatasetError
            If there are too few classes or pictures, or no folders to split by.
        """
        labels = np.asarray(labels, str)
        known = np.flatnonzero(labels != "")
        _check_classes(labels[known])
        if self.splits == "folders":
            found = [self._of_folders(labels, splits)]
        elif self.splits == "random":
            found = self._at_random(labels, known)
        else:
            found = self._in_folds(labels, known)
        return [self._thinned(train, test, labels) for train, test in found]

    def to_dict(self) -> dict[str, Any]:
        """Everything about it, as plain values."""
        return asdict(self) | {"grid": list(self.grid)}

    def _of_folders(self, labels: Any, splits: Any) -> Split:
        if splits is None:
            raise DatasetError(
                "Protocol 'holdout' needs folders train/ and test/ (or val/), or a manifest with "
                "a column 'split'; use --protocol cv."
            )
        splits = np.where(labels == "", "", np.asarray(splits, str))
        # Where there is a test part, validation pictures are training pictures for the last fit.
        has_test = bool((splits == "test").any())
        train = np.isin(splits, ["train", "val"] if has_test else ["train"])
        test = splits == ("test" if has_test else "val")
        if not train.any() or not test.any():
            raise DatasetError(
                f"Protocol 'holdout' needs training and test pictures; got "
                f"{int(train.sum())} to train on and {int(test.sum())} to test on."
            )
        unlearned = sorted(set(labels[test]) - set(labels[train]))
        if unlearned:
            warnings.warn(
                f"Test pictures of {', '.join(unlearned)} take no part: none to train on.",
                FeatxWarning,
                stacklevel=3,
            )
        return np.flatnonzero(train), np.flatnonzero(test)

    def _at_random(self, labels: Any, known: Indices) -> list[Split]:
        size: float | int = self.train_per_class or 0.5
        pairs = [
            train_test_indices(labels[known], train_size=size, random_state=self.random_state + i)
            for i in range(self.n_splits)
        ]
        return [(known[train], known[test]) for train, test in pairs]

    def _in_folds(self, labels: Any, known: Indices) -> list[Split]:
        folds = fold_numbers(labels[known], self.n_splits, random_state=self.random_state)
        return [(known[folds != fold], known[folds == fold]) for fold in range(self.n_splits)]

    def _thinned(self, train: Indices, test: Indices, labels: Any) -> Split:
        """At most so many training pictures of each class; classes that cannot be learned go."""
        if self.train_per_class is not None and self.splits != "random":
            rng = np.random.default_rng(self.random_state)
            kept = [
                rng.permutation(train[labels[train] == name])[: self.train_per_class]
                for name in np.unique(labels[train])
            ]
            train = np.sort(np.concatenate(kept))
        return train, test[np.isin(labels[test], labels[train])]


_PROTOCOLS = {
    "cv": Protocol("cv"),
    "holdout": Protocol("holdout", splits="folders", n_splits=1),
    "random": Protocol("random", splits="random"),
    "decaf": Protocol(
        "decaf",
        splits="random",
        train_per_class=30,
        metric="balanced_accuracy",
        source="Donahue et al., DeCAF, ICML 2014: 30 per class, 5 splits, mean per class",
    ),
    "kornblith": Protocol(
        "kornblith",
        splits="folders",
        n_splits=1,
        scale="none",
        grid=_WIDE_GRID,
        validation=0.2,
        selection="accuracy",
        source="Kornblith, Shlens and Le, Do Better ImageNet Models Transfer Better?, CVPR 2019: "
        "45 C from 1e-6 to 1e5 on validation pictures, refitted on training and validation",
    ),
    "razavian": Protocol(
        "razavian",
        splits="folders",
        n_splits=1,
        classifier="svm",
        scale="l2",
        source="Razavian et al., CNN Features off-the-shelf, CVPRW 2014: unit length, linear SVM; "
        "without its augmentation of the training pictures",
    ),
}
"""Name -> protocol."""


def find_protocol(name: str | Protocol | None, splits: Any = None, **changes: Any) -> Protocol:
    """The protocol of a name, with what is to be different.

    Parameters
    ----------
    name : {"cv", "holdout", "random", "decaf", "kornblith", "razavian"}, Protocol or None
        None: ``holdout`` where the data has training and test folders, else ``cv``.
    splits : array of str, optional
        ``train``, ``val``, ``test`` of each picture. Without them protocols that use folders
        split at random, half of each class, five times.
    **changes
        Fields of `Protocol` that are not None replace the protocol's own.

    Raises
    ------
    SpecError
        If there is no such protocol.

    Examples
    --------
    >>> find_protocol("decaf").train_per_class
    30
    >>> find_protocol(None, n_splits=3).split(["a", "b"] * 6)[0][1].shape
    (4,)
    """
    changes = {key: value for key, value in changes.items() if value is not None}
    has_folders = _has_folders(splits)
    if isinstance(name, Protocol):
        protocol = name
    elif name is None:
        protocol = _PROTOCOLS["holdout" if has_folders else "cv"]
    elif name in _PROTOCOLS:
        protocol = _PROTOCOLS[name]
    else:
        raise SpecError(f"No protocol {name!r}; there are {', '.join(_PROTOCOLS)}.")
    if protocol.name in ("kornblith", "razavian") and not has_folders:
        protocol = replace(protocol, splits="random", n_splits=5)
    if "train_per_class" in changes and protocol.splits == "cv":
        protocol = replace(protocol, splits="random")
    return replace(protocol, **changes)


def _has_folders(splits: Any) -> bool:
    there = set() if splits is None else set(np.unique(np.asarray(splits, str)))
    return "train" in there and bool(there & {"val", "test"})


def _check_classes(labels: Any) -> None:
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        found = f"only {classes[0]!r}" if len(classes) else "no labels at all"
        raise DatasetError(
            f"A classifier needs pictures of at least 2 classes; got {found}. The folder of a "
            "picture names its class; a manifest has a column 'label'."
        )
    if counts.max() < 2:
        raise DatasetError(
            f"A classifier needs at least 2 pictures of a class; got {len(classes)} classes of "
            "one picture each."
        )
