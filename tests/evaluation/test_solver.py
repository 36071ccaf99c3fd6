from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize as scipy_minimize

from featx.evaluation.losses import Binomial, Loss, Multinomial, SquaredHinge
from featx.evaluation.solver import Solution, minimize

RNG = np.random.default_rng(0)
CODES = RNG.integers(3, size=40)
ROWS = RNG.normal(size=(40, 5)) * [10, 3, 1, 0.3, 0.1] + np.eye(3, 5)[CODES]
ALL = np.ones((40, 1))
LOSSES = {
    "multinomial": Multinomial(CODES, 3),
    "binomial": Binomial(CODES % 2),
    "squared hinge": SquaredHinge(CODES, 3),
}


def solve(loss: Loss, sample_weight: Any = ALL, **options: Any) -> Solution:
    return minimize(ROWS, loss, sample_weight, 0.7, tol=1e-9, **options)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_the_minimum_is_that_of_scipy(loss: Loss) -> None:
    def objective(flat: np.ndarray) -> float:
        weights = flat.reshape(6, 1, -1)
        scores = np.einsum("na,apk->npk", np.column_stack([ROWS, ALL]), weights)
        penalized = weights if loss.penalizes_intercept else weights[:-1]
        return float(0.7 * loss.value(scores, ALL[:, :, None])[0][0] + (penalized**2).sum() / 2)

    solution = solve(loss)
    expected = scipy_minimize(objective, np.zeros(6 * loss.n_outputs), method="BFGS").fun
    assert objective(solution.weights.ravel()) == pytest.approx(expected, rel=1e-8)
    assert solution.has_converged.all()


def test_problems_at_once_are_solved_as_each_alone() -> None:
    sample_weight = RNG.integers(0, 3, size=(40, 4)).astype(float)
    together = solve(LOSSES["multinomial"], sample_weight).weights
    for problem in range(4):
        alone = solve(LOSSES["multinomial"], sample_weight[:, [problem]]).weights
        np.testing.assert_allclose(together[:, [problem]], alone, atol=1e-7)


def test_weights_of_samples_are_how_often_they_occur() -> None:
    counts = RNG.integers(0, 3, size=40)
    repeated = np.repeat(np.arange(40), counts)
    loss = Multinomial(CODES[repeated], 3)
    expected = minimize(ROWS[repeated], loss, np.ones((len(repeated), 1)), 0.7, tol=1e-9)
    actual = solve(LOSSES["multinomial"], counts[:, None].astype(float))
    np.testing.assert_allclose(actual.weights, expected.weights, atol=1e-7)


def test_a_start_at_the_minimum_stays_there() -> None:
    solution = solve(LOSSES["binomial"])
    again = minimize(ROWS, LOSSES["binomial"], ALL, 0.7, start=solution.weights)
    assert again.n_iter == 1
    np.testing.assert_array_equal(again.weights, solution.weights)


def test_a_search_that_is_cut_short_says_which_problems_are_open() -> None:
    minimum = solve(LOSSES["multinomial"]).weights
    start = np.concatenate([np.zeros_like(minimum), minimum], axis=1)
    both = np.ones((40, 2))
    solution = minimize(ROWS, LOSSES["multinomial"], both, 0.7, start=start, max_iter=2)
    assert solution.has_converged.tolist() == [False, True]
    np.testing.assert_array_equal(solution.weights[:, 1:], minimum)
    assert solution.n_iter == 2


def test_float32_rows_give_the_same_minimum() -> None:
    single = minimize(ROWS.astype(np.float32), LOSSES["multinomial"], ALL, 0.7, tol=1e-4)
    np.testing.assert_allclose(single.weights, solve(LOSSES["multinomial"]).weights, atol=1e-3)
    assert single.has_converged.all()
