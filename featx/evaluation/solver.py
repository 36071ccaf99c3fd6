"""Linear models of several training sets at once: preconditioned L-BFGS in the row space.

Why not scikit-learn's solvers on the same rotated rows: for the features it is made for, AlexNet's
first pool of 510 photographs (random weights, 3 folds, one core), `LogisticRegression` takes 3.6
times as long at a tolerance of 1e-5, where its probabilities are within 1e-4 of ours, and
`LinearSVC` 6.5 times at 0.01. On easier data they come closer: `LogisticRegression` takes 2.3
times as long on HOG of these photographs and 0.8 times on 600 digits, where large C remain far from
the minimum; `LinearSVC` 1.7 times on 300 digits. The variances of
rotated rows differ by orders of magnitude: here they precondition the search, and all folds share
one product with the rows. `scripts/bench/bench_probe.py` measures logistic regression.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from featx.evaluation.losses import Loss

Floats: TypeAlias = npt.NDArray[np.float64]

_MEMORY = 8
_MAX_TRIALS = 12
_SUFFICIENT, _CURVED = 1e-4, 0.9
"""Constants of the Wolfe conditions, for sufficient decrease and for curvature."""


@dataclass
class Solution:
    """Weights of each problem, and whether each has converged.

    Attributes
    ----------
    weights : ndarray of shape (n_axes + 1, n_problems, n_outputs)
        The last row holds the intercepts.
    has_converged : ndarray of bool, shape (n_problems,)
    n_iter : int
    """

    weights: Floats
    has_converged: npt.NDArray[np.bool_]
    n_iter: int


def minimize(
    rows: npt.NDArray[np.floating[Any]],
    loss: Loss,
    sample_weight: Floats,
    C: float,
    *,
    start: Floats | None = None,
    tol: float = 1e-5,
    max_iter: int = 1000,
) -> Solution:
    """Minimize ``C * sum(loss) + |w|^2 / 2`` for several training sets that share their rows.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_axes)
        Preferably with uncorrelated columns, whose squared norms precondition the search. In
        float32 the products with them take half the time; everything else is always float64.
    loss : Loss
    sample_weight : ndarray of shape (n_samples, n_problems)
        0 excludes a sample from a training set.
    C : float
        Inverse regularization strength, as in scikit-learn.
    start : ndarray of shape (n_axes + 1, n_problems, n_outputs), optional
        Initial weights; by default zero.
    tol : float
        A problem has converged when its next step would change no score by more than this.
    max_iter : int

    Returns
    -------
    Solution

    Notes
    -----
    Liu and Nocedal, "On the limited memory BFGS method for large scale optimization", 1989.
    Scores are linear along a direction, so that a line search needs no product with the rows.
    The initial Hessian is a diagonal: the squared norm of each column, times the mean curvature
    of the loss, plus the penalty.
    """
    search = _Search(rows, loss, sample_weight, C, start)
    while search.n_iter < max_iter and not search.is_done.all():
        search.advance(tol)
    return Solution(search.weights, search.is_done, search.n_iter)


@dataclass
class _Memory:
    """Last steps and changes of the gradient, newest last, and their inverse inner products."""

    steps: list[Floats] = field(default_factory=list)
    changes: list[Floats] = field(default_factory=list)
    inverse: list[Floats] = field(default_factory=list)

    def add(self, step: Floats, change: Floats) -> None:
        """Add a pair; for a problem that did not move it has no effect."""
        product = _dot(step, change)
        size = np.sqrt(_dot(step, step) * _dot(change, change))
        is_curved = product > 1e-12 * size
        self.steps.append(step)
        self.changes.append(change)
        self.inverse.append(np.where(is_curved, 1 / np.where(is_curved, product, 1.0), 0.0))
        for history in (self.steps, self.changes, self.inverse):
            del history[:-_MEMORY]

    def direction(self, gradient: Floats, preconditioner: Floats) -> Floats:
        """Minus the inverse Hessian times the gradient, by the two-loop recursion."""
        # First loop, newest pair first: remove each pair's part from the gradient.
        result, projections = gradient.copy(), []
        for step, change, inverse in zip(self.steps[::-1], self.changes[::-1], self.inverse[::-1]):
            projection = inverse * _dot(step, result)
            projections.append(projection)
            result -= projection[:, None] * change
        # Initial inverse Hessian: the preconditioner, scaled to the curvature of the last step.
        result *= preconditioner * self._factor(preconditioner)[:, None]
        # Second loop, oldest pair first: add the parts back with the pairs' own curvature.
        for step, change, inverse, projection in zip(
            self.steps, self.changes, self.inverse, projections[::-1]
        ):
            result += (projection - inverse * _dot(change, result))[:, None] * step
        return -result

    def _factor(self, preconditioner: Floats) -> Floats:
        """Ratio of the preconditioner's curvature to the true one along the last step."""
        if not self.steps:
            return np.ones(preconditioner.shape[1])
        change, inverse = self.changes[-1], self.inverse[-1]
        ratio = _dot(change * preconditioner, change) * inverse
        return np.where(ratio > 0, 1 / np.where(ratio > 0, ratio, 1.0), 1.0)


