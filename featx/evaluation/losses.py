"""Losses of linear classifiers, for many problems at once."""

from __future__ import annotations

from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]


class Loss(Protocol):
    """A convex loss of the scores that a linear model gives.

    Scores have the shape (n_samples, n_problems, n_outputs), weights of the samples
    (n_samples, n_problems, 1).
    """

    n_outputs: int
    penalizes_intercept: bool

    def value(self, scores: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
        """Loss (n_problems,), slopes as the scores, mean curvature (n_problems,)."""
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
        """Loss, slopes, mean curvature."""
        highest = scores.max(2, keepdims=True)
        shares = np.exp(scores - highest)
        total = shares.sum(2, keepdims=True)
        shares /= total
        own = np.einsum("npk,nok->np", scores, self._truth)[..., None]
        loss = ((highest + np.log(total) - own) * weights).sum((0, 2))
        curvature = (weights * (1 - (shares**2).sum(2, keepdims=True))).sum((0, 2))
        mean_curvature = curvature / (self.n_outputs * weights.sum((0, 2)))
        shares -= self._truth
        shares *= weights
        return loss, shares, mean_curvature


class Binomial:
    """Logistic loss of two classes with one score, that of the second.

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
        """Loss, slopes, mean curvature."""
        loss = ((np.logaddexp(0, scores) - self._truth * scores) * weights).sum((0, 2))
        share = 0.5 * (1 + np.tanh(0.5 * scores))
        curvature = (weights * share * (1 - share)).sum((0, 2)) / weights.sum((0, 2))
        return loss, (share - self._truth) * weights, curvature


class SquaredHinge:
    """Squared hinge of one class against the rest, as in scikit-learn's `LinearSVC`.

    Parameters
    ----------
    codes : ndarray of int, shape (n_samples,)
    n_classes : int
        Of two, one score serves both.
    """

    penalizes_intercept = True

    def __init__(self, codes: npt.NDArray[np.intp], n_classes: int) -> None:
        self.n_outputs = n_classes if n_classes > 2 else 1
        signs = 2 * np.eye(n_classes)[codes] - 1
        self._signs = (signs if n_classes > 2 else signs[:, 1:])[:, None, :]  # (n, 1, k)

    def value(self, scores: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
        """Loss, slopes, mean curvature."""
        missing = np.maximum(0, 1 - self._signs * scores)
        loss = (missing**2 * weights).sum((0, 2))
        is_active = (missing > 0) * weights
        curvature = 2 * is_active.sum((0, 2)) / (self.n_outputs * weights.sum((0, 2)))
        return loss, -2 * self._signs * missing * weights, curvature
