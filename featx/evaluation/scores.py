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
_Z, _LARGEST_Z = 1.959963984540054, 38.0  # Quantiles of the normal distribution.
N_RESAMPLES = 2000


class Interval(NamedTuple):
    """A mean and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedTest:
    """Difference of two feature sets on the same splits.

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
        Test images for each training image. Splits of one collection share most of their
        training images; with this the variance is enlarged for it [1]_.

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
    error = np.sqrt(resampled_variance(values, test_share))
    half = float(t.ppf(0.5 + SURE / 2, n - 1) * error)
    return Interval(mean, mean - half, mean + half)


def bootstrap_interval(values: npt.ArrayLike, random_state: int = 0) -> Interval:
    """Mean over images, with its bootstrap interval over images.

    Parameters
    ----------
    values : array of shape (n_samples,)
        A measure of each image between 0 and 1.
    random_state : int, default=0

    Notes
    -----
    The percentile bootstrap (Efron and Tibshirani 1993); where all values are 0 or all are 1,
    the interval of Wilson (1927), which the bootstrap would make a point.
    """
    values = np.asarray(values, np.float64)
    mean = float(values.mean())
    if mean in (0, 1):
        return accuracy_interval(mean, len(values))
    rng = np.random.default_rng(random_state)
    drawn = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(N_RESAMPLES)]
    low, high = np.quantile(drawn, [(1 - SURE) / 2, (1 + SURE) / 2])
    return Interval(mean, float(low), float(high))


def accuracy_interval(accuracy: float, n_images: float, variance: float = 0.0) -> Interval:
    """Accuracy with its 95 % interval, which lies within 0 and 1.

    Parameters
    ----------
    accuracy : float
    n_images : float
        Distinct images that were tested on; of classes that are weighed, as many equal images.
    variance : float, default=0
        Of the mean over splits, `resampled_variance`. Where it is greater than that of as many
        images, the interval is as wide as if fewer had been tested.

    Notes
    -----
    The score interval of Wilson (1927). Student's interval over splits would be a point where
    every split is all correct, and reach beyond 1 close to it.

    Examples
    --------
    >>> round(accuracy_interval(1.0, 20).low, 3)
    0.839
    """
    binomial = accuracy * (1 - accuracy) / n_images
    low, high = _wilson(accuracy, _n_effective(n_images, binomial, max(binomial, variance)), _Z)
    return Interval(accuracy, low, high)


def resampled_variance(values: Sequence[float] | Floats, test_share: float) -> float:
    """Variance of the mean over splits that share training images.

    Parameters
    ----------
    values : sequence of float
        One for each split.
    test_share : float
        Test images for each training image, as in `interval` (Nadeau and Bengio 2003).
    """
    n = len(values)
    return (1 / n + test_share) * float(np.var(values, ddof=1)) if n > 1 else 0.0


def paired_test(
    first: float, second: float, both: float, n_images: float, variance: float = 0.0
) -> PairedTest:
    """Difference of two accuracies on the same images, with its 95 % interval.

    Parameters
    ----------
    first, second : float
        The accuracies.
    both : float
        Fraction of the images that both get right.
    n_images, variance : float
        As in `accuracy_interval`; the variance is that of the differences over splits. The mean
        of it and of the variance over images widens the interval: of few splits it is known
        only roughly.

    Notes
    -----
    Newcombe's interval [1]_, his method 10, from Wilson's intervals of both accuracies and their
    correlation: it lies within -1 and 1, and two that are all correct are not surely equal. The
    p value is one minus the level at which the interval begins at zero.

    References
    ----------
    .. [1] Newcombe, "Improved confidence intervals for the difference between binomial
       proportions based on paired data", Statistics in Medicine 17 (1998) 2635-2650.

    Examples
    --------
    >>> paired_test(0.9, 0.6, 0.55, 100).is_tied, paired_test(0.9, 0.88, 0.8, 100).is_tied
    (False, True)
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    difference = first - second
    both = min(max(both, first + second - 1), first, second)
    over_images = max(first + second - 2 * both - difference**2, 0.0) / n_images
    assumed = (over_images + max(over_images, variance)) / 2
    n = _n_effective(n_images, over_images, assumed)
    low, high = _newcombe(first, second, both, n, _Z)
    if not difference:
        return PairedTest(difference, low, high, 1.0)
    nearer, sign = (0, 1) if difference > 0 else (1, -1)

    def end(z: float) -> float:
        return sign * _newcombe(first, second, both, n, z)[nearer]

    level = _LARGEST_Z if end(_LARGEST_Z) > 0 else brentq(end, 0, _LARGEST_Z)
    return PairedTest(difference, low, high, float(2 * norm.sf(level)))


def mcnemar(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> float:
    """P value of no difference between two feature sets on the images of one split.

    Parameters
    ----------
    first, second : ndarray of bool, shape (n_samples,)
        Whether each image was classified correctly.

    Notes
    -----
    McNemar's test (1947), exact: a sign test on the images that only one got right.
    """
    from scipy.stats import binomtest

    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    n_apart = only_first + only_second
    return float(binomtest(only_first, n_apart).pvalue) if n_apart else 1.0


def per_class(truth: npt.NDArray[Any], predicted: npt.NDArray[Any]) -> list[dict[str, Any]]:
    """Precision, recall and F1 of each class, as rows of a table.

    Parameters
    ----------
    truth, predicted : ndarray of shape (n_samples,)
    """
    from sklearn.metrics import precision_recall_fscore_support

    classes = np.unique(np.concatenate([truth, predicted]))
    columns = precision_recall_fscore_support(truth, predicted, labels=classes, zero_division=0)
    return [
        {"class": str(name), "n": int(n), "recall": float(r), "precision": float(p), "f1": float(f)}
        for name, p, r, f, n in zip(classes, *columns, strict=True)
    ]


def _n_effective(n_images: float, binomial: float, variance: float) -> float:
    """Number of images of which a mean would have this variance."""
    return n_images * binomial / variance if variance > binomial > 0 else n_images


def _wilson(accuracy: float, n: float, z: float) -> tuple[float, float]:
    middle = (accuracy + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(accuracy * (1 - accuracy) / n + z * z / (4 * n * n))
    return min(accuracy, max(0.0, float(middle - half))), max(
        accuracy, min(1.0, float(middle + half))
    )


def _newcombe(first: float, second: float, both: float, n: float, z: float) -> tuple[float, float]:
    correlation = _correlation(first, second, both, n)
    (low, high), (other_low, other_high) = (_wilson(mean, n, z) for mean in (first, second))

    def reach(mine: float, others: float) -> float:
        return float(np.sqrt(max(mine**2 - 2 * correlation * mine * others + others**2, 0.0)))

    difference = first - second
    return (
        difference - reach(first - low, other_high - second),
        difference + reach(high - first, second - other_low),
    )


def _correlation(first: float, second: float, both: float, n: float) -> float:
    """Of being correct, between two feature sets, with Newcombe's correction if positive."""
    scale = first * (1 - first) * second * (1 - second)
    if scale <= 0:
        return 0.0
    shared = both - first * second
    if shared > 0:
        shared = max(shared - 1 / (2 * n), 0.0)
    return float(shared / np.sqrt(scale))