class _Search:
    """State of all problems: weights, with the intercepts in the last row, scores, gradients."""

    def __init__(
        self, rows: Any, loss: Loss, sample_weight: Floats, C: float, start: Floats | None
    ) -> None:
        self.rows, self.loss, self.C = rows, loss, C
        self.sample_weight = sample_weight[:, :, None]
        n_problems, n_axes = sample_weight.shape[1], rows.shape[1]
        shape = (n_axes + 1, n_problems, loss.n_outputs)
        self.weights = np.zeros(shape) if start is None else start.copy()
        self.penalty = np.ones((n_axes + 1, 1, 1))
        self.penalty[-1] = float(loss.penalizes_intercept)
        squares = np.square(rows, dtype=np.float64).T @ sample_weight  # (n_axes, n_problems)
        self.squares = np.concatenate([squares, sample_weight.sum(0)[None]])[..., None]
        self.is_done = np.zeros(n_problems, bool)
        self.n_iter = 0
        self.memory = _Memory()
        self.scores = self._scores(self.weights)
        self.value, slopes, self.curvature = self._evaluate(self.scores, self.weights)
        self.gradient = self._gradient(slopes)

    def advance(self, tol: float) -> None:
        """Take one step in every problem that has not converged."""
        self.n_iter += 1
        diagonal = self.C * self.curvature[None, :, None] * self.squares + self.penalty
        direction = self.memory.direction(self.gradient, 1 / np.maximum(diagonal, 1e-12))
        score_change = self._scores(direction)  # (n_samples, n_problems, n_outputs)
        self.is_done |= np.abs(score_change).max((0, 2)) <= tol
        direction[:, self.is_done] = 0
        score_change[:, self.is_done] = 0
        if self.is_done.all():
            return
        step, slopes = self._search_line(direction, score_change)
        self.scores += step[:, None] * score_change
        old_gradient = self.gradient
        self.weights = self.weights + step[:, None] * direction
        self.gradient = self._gradient(slopes)
        self.memory.add(step[:, None] * direction, self.gradient - old_gradient)

    def _search_line(self, direction: Floats, score_change: Floats) -> tuple[Floats, Floats]:
        """Step of each problem that meets the Wolfe conditions, and the score gradient there."""
        initial_slope = _dot(self.gradient, direction)
        low, high = np.zeros_like(initial_slope), np.full_like(initial_slope, np.inf)
        step = np.ones_like(initial_slope)
        is_open = initial_slope < 0
        for _ in range(_MAX_TRIALS):
            weights = self.weights + step[:, None] * direction
            value, slopes, curvature = self._evaluate(
                self.scores + step[:, None] * score_change, weights
            )
            slope = self.C * np.einsum("npk,npk->p", slopes, score_change)
            slope += _dot(self.penalty * weights, direction)
            is_too_long = is_open & (
                value > self.value + _SUFFICIENT * step * initial_slope + _noise(value)
            )
            is_too_short = is_open & ~is_too_long & (slope < _CURVED * initial_slope)
            if not (is_too_long | is_too_short).any():
                break
            # Bisect between too short and too long a step; double it until one is too long.
            high = np.where(is_too_long, step, high)
            low = np.where(is_too_short, step, low)
            bisected = np.where(np.isfinite(high), (low + high) / 2, 2 * step)
            step = np.where(is_too_long | is_too_short, bisected, step)
        self.value, self.curvature = value, curvature
        return step, slopes

    def _evaluate(self, scores: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
        loss, slopes, curvature = self.loss.value(scores, self.sample_weight)
        return self.C * loss + 0.5 * _dot(self.penalty * weights, weights), slopes, curvature

    def _gradient(self, slopes: Floats) -> Floats:
        flat = slopes.reshape(len(slopes), -1)
        product = self.rows.T @ flat.astype(self.rows.dtype, copy=False)
        gradient = np.concatenate([product, flat.sum(0)[None]])
        return self.C * gradient.reshape(self.weights.shape) + self.penalty * self.weights

    def _scores(self, weights: Floats) -> Floats:
        flat = weights.reshape(len(weights), -1)
        product = self.rows @ flat[:-1].astype(self.rows.dtype, copy=False)
        return (product + flat[-1]).reshape(-1, *weights.shape[1:])


def _dot(a: Floats, b: Floats) -> Floats:
    """Inner product in each problem."""
    products: Floats = np.einsum("rpk,rpk->p", a, b)
    return products


def _noise(value: Floats) -> Floats:
    """Rounding error of a value of the objective."""
    return 1e-13 * np.abs(value)
