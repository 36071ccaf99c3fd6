"""Choice of C on held-out training rows, with a prior towards 1.

Accuracy on a few held-out rows has many ties. Strengths are therefore ranked by a proper score:
the log loss of held-out rows, after one common temperature has been fitted to their scores (Guo
et al., "On calibration of modern neural networks", ICML 2017). Without the temperature the log
loss mostly measures how confident a model is, which C changes first and which does not affect the
ranking of classes. A prior on log10(C) favors 1; the log loss is summed over rows, so that the
influence of the prior falls with the number of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from featx.data.datasets import fold_numbers, train_test_indices
from featx.data.groups import group_codes

Floats: TypeAlias = npt.NDArray[np.float64]
Codes: TypeAlias = npt.NDArray[np.intp]
Mask: TypeAlias = npt.NDArray[np.bool_]
Metric: TypeAlias = Literal["log_loss", "accuracy", "balanced_accuracy"]

_PRIOR_DECADES = 2.0
"""Standard deviation of the prior on log10(C)."""
_N_FOLDS, _N_REPEATS, _FEW_ROWS = 5, 3, 200
_N_FOLDS_OF_MANY, _MANY_ROWS = 3, 1000
_LOG_TEMPERATURES = (-6.0, 4.0)


class StrengthSelection:
    """Scores of each strength C on held-out rows, and the best strength.

    Parameters
    ----------
    metric : {"log_loss", "accuracy", "balanced_accuracy"}
        ``log_loss``: the sum over rows of the log loss at the best common temperature, plus
        ``(log10(C / center) / 2) ** 2 / 2``, is smallest. Accuracies: the mean over folds is
        largest; ties go to the strength closest to `center`.
    truths : sequence of ndarray of int
        Classes of the held-out rows of each fold.
    grid : ndarray of shape (n_grid,)
        Strengths in increasing order.
    n_samples : int
        Training rows; repeated folds hold a row out several times and count it once.
    center : float
        Strength favored by the prior.
    sample_weight : sequence of ndarray, optional
        Weight of each held-out row's log loss, by default 1.

    Attributes
    ----------
    scores : ndarray of shape (n_folds, n_grid)
        Higher is better: negative log loss, or the accuracy. NaN for strengths not tried.
    """

    def __init__(
        self,
        metric: Metric,
        truths: Sequence[Codes],
        grid: Floats,
        *,
        n_samples: int,
        center: float,
        sample_weight: Sequence[Floats] | None = None,
    ) -> None:
        self.metric, self.truths, self.grid = metric, truths, grid
        self.n_samples = n_samples
        self._weights = sample_weight or [np.ones(len(truth)) for truth in truths]
        self.scores = np.full((len(truths), len(grid)), np.nan)
        self._decades = np.log10(grid / center)
        self._losses = np.full(len(grid), np.inf)

    def add(self, index: int, scores: Sequence[Floats]) -> None:
        """Add the decision scores of each fold's held-out rows with one strength.

        Parameters
        ----------
        index : int
            Index of the strength in the grid.
        scores : sequence of ndarray of shape (n_rows, n_outputs)
            Values of the decision function; with two classes one column, for the second class.
        """
        if self.metric == "log_loss":
            weights = np.concatenate(self._weights)
            losses = _calibrated_log_losses(
                np.concatenate(scores), np.concatenate(self.truths), weights
            )
            ends = np.cumsum([len(truth) for truth in self.truths])[:-1]
            folds = zip(np.split(losses, ends), self._weights)
            self.scores[:, index] = [-np.average(fold, weights=weight) for fold, weight in folds]
            evidence = self.n_samples * np.average(losses, weights=weights)
            self._losses[index] = evidence + (self._decades[index] / _PRIOR_DECADES) ** 2 / 2
            return
        is_balanced = self.metric == "balanced_accuracy"
        self.scores[:, index] = [
            _accuracy(part, truth, is_balanced) for part, truth in zip(scores, self.truths)
        ]
        self._losses[index] = -self.scores[:, index].mean().round(12)

    def is_settled(self, index: int) -> bool:
        """Whether larger strengths need not be tried.

        Either the last two, not below the center, were worse than the best, or the prior alone
        makes the next one worse.
        """
        if self.metric != "log_loss" or index < 1 or index + 1 == len(self.grid):
            return False
        best, next_decades = self._losses.min(), self._decades[index + 1]
        if next_decades > 0 and best <= (next_decades / _PRIOR_DECADES) ** 2 / 2:
            return True
        return self._decades[index - 1] >= 0 and bool(
            self._losses[index - 1 : index + 1].min() > best
        )

    @property
    def best(self) -> int:
        """Index of the best strength; ties go to the one closest to the center."""
        return int(np.lexsort((np.abs(self._decades), self._losses))[0])


def _calibrated_log_losses(
    scores: Floats, codes: Codes, sample_weight: Floats | None = None
) -> Floats:
    """Log loss of each row at the common temperature that minimizes the mean log loss.

    Parameters
    ----------
    scores : array of shape (n_rows, n_classes), or (n_rows, 1) of two classes
    codes : ndarray of int, shape (n_rows,)
        Class of each row.
    sample_weight : ndarray of shape (n_rows,), optional
        Weight of each row in the mean.

    Returns
    -------
    ndarray of shape (n_rows,)
        In nats.

    Examples
    --------
    >>> scores = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    >>> losses = _calibrated_log_losses(scores, np.array([0, 1, 1, 0]))
    >>> np.allclose(losses, _calibrated_log_losses(100 * scores, np.array([0, 1, 1, 0])), atol=1e-3)
    True
    """
    from scipy.optimize import minimize_scalar

    logits = np.asarray(scores, np.float64)
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    # Relative to the true class, the loss is the log of the sum of exponentials.
    logits = logits - logits[np.arange(len(codes)), codes][:, None]
    spread = logits.std()
    if not spread > 0:
        return np.full(len(codes), np.log(logits.shape[1]))
    logits /= spread

    def losses(log_temperature: float) -> Floats:
        scaled = logits * np.exp(-log_temperature)
        highest = scaled.max(1)
        result: Floats = highest + np.log(np.exp(scaled - highest[:, None]).sum(1))
        return result

    best = minimize_scalar(
        lambda log_temperature: np.average(losses(log_temperature), weights=sample_weight),
        bounds=_LOG_TEMPERATURES,
        method="bounded",
        options={"xatol": 0.01},
    )
    return losses(float(best.x))


def inner_folds(
    codes: Codes,
    validation: Literal["auto"] | float | int,
    random_state: int | None,
    groups: Any = None,
) -> Mask:
    """Masks of the rows that each fold holds out for validation, stratified by class.

    Parameters
    ----------
    codes : ndarray of int, shape (n_samples,)
        Class of each row. A class with a single row is never held out.
    validation : "auto", float or int
        Fraction of each class that one fold holds out, or the number of folds. ``auto``: five
        folds; five folds three times below 200 rows; three folds from 1,000 rows.
    random_state : int or None
    groups : array of str, shape (n_samples,), optional
        Groups are held out as a whole; one with all rows of a class is never held out.

    Returns
    -------
    ndarray of bool, shape (n_folds, n_samples)
        Fewer folds if there are too few rows or groups; none if nothing can be held out.

    Examples
    --------
    >>> inner_folds(np.array([0, 0, 1, 1]), 2, 0).sum(0)
    array([1, 1, 1, 1])
    """
    group_indices = None if groups is None else group_codes(groups)
    if isinstance(validation, float):
        parts = train_test_indices(
            codes, train_size=1 - validation, random_state=random_state, groups=groups
        )
        held_out = np.isin(np.arange(len(codes)), parts[1])[None]
    else:
        n_folds = _N_FOLDS if len(codes) < _MANY_ROWS else _N_FOLDS_OF_MANY
        n_repeats = _N_REPEATS if len(codes) < _FEW_ROWS else 1
        if validation != "auto":
            n_folds, n_repeats = int(validation), 1
        if group_indices is not None:
            n_folds = min(n_folds, int(group_indices.max()) + 1, int(np.bincount(codes).max()))
        rng = np.random.default_rng(random_state)
        seeds: list[Any] = [random_state, *rng.integers(2**31, size=n_repeats - 1).tolist()]
        draws = [fold_numbers(codes, n_folds, random_state=seed, groups=groups) for seed in seeds]
        held_out = np.array([draw == fold for draw in draws for fold in range(n_folds)])
    if group_indices is not None:
        for rows in held_out:
            is_lost = ~np.isin(codes, codes[~rows])
            rows &= ~np.isin(group_indices, group_indices[is_lost])
    return held_out[held_out.any(1)]


def can_be_held_out(codes: Codes, groups: Any = None) -> Mask:
    """Mask of the rows whose class keeps other rows when they or their groups are held out.

    Parameters
    ----------
    codes : ndarray of int, shape (n_samples,)
        Class of each row.
    groups : array of str, shape (n_samples,), optional

    Returns
    -------
    ndarray of bool, shape (n_samples,)
        All rows without `groups`: a class of one row costs all strengths the same.

    Examples
    --------
    >>> can_be_held_out(np.array([0, 0, 1, 1]), np.array(["a", "b", "c", "c"]))
    array([ True,  True, False, False])
    """
    if groups is None:
        return np.ones(len(codes), bool)
    pairs, indices = np.unique(np.stack([codes, group_codes(groups)]), axis=1, return_inverse=True)
    is_only = np.bincount(pairs[0])[pairs[0]] == 1  # The only group of its class.
    is_lost = np.isin(pairs[1], pairs[1][is_only])
    return ~is_lost[indices]


def _accuracy(scores: Floats, truth: Codes, is_balanced: bool) -> float:
    predicted = (scores[:, 0] > 0).astype(int) if scores.shape[1] == 1 else scores.argmax(1)
    is_correct = predicted == truth
    if not is_balanced:
        return float(is_correct.mean())
    return float(np.mean([is_correct[truth == code].mean() for code in np.unique(truth)]))
