from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

from featx.evaluation.losses import Binomial, Loss, Multinomial, SquaredHinge

RNG = np.random.default_rng(0)
CODES = np.array([0, 2, 1, 1, 2, 0])
WEIGHTS = RNG.random((6, 2, 1))
LOSSES = {
    "multinomial": Multinomial(CODES, 3),
    "binomial": Binomial(CODES % 2),
    "hinge of three": SquaredHinge(CODES, 3),
    "hinge of two": SquaredHinge(CODES % 2, 2),
}


def scores_for(loss: Loss) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(6, 2, loss.n_outputs))


def test_cross_entropy_is_scikit_learns() -> None:
    scores = scores_for(LOSSES["multinomial"])
    loss, _, _ = LOSSES["multinomial"].value(scores, WEIGHTS)
    expected = [
        log_loss(CODES, softmax(scores[:, i], axis=1), sample_weight=WEIGHTS[:, i, 0])
        * WEIGHTS[:, i].sum()
        for i in range(2)
    ]
    np.testing.assert_allclose(loss, expected)


def test_hinge_counts_what_is_within_the_margin() -> None:
    scores = np.array([2.0, 0.5, -1.0])[:, None, None]
    loss, slopes, curvature = SquaredHinge(np.array([1, 1, 1]), 2).value(scores, np.ones((3, 1, 1)))
    assert loss.tolist() == [0.5**2 + 2**2]
    assert slopes.ravel().tolist() == [0, -1, -4]
    assert curvature == pytest.approx(4 / 3)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_slopes_are_differences_of_the_loss(loss: Loss) -> None:
    scores, step = scores_for(loss), 1e-6
    _, slopes, _ = loss.value(scores, WEIGHTS)
    for index in np.ndindex(scores.shape):
        moved = np.zeros_like(scores)
        moved[index] = step
        above, below = (loss.value(scores + sign * moved, WEIGHTS)[0] for sign in (1, -1))
        assert (above - below)[index[1]] / (2 * step) == pytest.approx(slopes[index], abs=1e-7)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_curvature_is_the_mean_difference_of_the_slopes(loss: Loss) -> None:
    scores, step = scores_for(loss), 1e-6
    actual = np.zeros(2)
    for output in range(loss.n_outputs):
        moved = np.zeros_like(scores)
        moved[..., output] = step
        above, below = (loss.value(scores + sign * moved, WEIGHTS)[1] for sign in (1, -1))
        actual += (above - below)[..., output].sum(0) / (2 * step)
    expected = actual / (loss.n_outputs * WEIGHTS.sum((0, 2)))
    np.testing.assert_allclose(loss.value(scores, WEIGHTS)[2], expected, rtol=1e-6)


def test_two_classes_of_many_are_the_binomial_loss() -> None:
    codes, score = CODES % 2, scores_for(LOSSES["binomial"])
    both = np.concatenate([np.zeros_like(score), score], axis=2)
    loss, slopes, _ = Multinomial(codes, 2).value(both, WEIGHTS)
    expected, expected_slopes, _ = Binomial(codes).value(score, WEIGHTS)
    np.testing.assert_allclose(loss, expected)
    np.testing.assert_allclose(slopes[..., 1:], expected_slopes, atol=1e-15)


@pytest.mark.parametrize(
    ("loss", "outputs"),
    [(Binomial(np.array([0])), [1e4]), (Multinomial(np.array([0]), 3), [0, 1e4, 0])],
)
def test_huge_scores_overflow_nowhere(loss: Loss, outputs: list[float]) -> None:
    scores = np.array(outputs)[None, None]
    wrong, slopes, _ = loss.value(scores, np.ones((1, 1, 1)))
    assert wrong == pytest.approx(1e4)
    assert np.abs(slopes).max() == pytest.approx(1)
    assert loss.value(-scores, np.ones((1, 1, 1)))[0] <= np.log(2)
