"""Protocols by name: how images are split, what is tried, and what is measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from featx._lists import shorten_names
from featx.data.datasets import fold_numbers, train_test_indices
from featx.data.groups import group_codes
from featx.errors import DatasetError, SpecError

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
    """Everything that fixes an accuracy besides features and images.

    Attributes
    ----------
    name : str
    splits : {"cv", "random", "folders"}
        Stratified cross-validation; random training images of each class; the folders
        ``train``, ``val`` and ``test`` of the data.
    n_splits : int
        Folds, or repetitions with other seeds.
    train_per_class : int or None
        Training images of each class; None takes all there are.
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
    class_weight : {"balanced"} or None
        Whether each class weighs the same in the classifier's loss, however many images it has.
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
    class_weight: str | None = None
    random_state: int = 0
    source: str = ""

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise SpecError(
                    f"{name} must be one of {', '.join(known)}; got {getattr(self, name)!r}."
                )
        if self.class_weight not in (None, "balanced"):
            raise SpecError(f"class_weight must be balanced or None; got {self.class_weight!r}.")
        if self.class_weight and self.classifier in ("knn", "nearest_mean"):
            raise SpecError(f"class_weight does not apply to {self.classifier}: it has no loss.")
        if self.splits == "cv" and self.n_splits < 2:
            raise SpecError(f"Cross-validation needs at least 2 folds; got {self.n_splits}.")

    def split(self, labels: Any, splits: Any = None, groups: Any = None) -> list[Split]:
        """Indices of training and test images, once for each repetition.

        Parameters
        ----------
        labels : array of str, shape (n_images,)
            Images with an empty label take no part.
        splits : array of str, shape (n_images,), optional
            ``train``, ``val`` or ``test`` of each image.
        groups : array of str, shape (n_images,), optional
            Images of one group are on one side of every split; an empty group is one of its own.

        Returns
        -------
        list of (ndarray, ndarray)
            In each there are two classes or more to train on, and images of these to test on.

        Raises
        ------
        DatasetError
            If there are too few classes, images or groups, no folders to split by, or a group is
            in two of them.
        """
        labels = np.asarray(labels, str)
        groups = None if groups is None else np.asarray(groups, str)
        known = np.flatnonzero(labels != "")
        _check_classes(labels[known])
        if self.splits == "folders":
            parts = [self._of_folders(labels, splits, groups)]
        elif self.splits == "random":
            parts = self._at_random(labels, known, groups)
        else:
            parts = self._in_folds(labels, known, groups)
        thinned = [(self._thinned(train, labels), test) for train, test in parts]
        return [learnable(train, test, labels) for train, test in thinned]

    def to_dict(self) -> dict[str, Any]:
        """Everything about it, as plain values."""
        return asdict(self) | {"grid": list(self.grid)}

    def _of_folders(self, labels: Any, splits: Any, groups: Any) -> Split:
        if splits is None:
            raise DatasetError(
                "Protocol 'holdout' needs folders train/ and test/ (or val/), or a manifest with "
                "a column 'split'; use --protocol cv."
            )
        splits = np.where(labels == "", "", np.asarray(splits, str))
        # Where there is a test part, validation images are training images for the last fit.
        has_test = bool((splits == "test").any())
        train = np.isin(splits, ["train", "val"] if has_test else ["train"])
        test = splits == ("test" if has_test else "val")
        if not train.any() or not test.any():
            raise DatasetError(
                f"Protocol 'holdout' needs training and test images with classes; got "
                f"{int(train.sum())} training images and {int(test.sum())} test images. Use "
                "--protocol cv."
            )
        if groups is not None:
            _check_folder_groups(splits, groups)
        return np.flatnonzero(train), np.flatnonzero(test)

    def _at_random(self, labels: Any, known: Indices, groups: Any) -> list[Split]:
        size: float | int = self.train_per_class or 0.5
        pairs = [
            train_test_indices(
                labels[known],
                train_size=size,
                random_state=self.random_state + i,
                groups=None if groups is None else groups[known],
            )
            for i in range(self.n_splits)
        ]
        return [(known[train], known[test]) for train, test in pairs]

    def _in_folds(self, labels: Any, known: Indices, groups: Any) -> list[Split]:
        own = None if groups is None else groups[known]
        self._check_folds(labels[known], own)
        folds = fold_numbers(
            labels[known], self.n_splits, random_state=self.random_state, groups=own
        )
        return [(known[folds != fold], known[folds == fold]) for fold in range(self.n_splits)]

    def _check_folds(self, labels: Any, groups: Any) -> None:
        counts = np.unique(labels, return_counts=True)[1]
        n_there, unit = int(counts[counts > 1].sum()), "images of classes with two or more"
        if groups is not None:
            n_groups = int(group_codes(groups).max()) + 1
            n_there, unit = min((n_groups, "groups"), (int(counts.max()), "images of one class"))
        if n_there < self.n_splits:
            cure = f"Use --n-splits {n_there}, or add some." if n_there > 1 else "Add some."
            raise DatasetError(
                f"Cross-validation with {self.n_splits} folds needs {self.n_splits} {unit}; got "
                f"{n_there}. {cure}"
            )

    def _thinned(self, train: Indices, labels: Any) -> Indices:
        """At most so many training images of each class."""
        if self.train_per_class is None or self.splits == "random":
            return train
        rng = np.random.default_rng(self.random_state)
        chosen = [
            rng.permutation(train[labels[train] == name])[: self.train_per_class]
            for name in np.unique(labels[train])
        ]
        return np.sort(np.concatenate(chosen))


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
        "45 C from 1e-6 to 1e5 on validation images, refitted on training and validation",
    ),
    "razavian": Protocol(
        "razavian",
        splits="folders",
        n_splits=1,
        classifier="svm",
        scale="l2",
        source="Razavian et al., CNN Features off-the-shelf, CVPRW 2014: unit length, linear SVM; "
        "without its augmentation of the training images",
    ),
}
"""Name -> protocol."""


