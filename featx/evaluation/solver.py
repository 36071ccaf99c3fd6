"""Linear models of many training sets at once: L-BFGS in the row space."""

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
"""Wolfe's two constants: of the decrease, and of the slope that may be left."""


@dataclass
class Solution:
    """Weights of each problem, and whether they are those of the minimum.

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
    """Minimise ``C * sum(loss) + |w|^2 / 2`` of several training sets that share their rows.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_axes)
        Best with uncorrelated columns: their squared lengths precondition the search. In float32
        the products with them take half the time; everything else is float64 in any case.
    loss : Loss
    sample_weight : ndarray of shape (n_samples, n_problems)
        0 keeps a sample out of a training set.
    C : float
        Inverse strength of the penalty, as in scikit-learn.
    start : ndarray of shape (n_axes + 1, n_problems, n_outputs), optional
        Where to start; by default at zero.
    tol : float
        A problem is done when its next step would move no score by more than this.
    max_iter : int

    Returns
    -------
    Solution

    Notes
    -----
    Liu and Nocedal, "On the limited memory BFGS method for large scale optimization", 1989.
    Scores are linear along a direction, so that a line search costs no product with the rows.
    The first guess of the inverse Hessian is a diagonal: the squared length of each column,
    times the mean curvature of the loss there, plus the penalty.
    """
    search = _Search(rows, loss, sample_weight, C, start)
    while search.n_iter < max_iter and not search.is_done.all():
        search.advance(tol)
    return Solution(search.weights, search.is_done, search.n_iter)


@dataclass
class _Memory:
    """Last steps and changes of gradient, newest last, and their products."""

    steps: list[Floats] = field(default_factory=list)
    changes: list[Floats] = field(default_factory=list)
    inverse: list[Floats] = field(default_factory=list)

    def add(self, step: Floats, change: Floats) -> None:
        """Keep a pair; of a problem that did not move, it has no say."""
        product = _dot(step, change)
        size = np.sqrt(_dot(step, step) * _dot(change, change))
        is_curved = product > 1e-12 * size
        self.steps.append(step)
        self.changes.append(change)
        self.inverse.append(np.where(is_curved, 1 / np.where(is_curved, product, 1.0), 0.0))
        for kept in (self.steps, self.changes, self.inverse):
            del kept[:-_MEMORY]

    def direction(self, gradient: Floats, preconditioner: Floats) -> Floats:
        """Minus the inverse Hessian times the gradient, by the two-loop recursion."""
        found, shares = gradient.copy(), []
        for step, change, inverse in zip(self.steps[::-1], self.changes[::-1], self.inverse[::-1]):
            share = inverse * _dot(step, found)
            shares.append(share)
            found -= share[:, None] * change
        found *= preconditioner * self._factor(preconditioner)[:, None]
        for step, change, inverse, share in zip(
            self.steps, self.changes, self.inverse, shares[::-1]
        ):
            found += (share - inverse * _dot(change, found))[:, None] * step
        return -found

    def _factor(self, preconditioner: Floats) -> Floats:
        """How far the diagonal is off along the last step."""
        if not self.steps:
            return np.ones(preconditioner.shape[1])
        change, inverse = self.changes[-1], self.inverse[-1]
        wanted = _dot(change * preconditioner, change) * inverse
        return np.where(wanted > 0, 1 / np.where(wanted > 0, wanted, 1.0), 1.0)


class _Search:
    """State of all problems: weights, with the intercepts last, scores and gradients."""

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
        """Take one step in every problem that is not done."""
        self.n_iter += 1
        diagonal = self.C * self.curvature[None, :, None] * self.squares + self.penalty
        direction = self.memory.direction(self.gradient, 1 / np.maximum(diagonal, 1e-12))
        moved = self._scores(direction)  # (n_samples, n_problems, n_outputs)
        self.is_done |= np.abs(moved).max((0, 2)) <= tol
        direction[:, self.is_done] = 0
        moved[:, self.is_done] = 0
        if self.is_done.all():
            return
        step, slopes = self._search_line(direction, moved)
        self.scores += step[:, None] * moved
        before = self.gradient
        self.weights = self.weights + step[:, None] * direction
        self.gradient = self._gradient(slopes)
        self.memory.add(step[:, None] * direction, self.gradient - before)

    def _search_line(self, direction: Floats, moved: Floats) -> tuple[Floats, Floats]:
        """Length of the step in each problem that meets Wolfe's conditions, and slopes there."""
        downhill = _dot(self.gradient, direction)
        low, high = np.zeros_like(downhill), np.full_like(downhill, np.inf)
        step = np.ones_like(downhill)
        is_open = downhill < 0
        for _ in range(_MAX_TRIALS):
            weights = self.weights + step[:, None] * direction
            value, slopes, curvature = self._evaluate(self.scores + step[:, None] * moved, weights)
            slope = self.C * np.einsum("npk,npk->p", slopes, moved)
            slope += _dot(self.penalty * weights, direction)
            is_long = is_open & (value > self.value + _SUFFICIENT * step * downhill + _noise(value))
            is_short = is_open & ~is_long & (slope < _CURVED * downhill)
            if not (is_long | is_short).any():
                break
            high = np.where(is_long, step, high)
            low = np.where(is_short, step, low)
            bisected = np.where(np.isfinite(high), (low + high) / 2, 2 * step)
            step = np.where(is_long | is_short, bisected, step)
        self.value, self.curvature = value, curvature
        return step, slopes

    def _evaluate(self, scores: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
        loss, slopes, curvature = self.loss.value(scores, self.sample_weight)
        return self.C * loss + 0.5 * _dot(self.penalty * weights, weights), slopes, curvature

    def _gradient(self, slopes: Floats) -> Floats:
        flat = slopes.reshape(len(slopes), -1)
        product = self.rows.T @ flat.astype(self.rows.dtype, copy=False)
        found = np.concatenate([product, flat.sum(0)[None]])
        return self.C * found.reshape(self.weights.shape) + self.penalty * self.weights

    def _scores(self, weights: Floats) -> Floats:
        flat = weights.reshape(len(weights), -1)
        product = self.rows @ flat[:-1].astype(self.rows.dtype, copy=False)
        return (product + flat[-1]).reshape(-1, *weights.shape[1:])


def _dot(a: Floats, b: Floats) -> Floats:
    """Inner product in each problem."""
    found: Floats = np.einsum("rpk,rpk->p", a, b)
    return found


def _noise(value: Floats) -> Floats:
    """What rounding alone may add to a value."""
    return 1e-13 * np.abs(value)
