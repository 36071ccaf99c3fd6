"""Losses of linear classifiers, for several training sets at once."""

from __future__ import annotations

from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]


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

    def value(self, scores: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
        """Loss, gradient by the scores, and mean curvature."""
        # Softmax, relative to the highest score so that nothing overflows.
        highest = scores.max(2, keepdims=True)
        probabilities = np.exp(scores - highest)
        total = probabilities.sum(2, keepdims=True)
        probabilities /= total
        # Cross-entropy: log of the sum of exponentials, minus the true class's score.
        true_scores = np.einsum("npk,nok->np", scores, self._truth)[..., None]
        loss = ((highest + np.log(total) - true_scores) * weights).sum((0, 2))
        # The Hessian's trace is the sum of p (1 - p) over classes.
        curvature = (weights * (1 - (probabilities**2).sum(2, keepdims=True))).sum((0, 2))
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
