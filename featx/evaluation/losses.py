"""Losses of linear classifiers, for several training sets at once."""

from __future__ import annotations

from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]


_MAX_EXPONENT = 500.0
"""Scores within this are exponentiated as they are; from about 709 float64 overflows."""


class Loss(Protocol):
    """Convex loss of a linear model's scores.

    Scores have the shape (n_samples, n_problems, n_outputs), sample weights the shape
    (n_samples, n_problems, 1).
    """

    n_outputs: int
    penalizes_intercept: bool

    def value(self, scores: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
        """Loss (n_problems,), gradient by the scores, mean curvature (n_problems,)."""
        ...


class Multinomial:
    """Cross-entropy of the softmax, as in multinomial logistic regression.

    Parameters
    ----------
    codes : ndarray of int, shape (n_samples,)
        Class of each sample.
    n_classes : int
        At least three; two are `Binomial`.
    """

    penalizes_intercept = False

    def __init__(self, codes: npt.NDArray[np.intp], n_classes: int) -> None:
        self.n_outputs = n_classes
        self._truth = np.eye(n_classes)[codes][:, None, :]  # (n, 1, k)
        self._codes = codes[:, None, None]

    def value(self, scores: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
        """Loss, gradient by the scores, and mean curvature."""
        # Softmax, relative to the highest score where exponentials could overflow. NumPy is slow
        # to reduce a short last axis: products take a third of the time of `max` and `sum`.
        is_safe = max(scores.max(), -scores.min()) < _MAX_EXPONENT
        highest = np.zeros(1) if is_safe else scores.max(2, keepdims=True)
        probabilities = np.exp(scores if is_safe else scores - highest)
        total = (probabilities @ np.ones(self.n_outputs))[..., None]
        probabilities /= total
        # Cross-entropy: log of the sum of exponentials, minus the true class's score.
        true_scores = np.take_along_axis(scores, self._codes, 2)
        loss = _weighted_sums(highest + np.log(total) - true_scores, weights)
        # The Hessian's trace is the sum of p (1 - p) over classes.
        squares = np.einsum("npk,npk->np", probabilities, probabilities)[..., None]
        curvature = _weighted_sums(1 - squares, weights)
        mean_curvature = curvature / (self.n_outputs * weights.sum((0, 2)))
        # Gradient: probabilities minus one-hot labels.
        probabilities -= self._truth
        probabilities *= weights
        return loss, probabilities, mean_curvature


class Binomial:
    """Logistic loss of two classes, with one score, for the second class.

    Parameters
    ----------
    codes : ndarray of int, shape (n_samples,)
        0 or 1.
    """

    n_outputs = 1
    penalizes_intercept = False

    def __init__(self, codes: npt.NDArray[np.intp]) -> None:
        self._truth = codes.astype(np.float64)[:, None, None]  # (n, 1, 1)

    def value(self, scores: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
        """Loss, gradient by the scores, and mean curvature."""
        loss = ((np.logaddexp(0, scores) - self._truth * scores) * weights).sum((0, 2))
        probability = 0.5 * (1 + np.tanh(0.5 * scores))  # The logistic function without overflow.
        curvature = (weights * probability * (1 - probability)).sum((0, 2)) / weights.sum((0, 2))
        return loss, (probability - self._truth) * weights, curvature


class SquaredHinge:
    """Squared hinge of one class against the rest, as in scikit-learn's `LinearSVC`.

    Parameters
    ----------
    codes : ndarray of int, shape (n_samples,)
    n_classes : int
        With two, there is one score, for the second class.
    """

    penalizes_intercept = True

    def __init__(self, codes: npt.NDArray[np.intp], n_classes: int) -> None:
        self.n_outputs = n_classes if n_classes > 2 else 1
        signs = 2 * np.eye(n_classes)[codes] - 1
        self._signs = (signs if n_classes > 2 else signs[:, 1:])[:, None, :]  # (n, 1, k)

    def value(self, scores: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
        """Loss, gradient by the scores, and mean curvature."""
        # Distance by which a score falls short of the margin; zero beyond it.
        shortfall = np.maximum(0, 1 - self._signs * scores)
        loss = (shortfall**2 * weights).sum((0, 2))
        is_active = (shortfall > 0) * weights
        curvature = 2 * is_active.sum((0, 2)) / (self.n_outputs * weights.sum((0, 2)))
        return loss, -2 * self._signs * shortfall * weights, curvature


def _weighted_sums(values: Floats, weights: Floats) -> Floats:
    """Weighted sum over samples of each problem, of arrays of shape (n, n_problems, 1)."""
    sums: Floats = np.einsum("npo,npo->p", values, weights)
    return sums
