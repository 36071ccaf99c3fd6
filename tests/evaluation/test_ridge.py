from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from featx.evaluation.ridge import RidgePath

RNG = np.random.default_rng(0)
CODES = np.array([0, 1, 2] * 6)
ROWS = RNG.normal(size=(18, 4)) + 5
WIDE = RNG.normal(size=(18, 30))


def targets_of(n_classes: int) -> np.ndarray:
    signs = 2 * np.eye(n_classes)[CODES % n_classes] - 1
    return signs if n_classes > 2 else signs[:, 1:]


@pytest.mark.parametrize("rows", [ROWS, WIDE], ids=["narrow", "wide"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_held_out_scores_are_those_of_fits_without_each_row(
    rows: np.ndarray, n_classes: int
) -> None:
    targets, C = targets_of(n_classes), 0.01
    expected = np.empty((18, targets.shape[1]))
    for row in range(18):
        rest = np.arange(18) != row
        model = Ridge(alpha=1 / (2 * C)).fit(rows[rest], targets[rest])
        expected[row] = model.predict(rows[[row]]).ravel()

    path = RidgePath(rows, CODES % n_classes, n_classes)

    np.testing.assert_allclose(path.held_out_scores(C), expected)


@pytest.mark.parametrize("rows", [ROWS, WIDE], ids=["narrow", "wide"])
@pytest.mark.parametrize("groups", [None, np.arange(18) // 4], ids=["rows", "groups"])
def test_held_out_scores_of_weighted_rows_are_those_of_fits_without_their_group(
    rows: np.ndarray, groups: np.ndarray | None
) -> None:
    sample_weight, targets = RNG.uniform(0.2, 3, 18), targets_of(3)
    expected = np.empty((18, 3))
    numbers = np.arange(18) if groups is None else groups
    for group in np.unique(numbers):
        rest = numbers != group
        model = Ridge(alpha=5.0).fit(rows[rest], targets[rest], sample_weight[rest])
        expected[~rest] = model.predict(rows[~rest])

    scores = RidgePath(rows, CODES, 3, sample_weight).held_out_scores(0.1, groups)

    np.testing.assert_allclose(scores, expected)


@pytest.mark.parametrize("rows", [ROWS, WIDE], ids=["narrow", "wide"])
def test_weighted_rows_are_scikit_learns(rows: np.ndarray) -> None:
    sample_weight, targets = RNG.uniform(0.2, 3, 18), targets_of(3)
    path = RidgePath(rows, CODES, 3, sample_weight)
    whole = Ridge(alpha=5.0).fit(rows, targets, sample_weight)
    np.testing.assert_allclose(path.weights(0.1)[:-1], whole.coef_.T, atol=1e-10)
    np.testing.assert_allclose(path.weights(0.1)[-1], whole.intercept_, atol=1e-10)


@pytest.mark.parametrize("rows", [ROWS, WIDE], ids=["narrow", "wide"])
def test_weights_are_scikit_learns(rows: np.ndarray) -> None:
    weights = RidgePath(rows, CODES, 3).weights(0.1)
    expected = Ridge(alpha=5.0).fit(rows, targets_of(3))
    np.testing.assert_allclose(weights[:-1], expected.coef_.T, atol=1e-12)
    np.testing.assert_allclose(weights[-1], expected.intercept_, atol=1e-12)


def test_a_repeated_column_shares_its_weight() -> None:
    weights = RidgePath(ROWS[:, [0, 1, 0]], CODES, 3).weights(10.0)
    expected = Ridge(alpha=1 / 20).fit(ROWS[:, [0, 1, 0]], targets_of(3))
    np.testing.assert_allclose(weights[0], weights[2], atol=1e-12)
    np.testing.assert_allclose(weights[:-1], expected.coef_.T, atol=1e-9)


def test_the_strongest_penalty_leaves_the_classes_shares() -> None:
    weights = RidgePath(ROWS, np.array([0] * 9 + [1] * 6 + [2] * 3), 3).weights(1e-15)
    np.testing.assert_allclose(weights[:-1], 0, atol=1e-9)
    np.testing.assert_allclose((weights[-1] + 1) / 2, [9 / 18, 6 / 18, 3 / 18], atol=1e-9)
