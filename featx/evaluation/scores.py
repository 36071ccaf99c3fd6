"""How well predictions do, how sure that is, and whether two do differently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
SURE = 0.95
"""What intervals cover."""
N_RESAMPLES = 2000


class Interval(NamedTuple):
    """A mean and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedTest:
    """Difference of two kinds of features on the same splits.

    Attributes
    ----------
    difference, low, high : float
        Of the second from the first, with its 95 % interval.
    p_value : float
    """

    difference: float
    low: float
    high: float
    p_value: float

    @property
    def is_tied(self) -> bool:
        """Whether chance alone may make such a difference."""
        return self.p_value >= 1 - SURE


def interval(values: Sequence[float] | Floats, *, test_share: float = 0.0) -> Interval:
    """Mean of repeated measurements, with its interval by Student's t.

    Parameters
    ----------
    values : sequence of float
        One a split.
    test_share : float, default=0
        Test pictures for each training picture. Splits of one collection share most of their
        training pictures; with this the variance is enlarged for it [1]_.

    References
    ----------
    .. [1] Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52
       (2003) 239-281.

    Examples
    --------
    >>> interval([0.5, 0.6, 0.7]).mean
    0.6
    """
    from scipy.stats import t

    values = np.asarray(values, np.float64)
    mean, n = float(values.mean()), len(values)
    if n < 2:
        return Interval(mean, mean, mean)
    error = np.sqrt((1 / n + test_share) * values.var(ddof=1))
    half = float(t.ppf(0.5 + SURE / 2, n - 1) * error)
    return Interval(mean, mean - half, mean + half)


def bootstrap_interval(
    is_right: npt.NDArray[Any], groups: npt.NDArray[Any] | None = None, random_state: int = 0
) -> Interval:
    """Mean over the pictures of one split, with its interval over pictures drawn anew.

    Parameters
    ----------
    is_right : ndarray of bool or float, shape (n_samples,)
        Whether each was told rightly, or any other measure of each.
    groups : ndarray of shape (n_samples,), optional
        Classes: with them it is the mean of the classes' shares, each drawn within itself.
    random_state : int, default=0

    Notes
    -----
    The percentile bootstrap (Efron and Tibshirani 1993); where all are right or all wrong, the
    interval of Wilson (1927), which the bootstrap would make a point.
    """
    values = np.asarray(is_right, np.float64)
    if values.min() == values.max() and values[0] in (0, 1):
        return _wilson(float(values[0]), len(values))
    rng = np.random.default_rng(random_state)
    classes = [values] if groups is None else [values[groups == g] for g in np.unique(groups)]
    drawn = np.mean([_drawn_anew(part, rng) for part in classes], axis=0)
    low, high = np.quantile(drawn, [(1 - SURE) / 2, (1 + SURE) / 2])
    return Interval(float(np.mean([part.mean() for part in classes])), float(low), float(high))


def paired_test(
    first: Sequence[float] | Floats, second: Sequence[float] | Floats, *, test_share: float = 0.0
) -> PairedTest:
    """Whether two kinds of features differ over repeated splits that they share.

    Parameters
    ----------
    first, second : sequence of float
        Accuracy on each split, in the same order.
    test_share : float, default=0
        As in `interval`: the corrected resampled t-test of Nadeau and Bengio (2003).

    Examples
    --------
    >>> paired_test([0.9, 0.8, 0.9, 0.8], [0.5, 0.5, 0.6, 0.4]).is_tied
    False
    """
    from scipy.stats import t

    differences = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    mean, low, high = interval(differences, test_share=test_share)
    n = len(differences)
    error = np.sqrt((1 / n + test_share) * differences.var(ddof=1)) if n > 1 else 0.0
    if not error:
        return PairedTest(mean, low, high, 1.0 if mean == 0 or n < 2 else 0.0)
    return PairedTest(mean, low, high, float(2 * t.sf(abs(mean) / error, n - 1)))


def mcnemar(
    first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_], random_state: int = 0
) -> PairedTest:
    """Whether two kinds of features differ on the pictures of one split.

    Parameters
    ----------
    first, second : ndarray of bool, shape (n_samples,)
        Whether each picture was told rightly.
    random_state : int, default=0
        Of the interval, over pictures drawn anew.

    Notes
    -----
    McNemar's test (1947), exact: a sign test on the pictures that only one got right.
    """
    from scipy.stats import binomtest

    differences = first.astype(float) - second.astype(float)
    only_first, only_second = int((differences > 0).sum()), int((differences < 0).sum())
    rng = np.random.default_rng(random_state)
    low, high = np.quantile(_drawn_anew(differences, rng), [(1 - SURE) / 2, (1 + SURE) / 2])
    n_apart = only_first + only_second
    p_value = binomtest(only_first, n_apart).pvalue if n_apart else 1.0
    return PairedTest(float(differences.mean()), float(low), float(high), float(p_value))


def per_class(truth: npt.NDArray[Any], predicted: npt.NDArray[Any]) -> list[dict[str, Any]]:
    """Precision, recall and F1 of each class, as rows of a table.

    Parameters
    ----------
    truth, predicted : ndarray of shape (n_samples,)
    """
    from sklearn.metrics import precision_recall_fscore_support

    classes = np.unique(np.concatenate([truth, predicted]))
    found = precision_recall_fscore_support(truth, predicted, labels=classes, zero_division=0)
    return [
        {"class": str(name), "n": int(n), "recall": float(r), "precision": float(p), "f1": float(f)}
        for name, p, r, f, n in zip(classes, *found, strict=True)
    ]


def _drawn_anew(values: Floats, rng: np.random.Generator) -> Floats:
    """Means of as many values drawn with replacement, again and again."""
    n = len(values)
    return np.array([values[rng.integers(n, size=n)].mean() for _ in range(N_RESAMPLES)])


def _wilson(share: float, n: int) -> Interval:
    from scipy.stats import norm

    z = float(norm.ppf(0.5 + SURE / 2))
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(share, max(0.0, float(middle - half)), min(1.0, float(middle + half)))
