"""How C is chosen: by a proper score, and near 1 when in doubt."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

from featx.evaluation.regularization import (
    StrengthSelection,
    _calibrated_log_losses,
    inner_folds,
)

GRID = np.array([1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1, 10, 100, 1000])
RNG = np.random.default_rng(0)


def softmax(scores: np.ndarray) -> np.ndarray:
    shifted = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(shifted / shifted.sum(1, keepdims=True))


def noisy_scores(n: int, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    codes = RNG.integers(n_classes, size=n)
    return 3 * (np.eye(n_classes)[codes] + RNG.normal(size=(n, n_classes))), codes


def test_calibrated_log_loss_is_scikit_learns_at_the_best_temperature() -> None:
    scores, codes = noisy_scores(200, 4)
    best = minimize_scalar(lambda t: log_loss(codes, softmax(scores / t)), bounds=(0.1, 50))

    losses = _calibrated_log_losses(scores, codes)

    assert losses.mean() == pytest.approx(best.fun, rel=1e-4)


def test_a_row_of_double_weight_counts_as_two_rows() -> None:
    scores, codes = noisy_scores(100, 3)
    twice = np.concatenate([np.arange(100), np.arange(30)])
    weights = np.where(np.arange(100) < 30, 2.0, 1.0)

    losses = _calibrated_log_losses(scores, codes, weights)

    repeated = _calibrated_log_losses(scores[twice], codes[twice])
    assert np.average(losses, weights=weights) == pytest.approx(repeated.mean(), rel=1e-4)


def test_two_classes_have_one_score_or_two() -> None:
    scores, codes = noisy_scores(50, 2)
    difference = scores[:, 1:] - scores[:, :1]

    np.testing.assert_allclose(
        _calibrated_log_losses(difference, codes), _calibrated_log_losses(scores, codes), rtol=0.01
    )


def test_scores_that_say_nothing_cost_the_logarithm_of_the_number_of_classes() -> None:
    losses = _calibrated_log_losses(np.ones((6, 3)), np.array([0, 1, 2] * 2))

    np.testing.assert_allclose(losses, np.log(3))


def select(spreads: list[float], n_samples: int, metric: str = "log_loss") -> int:
    """Index chosen among strengths whose scores are as noisy as the numbers say."""
    rng = np.random.default_rng(1)
    codes = np.arange(60) % 3
    noise = rng.normal(size=(60, 3))
    selection = StrengthSelection(metric, [codes], GRID, n_samples=n_samples, center=1.0)  # type: ignore[arg-type]
    for index, spread in enumerate(spreads):
        selection.add(index, [np.eye(3)[codes] + spread * noise])
    return selection.best


@pytest.mark.parametrize("metric", ["log_loss", "accuracy", "balanced_accuracy"])
def test_equal_strengths_leave_it_at_one(metric: str) -> None:
    assert GRID[select([1.0] * 9, 60, metric)] == 1


def test_doubt_fades_as_images_grow() -> None:
    slightly_better = [0.6, *[0.7] * 8]

    assert GRID[select(slightly_better, 10)] == 1
    assert GRID[select(slightly_better, 10_000)] == 1e-5


def test_search_ends_after_two_worse_strengths_from_one_on() -> None:
    codes = np.arange(60) % 3
    noise = np.random.default_rng(1).normal(size=(60, 3))
    selection = StrengthSelection("log_loss", [codes], GRID, n_samples=60, center=1.0)

    settled = []
    for index, spread in enumerate([2, 1.5, 1, 1, 0.5, 0.6, 0.7, 0.8, 0.9]):
        selection.add(index, [np.eye(3)[codes] + spread * noise])
        settled.append(selection.is_settled(index))

    assert settled == [False] * 6 + [True, True, False]


def test_search_ends_where_the_prior_alone_makes_the_next_strength_worse() -> None:
    codes = np.arange(60) % 3
    selection = StrengthSelection("log_loss", [codes], GRID, n_samples=60, center=1.0)

    for index in range(6):  # Up to one; all rows are surely correct.
        selection.add(index, [1e3 * np.eye(3)[codes]])

    assert [selection.is_settled(index) for index in (4, 5)] == [False, True]


def test_few_rows_are_held_out_three_times() -> None:
    few, more, many = (np.arange(n) % 5 for n in (50, 500, 2000))

    assert inner_folds(few, "auto", 0).sum(0).tolist() == [3] * 50
    assert inner_folds(more, "auto", 0).sum(0).tolist() == [1] * 500
    assert [len(inner_folds(codes, "auto", 0)) for codes in (few, more, many)] == [15, 5, 3]


def test_only_row_of_a_class_is_never_held_out() -> None:
    codes = np.array([0, 0, 0, 1])

    assert not inner_folds(codes, "auto", 0)[:, 3].any()
    assert not inner_folds(np.arange(4), "auto", 0).any()