def find_protocol(
    name: str | Protocol | None, splits: Any = None, labels: Any = None, **changes: Any
) -> Protocol:
    """The protocol of a name, with what is to be different.

    Parameters
    ----------
    name : {"cv", "holdout", "random", "decaf", "kornblith", "razavian"}, Protocol or None
        None: ``holdout`` where the data has training and test folders, else ``cv``.
    splits : array of str, optional
        ``train``, ``val``, ``test`` of each image. Without them protocols that use folders
        split at random, half of each class, five times.
    labels : array of str, optional
        Images without one are neither trained on nor tested: beside an unlabeled test folder a
        labeled training folder is all there is.
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
    has_folders = _has_folders(splits, labels)
    if isinstance(name, Protocol):
        protocol = name
    elif name is None:
        protocol = _PROTOCOLS["holdout" if has_folders else "cv"]
    elif name in _PROTOCOLS:
        protocol = _PROTOCOLS[name]
    else:
        raise SpecError(f"protocol must be one of {', '.join(_PROTOCOLS)}; got {name!r}.")
    if protocol.name in ("kornblith", "razavian") and not has_folders:
        protocol = replace(protocol, splits="random", n_splits=5)
    if "train_per_class" in changes and protocol.splits == "cv":
        protocol = replace(protocol, splits="random")
    return replace(protocol, **changes)


def _has_folders(splits: Any, labels: Any) -> bool:
    if splits is None:
        return False
    splits = np.asarray(splits, str)
    is_known = np.full(len(splits), True) if labels is None else np.asarray(labels, str) != ""
    there = set(np.unique(splits[is_known]))
    return "train" in there and bool(there & {"val", "test"})


def learnable(train: Indices, test: Indices, labels: Any) -> Split:
    """A split without test images of classes that nothing is learned of.

    Raises
    ------
    DatasetError
        If there is nothing to choose between, or nothing left to test on.
    """
    classes = np.unique(labels[train])
    tested = shorten_names(np.unique(labels[test])) or "none"
    if len(classes) < 2:
        raise DatasetError(
            "Every split needs training images of at least 2 classes; a split has "
            f"{len(train)} training images, of {shorten_names(classes) or 'none'}, and {len(test)} "
            f"test images, of {tested}. Add images of another class, or use another --protocol."
        )
    learned = test[np.isin(labels[test], classes)]
    if not len(learned):
        raise DatasetError(
            "Every split needs test images whose classes occur in its training images; a split "
            f"has {len(test)} test images, of {tested}, and training images of "
            f"{shorten_names(classes)}. Exclude these test images, or add training images of "
            "their classes."
        )
    return train, learned


def _check_folder_groups(splits: Any, groups: Any) -> None:
    pairs = {(group, split) for group, split in zip(groups, splits) if group and split}
    groups_of_pairs, counts = np.unique([group for group, _ in pairs], return_counts=True)
    if (counts > 1).any():
        torn = groups_of_pairs[counts > 1]
        raise DatasetError(
            f"Each group must be in one of train, val and test; {len(torn)} of {len(counts)} are "
            f"in several: {shorten_names(torn)}. Use --protocol cv, which splits by group, or "
            "--groups none."
        )


def _check_classes(labels: Any) -> None:
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        given = f"only {classes[0]!r}" if len(classes) else "no labels at all"
        raise DatasetError(
            f"A classifier needs images of at least 2 classes; got {given}. The folder of an "
            "image names its class; a manifest has a column 'label'."
        )
    if counts.max() < 2:
        raise DatasetError(
            f"A classifier needs at least 2 images of a class; got {len(classes)} classes of "
            "one image each."
        )
