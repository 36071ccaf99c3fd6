"""How strongly a probe is regularized: C chosen on held-out training rows, near 1 when in doubt.

Accuracy on a few held-out rows is full of ties, and says nothing about how a tie should end. Here
strengths are ranked by a proper score, the log loss of rows that were held out, after one common
temperature has been fitted to their scores (Guo et al., "On calibration of modern neural
networks", ICML 2017). Without the temperature the log loss mostly measures how confident a model
is, which is what C changes first and what no ranking of classes depends on. A prior on log10(C)
pulls towards 1; the log loss is summed over rows, so that the prior fades as images grow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from featx.data.datasets import fold_numbers, train_test_indices

Floats: TypeAlias = npt.NDArray[np.float64]
Codes: TypeAlias = npt.NDArray[np.intp]
Mask: TypeAlias = npt.NDArray[np.bool_]
Metric: TypeAlias = Literal["log_loss", "accuracy", "balanced_accuracy"]

_PRIOR_DECADES = 2.0
"""Standard deviation of the prior on log10(C)."""
_N_FOLDS, _N_REPEATS, _FEW_ROWS = 5, 3, 200
_LOG_TEMPERATURES = (-6.0, 4.0)


class StrengthSelection:
    """Held-out scores of each strength C, and the strength they speak for.

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
        Strength that the prior favors.

    Attributes
    ----------
    scores : ndarray of shape (n_folds, n_grid)
        Greater is better; of the log loss its negative. NaN where a strength was not tried.
    """

    def __init__(
        self,
        metric: Metric,
        truths: Sequence[Codes],
        grid: Floats,
        *,
        n_samples: int,
        center: float,
    ) -> None:
        self.metric, self.truths, self.grid = metric, truths, grid
        self.n_samples = n_samples
        self.scores = np.full((len(truths), len(grid)), np.nan)
        self._decades = np.log10(grid / center)
        self._losses = np.full(len(grid), np.inf)

    def add(self, index: int, scores: Sequence[Floats]) -> None:
        """Rate one strength by the decision scores of each fold's rows.

        Parameters
        ----------
        index : int
            Of the strength in the grid.
        scores : sequence of ndarray of shape (n_rows, n_outputs)
            As decision functions give them; of two classes one column, that of the second.
        """
        if self.metric == "log_loss":
            losses = _calibrated_log_losses(np.concatenate(scores), np.concatenate(self.truths))
            ends = np.cumsum([len(truth) for truth in self.truths])[:-1]
            self.scores[:, index] = [-part.mean() for part in np.split(losses, ends)]
            evidence = self.n_samples * losses.mean()
            self._losses[index] = evidence + (self._decades[index] / _PRIOR_DECADES) ** 2 / 2
            return
        is_balanced = self.metric == "balanced_accuracy"
        self.scores[:, index] = [
            _accuracy(part, truth, is_balanced) for part, truth in zip(scores, self.truths)
        ]
        self._losses[index] = -self.scores[:, index].mean().round(12)

    def is_settled(self, index: int) -> bool:
        """Whether stronger fits need not be tried: the last two, above the center, were worse."""
        if self.metric != "log_loss" or index < 2 or self._decades[index - 1] <= 0:
            return False
        return bool(self._losses[index - 1 : index + 1].min() > self._losses.min())

    @property
    def best(self) -> int:
        """Index of the strength to take."""
        return int(np.lexsort((np.abs(self._decades), self._losses))[0])


def _calibrated_log_losses(scores: Floats, codes: Codes) -> Floats:
    """Log loss of each row at the one temperature of all scores at which their mean is smallest.

    Parameters
    ----------
    scores : array of shape (n_rows, n_classes), or (n_rows, 1) of two classes
    codes : ndarray of int, shape (n_rows,)
        Class of each row.

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
    # Relative to the true class: the loss is the logarithm of one plus what the others add.
    logits = logits - logits[np.arange(len(codes)), codes][:, None]
    spread = logits.std()
    if not spread > 0:
        return np.full(len(codes), np.log(logits.shape[1]))
    logits /= spread

    def losses(log_temperature: float) -> Floats:
        scaled = logits * np.exp(-log_temperature)
        highest = scaled.max(1)
        found: Floats = highest + np.log(np.exp(scaled - highest[:, None]).sum(1))
        return found

    best = minimize_scalar(
        lambda log_temperature: losses(log_temperature).mean(),
        bounds=_LOG_TEMPERATURES,
        method="bounded",
        options={"xatol": 0.01},
    )
    return losses(float(best.x))


def inner_folds(
    codes: Codes, validation: Literal["auto"] | float | int, random_state: int | None
) -> Mask:
    """Which rows each fold holds out for validation, drawn within each class.

    Parameters
    ----------
    codes : ndarray of int, shape (n_samples,)
        Class of each row. A class with a single row is never held out.
    validation : "auto", float or int
        Share of each class that one fold holds out, or the number of folds. ``auto``: five
        folds; of fewer than 200 rows three times, with other draws.
    random_state : int or None

    Returns
    -------
    ndarray of bool, shape (n_folds, n_samples)
        Folds that hold out no row are left out.

    Examples
    --------
    >>> inner_folds(np.array([0, 0, 1, 1]), 2, 0).sum(0)
    array([1, 1, 1, 1])
    """
    if isinstance(validation, float):
        held_out = np.ones(len(codes), bool)
        train = train_test_indices(codes, train_size=1 - validation, random_state=random_state)[0]
        held_out[train] = False
        return held_out[None]
    n_folds, n_repeats = _N_FOLDS, _N_REPEATS if len(codes) < _FEW_ROWS else 1
    if validation != "auto":
        n_folds, n_repeats = int(validation), 1
    rng = np.random.default_rng(random_state)
    seeds: list[Any] = [random_state, *rng.integers(2**31, size=n_repeats - 1).tolist()]
    folds = [fold_numbers(codes, n_folds, random_state=seed) for seed in seeds]
    held_out = np.array([draw == fold for draw in folds for fold in range(n_folds)])
    return held_out[held_out.any(1)] if held_out.any() else held_out[:1]


def _accuracy(scores: Floats, truth: Codes, is_balanced: bool) -> float:
    predicted = (scores[:, 0] > 0).astype(int) if scores.shape[1] == 1 else scores.argmax(1)
    is_correct = predicted == truth
    if not is_balanced:
        return float(is_correct.mean())
    return float(np.mean([is_correct[truth == code].mean() for code in np.unique(truth)]))
