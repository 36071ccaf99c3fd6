"""What a classifier on features reaches over the splits of a protocol."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from featx._linalg import map_on_cores, take_rows
from featx.data.images import Images
from featx.evaluation.protocols import Protocol, Split
from featx.evaluation.scores import (
    Floats,
    Interval,
    PairedTest,
    accuracy_interval,
    mcnemar,
    paired_test,
    resampled_variance,
)
from featx.process.phases import phase

Column: TypeAlias = npt.NDArray[Any]

_MAX_PARALLEL_BYTES = 2**28
"""Features of which classifiers of several splits are trained at once, each with a copy."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions for the test images of one split.

    Attributes
    ----------
    indices : ndarray of int, shape (n_test,)
        Of the images among all.
    truth, predicted : ndarray of str, shape (n_test,)
    probability : ndarray of shape (n_test,)
        Of the predicted class.
    log_loss : float
    """

    indices: Column
    truth: Column
    predicted: Column
    probability: Floats
    log_loss: float

    @cached_property
    def is_right(self) -> npt.NDArray[np.bool_]:
        """Whether each image was correctly classified."""
        is_right: npt.NDArray[np.bool_] = self.truth == self.predicted
        return is_right

    @cached_property
    def balanced(self) -> float:
        """Mean over classes of the fraction that was correctly classified."""
        return float(
            np.mean([self.is_right[self.truth == c].mean() for c in np.unique(self.truth)])
        )


@dataclass(frozen=True, eq=False)
class SplitScores:
    """Scores of one feature set, or of one fine-tuned network, over all splits.

    Attributes
    ----------
    predictions : list of Predictions
        One for each split; with several seeds all splits of the first seed come first.
    test_share : float
        Test images for each training image, at most 1: the rule that it serves
        (`featx.evaluation.scores.interval`) was made for splits with more training than test
        images.
    Cs : list of float or None
        Strength chosen in each split.
    train_seconds : float
        Mean of the splits, the choice of C included.
    has_converged : bool
        In every split.
    n_seeds : int, default=1
        Repetitions of every split; each split's accuracy is their mean.
    """

    predictions: list[Predictions]
    test_share: float
    Cs: list[float | None]
    train_seconds: float
    has_converged: bool
    n_seeds: int = 1

    @classmethod
    def of(cls, parts: Iterable[FittedSplit], folds: Sequence[Split]) -> Self:
        """Scores of what was fitted to each split.

        Parameters
        ----------
        parts : iterable of FittedSplit
            Taken one after the other, so that a generator holds one model at a time.
        folds : sequence of (ndarray, ndarray)
        """
        predictions, Cs, seconds, converged = [], [], [], []
        for model, prediction, taken in parts:
            predictions.append(prediction)
            Cs.append(getattr(model, "C_", None))
            seconds.append(taken)
            converged.append(bool(getattr(model, "converged_", True)))
        train, test = folds[0]
        share = min(1.0, len(test) / len(train))
        return cls(predictions, share, Cs, float(np.mean(seconds)), all(converged))

    @classmethod
    def of_seeds(cls, scores: Sequence[SplitScores]) -> Self:
        """Scores of several seeds on the same test images as one."""
        return cls(
            [prediction for part in scores for prediction in part.predictions],
            scores[0].test_share,
            [C for part in scores for C in part.Cs],
            float(np.mean([part.train_seconds for part in scores])),
            all(part.has_converged for part in scores),
            len(scores),
        )

    @cached_property
    def accuracies(self) -> Floats:
        """Accuracy in each split."""
        return self._mean_of_seeds([prediction.is_right.mean() for prediction in self.predictions])

    @cached_property
    def balanced_accuracies(self) -> Floats:
        """Mean over classes of the accuracy, in each split."""
        return self._mean_of_seeds([prediction.balanced for prediction in self.predictions])

    @cached_property
    def interval(self) -> Interval:
        """Mean accuracy with its 95 % interval."""
        return self._interval("accuracy")

    @cached_property
    def balanced_interval(self) -> Interval:
        """Mean of the classes' accuracies with its 95 % interval."""
        return self._interval("balanced_accuracy")

    @property
    def accuracy(self) -> float:
        """Mean accuracy."""
        return self.interval.mean

    @property
    def low(self) -> float:
        """Lower end of the interval of the accuracy."""
        return self.interval.low

    @property
    def high(self) -> float:
        """Upper end of the interval of the accuracy."""
        return self.interval.high

    def compared_to(self, other: SplitScores, metric: str = "accuracy") -> PairedTest:
        """Difference to other features on the same splits: positive where these are better.

        The p value of accuracies on a single split is that of McNemar's test.
        """
        parts, others = self.predictions, other.predictions
        if len(parts) < len(others):  # Fewer seeds, on the same splits.
            parts = parts * (len(others) // len(parts))
        pairs = list(zip(parts, others * (len(parts) // len(others)), strict=True))
        by_split = [scores._by_split(metric) for scores in (self, other)]
        first, second = (float(values.mean()) for values in by_split)
        tested = _TestedImages.of(parts)
        test = paired_test(
            first,
            second,
            tested.mean([mine.is_right & theirs.is_right for mine, theirs in pairs], metric),
            tested.n_images(metric),
            resampled_variance(by_split[0] - by_split[1], self.test_share),
        )
        if len(pairs) == 1 and metric == "accuracy":
            (mine, theirs), *_ = pairs
            return replace(test, p_value=mcnemar(mine.is_right, theirs.is_right))
        return test

    def to_row(self) -> dict[str, Any]:
        """Scores under the names of a table."""
        from sklearn.metrics import f1_score

        balanced = self.balanced_interval
        return {
            "accuracy": self.accuracy,
            "low": self.low,
            "high": self.high,
            "balanced_accuracy": balanced.mean,
            "balanced_low": balanced.low,
            "balanced_high": balanced.high,
            "macro_f1": float(
                np.mean([f1_score(p.truth, p.predicted, average="macro") for p in self.predictions])
            ),
            "log_loss": float(np.mean([p.log_loss for p in self.predictions])),
            "train_seconds": self.train_seconds,
            "C": None if self.Cs[0] is None else float(np.median(self.Cs)),  # type: ignore[arg-type]
            "converged": self.has_converged,
        }

    def _by_split(self, metric: str) -> Floats:
        return self.accuracies if metric == "accuracy" else self.balanced_accuracies

    def _mean_of_seeds(self, values: Sequence[float]) -> Floats:
        means: Floats = np.reshape(values, (self.n_seeds, -1)).mean(axis=0)
        return means

    def _interval(self, metric: str) -> Interval:
        values = self._by_split(metric)
        tested = _TestedImages.of(self.predictions)
        variance = resampled_variance(values, self.test_share)
        if metric != "accuracy":
            variance = max(variance, tested.balanced_variance(self.predictions))
        return accuracy_interval(float(values.mean()), tested.n_images(metric), variance)


@dataclass(frozen=True, eq=False)
class _TestedImages:
    """Distinct images that were tested on, each once or several times.

    Attributes
    ----------
    indices : ndarray of int, shape (n_predictions,)
        Which image each prediction is of.
    codes : ndarray of int, shape (n_images,)
        Class of each image.
    """

    indices: Column
    codes: Column

    @classmethod
    def of(cls, predictions: Sequence[Predictions]) -> Self:
        """Images that predictions are of."""
        indices = np.concatenate([part.indices for part in predictions])
        truth = np.concatenate([part.truth for part in predictions])
        _, first, indices = np.unique(indices, return_index=True, return_inverse=True)
        return cls(indices, np.unique(truth[first], return_inverse=True)[1])

    def n_images(self, metric: str) -> float:
        """Number of images; where classes are weighed, of equal ones (Kish 1965)."""
        return float(1 / (self._weights(metric) ** 2).sum())

    def mean(self, is_right: Sequence[Column], metric: str) -> float:
        """Mean over images of a column that each prediction has."""
        return float(self._weights(metric) @ self._by_image(is_right))

    def balanced_variance(self, predictions: Sequence[Predictions]) -> float:
        """Of the mean over classes, each of which has an accuracy of its own."""
        n_per_class = np.bincount(self.codes)
        right = self._by_image([part.is_right for part in predictions])
        recalls = np.bincount(self.codes, right) / n_per_class
        return float((recalls * (1 - recalls) / n_per_class).mean() / len(recalls))

    def _by_image(self, is_right: Sequence[Column]) -> Floats:
        means: Floats = np.bincount(self.indices, np.concatenate(is_right)) / np.bincount(
            self.indices
        )
        return means

    def _weights(self, metric: str) -> Floats:
        """Of each image in a mean."""
        n_per_class = np.bincount(self.codes)
        if metric == "accuracy":
            return np.full(len(self.codes), 1 / len(self.codes))
        weights: Floats = 1 / (len(n_per_class) * n_per_class[self.codes])
        return weights


class FittedSplit(NamedTuple):
    """What was fitted to one split.

    Attributes
    ----------
    model : classifier
    predictions : Predictions
    seconds : float
        Of the training.
    """

    model: Any
    predictions: Predictions
    seconds: float


@phase("train classifier")
def score_splits(
    X: Any,
    labels: Any,
    folds: Sequence[Split],
    probe: Any,
    *,
    splits: Any = None,
    groups: Any = None,
    shuffle_seed: int | None = None,
) -> SplitScores:
    """Scores of a classifier on features, trained and tested on each split.

    Parameters
    ----------
    X : array of shape (n_images, n_features), or a callable
        A callable takes the number of a split and returns the features of all images as
        they are for that split, for features that learn from training images.
    labels : array of str, shape (n_images,)
    folds : sequence of (ndarray, ndarray)
        Places of training and test images, as `Protocol.split` gives them.
    probe : classifier
        For example a `LinearProbe`; a copy is fitted to each split.
    splits : array of str, optional
        Where it says ``val`` of training images, the strength is chosen on these.
    groups : array of str, optional
        Images of one group are left out together where the strength is chosen.
    shuffle_seed : int, optional
        Shuffle the labels of the training images of each split: what chance reaches. Only among
        these, so that each class is still there to learn.

    Returns
    -------
    SplitScores

    Examples
    --------
    >>> from featx import LinearProbe
    >>> X, labels = np.eye(2)[[0, 1] * 4], np.array(["a", "b"] * 4)
    >>> score_splits(X, labels, [(np.arange(6), np.arange(6, 8))], LinearProbe(C=1.0)).accuracy
    1.0
    """

    def fit(number: int) -> FittedSplit:
        return fit_split(
            clone(probe),
            X(number) if callable(X) else X,
            labels,
            folds[number],
            splits=splits,
            groups=groups,
            shuffle_seed=None if shuffle_seed is None else [shuffle_seed, number],
        )

    numbers = range(len(folds))
    are_small = not callable(X) and X.nbytes < _MAX_PARALLEL_BYTES
    return SplitScores.of(map_on_cores(fit, numbers) if are_small else map(fit, numbers), folds)


def fit_split(
    model: Any,
    X: Any,
    labels: Any,
    fold: Split,
    *,
    splits: Any = None,
    groups: Any = None,
    shuffle_seed: Sequence[int] | None = None,
    **fitting: Any,
) -> FittedSplit:
    """Fit a classifier to the training part of one split, and test it on the other.

    Every accuracy that featx prints of a split is measured here.

    Parameters
    ----------
    model : classifier
        With ``fit``, ``predict_proba`` and ``classes_``; what it predicts is the most probable
        class.
    X : array of shape (n_images, n_features), or Images
        Images for a classifier that takes them, such as a network to fine-tune.
    labels : array of str, shape (n_images,)
    fold : (ndarray, ndarray)
        Indices of training and test images.
    splits, groups : array of str, optional
        As in `score_splits`.
    shuffle_seed : sequence of int, optional
        Shuffle the labels of the training images.
    **fitting
        Further arguments of ``fit``.
    """
    labels = np.asarray(labels, str)
    train, test = fold
    learned = labels[train]
    if shuffle_seed is not None:
        learned = np.random.default_rng(shuffle_seed).permutation(learned)
    rows = _take_rows(X, train)
    started = time.perf_counter()
    fit_probe(
        model,
        rows,
        learned,
        held_out=validation_mask(splits, train),
        groups=None if groups is None else np.asarray(groups)[train],
        **fitting,
    )
    seconds = getattr(model, "seconds_", time.perf_counter() - started)
    return FittedSplit(model, _predict(model, _take_rows(X, test), labels[test], test), seconds)


def make_probe(protocol: Protocol, *, C: float | None = None, n_neighbors: int = 10) -> Any:
    """The classifier of a protocol.

    Parameters
    ----------
    protocol : Protocol
    C : float, optional
        A strength that is fixed rather than chosen.
    n_neighbors : int, default=10
        Of ``knn``.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer, StandardScaler

    from featx.evaluation.linear_probe import LinearProbe
    from featx.evaluation.nearest_neighbors import MeanProbe, NeighborProbe

    if protocol.classifier in ("knn", "nearest_mean"):
        scalers = {"standard": [StandardScaler()], "l2": [Normalizer()], "none": []}
        nearest = NeighborProbe(n_neighbors) if protocol.classifier == "knn" else MeanProbe()
        return make_pipeline(*scalers[protocol.scale], nearest)
    return LinearProbe(
        protocol.classifier,  # type: ignore[arg-type]
        scale=protocol.scale,  # type: ignore[arg-type]
        C=C,
        grid=protocol.grid,
        validation=protocol.validation,
        metric=protocol.selection,  # type: ignore[arg-type]
        class_weight=protocol.class_weight,  # type: ignore[arg-type]
        random_state=protocol.random_state,
    )


def fit_probe(
    probe: Any, X: Any, labels: Any, *, held_out: Any = None, groups: Any = None, **fitting: Any
) -> Any:
    """A fitted classifier; one that holds out images gets their indices.

    Parameters
    ----------
    probe : classifier
    X : array of shape (n_images, n_features), or Images
    labels : array of str, shape (n_images,)
    held_out, groups : optional
        As in `LinearProbe.fit`.
    **fitting
        Further arguments of ``fit``.
    """
    if hasattr(probe, "validation"):
        fitting |= {"held_out": held_out, "groups": groups}
    return probe.fit(X, labels, **fitting)


def probe_classes() -> tuple[type[Any], ...]:
    """All that `make_probe` makes classifiers of: what a saved probe may hold, and nothing else."""
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import Normalizer, StandardScaler

    from featx.evaluation.linear_probe import LinearProbe
    from featx.evaluation.nearest_neighbors import MeanProbe, NeighborProbe

    probes = LinearProbe, MeanProbe, NeighborProbe
    return *probes, KNeighborsClassifier, Normalizer, StandardScaler


def _take_rows(X: Any, indices: Column) -> Any:
    """Some images, or rows of features: in a temporary file where they are large."""
    if isinstance(X, Images):
        return X.take(indices.tolist())
    return take_rows(X, indices) if X.dtype == np.float32 else X[indices]


def validation_mask(splits: Any, train: Column) -> npt.NDArray[np.bool_] | None:
    """Training images of the data's own ``val`` folder, where there are some and others."""
    if splits is None:
        return None
    is_held_out: npt.NDArray[np.bool_] = np.asarray(splits, str)[train] == "val"
    return is_held_out if is_held_out.any() and not is_held_out.all() else None


def _predict(model: Any, X: Any, truth: Column, test: Column) -> Predictions:
    probabilities = model.predict_proba(X)
    classes = model.classes_
    own = probabilities[np.arange(len(test)), np.searchsorted(classes, truth)]
    log_loss = float(-np.log(own.clip(np.finfo(float).eps)).mean())
    predicted = classes[probabilities.argmax(axis=1)]
    return Predictions(test, truth, predicted, probabilities.max(axis=1), log_loss)
