from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from scipy.linalg import fractional_matrix_power
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from featx.evaluation.coral import CORAL

Rows = np.ndarray[Any, np.dtype[Any]]


@parametrize_with_checks([CORAL(), CORAL(scale="none"), CORAL(new_rows="target")])
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def domains(n_source: int, n_target: int, n_features: int) -> tuple[Rows, Rows]:
    """Rows of two domains with correlated features, each with its own mean and covariance."""
    rng = np.random.default_rng(n_source)
    source, target = (
        rng.normal(size=(n, n_features)) @ rng.normal(size=(n_features, n_features)) + mean
        for n, mean in ((n_source, 3), (n_target, -5))
    )
    return source, target


def aligned_directly(source: Rows, target: Rows, regularization: float) -> Rows:
    """The paper's formula with covariances of (n_features, n_features)."""
    identity = np.eye(source.shape[1])
    white = fractional_matrix_power(np.cov(source.T) + regularization * identity, -0.5)
    color = fractional_matrix_power(np.cov(target.T) + regularization * identity, 0.5)
    return (source - source.mean(0)) @ white @ color + target.mean(0)


@pytest.mark.parametrize("shape", [(50, 40, 8), (10, 12, 30), (30, 9, 20)])
@pytest.mark.parametrize("regularization", [0.01, 1.0, 10.0])
def test_the_span_gives_what_full_covariances_give(
    shape: tuple[int, int, int], regularization: float
) -> None:
    source, target = domains(*shape)
    moved = CORAL(regularization, scale="none").fit_transform(source, target=target)
    np.testing.assert_allclose(moved, aligned_directly(source, target, regularization), atol=1e-8)


def test_scaled_features_give_what_the_paper_does_with_standardized_ones() -> None:
    source, target = domains(15, 20, 30)
    standard = [(rows - rows.mean(0)) / rows.std(0) for rows in (source, target)]
    wanted = aligned_directly(*standard, 1.0) * target.std(0) + target.mean(0)
    moved = CORAL().fit_transform(source, target=target)
    np.testing.assert_allclose(moved, wanted, atol=1e-8)


def test_float32_is_near_the_full_covariances() -> None:
    source, target = (rows.astype(np.float32) for rows in domains(20, 25, 40))
    moved = CORAL(scale="none").fit_transform(source, target=target)
    assert moved.dtype == np.float32
    np.testing.assert_allclose(moved, aligned_directly(source, target, 1.0), atol=1e-4)


@pytest.mark.parametrize("scale", ["standard", "none"])
def test_mean_and_covariance_become_the_targets(scale: Any) -> None:
    source, target = domains(60, 50, 10)
    moved = CORAL(1e-9, scale=scale).fit_transform(source, target=target)
    np.testing.assert_allclose(moved.mean(0), target.mean(0), atol=1e-8)
    np.testing.assert_allclose(np.cov(moved.T), np.cov(target.T), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n_features", [5, 40])
def test_a_source_like_its_target_stays(n_features: int) -> None:
    source, _ = domains(20, 2, n_features)
    moved = CORAL().fit_transform(source, target=source[::-1])
    np.testing.assert_allclose(moved, source, atol=1e-9)


def test_units_of_features_do_not_matter_when_scaled() -> None:
    source, target = domains(20, 25, 40)
    units = np.logspace(-3, 3, 40)
    moved = CORAL().fit_transform(source * units, target=target * units)
    np.testing.assert_allclose(moved, CORAL().fit_transform(source, target=target) * units)


def test_features_that_are_constant_in_the_target_become_so() -> None:
    source, target = domains(20, 25, 6)
    target[:, 2] = 7.0
    assert (CORAL().fit_transform(source, target=target)[:, 2] == 7.0).all()


def test_new_rows_are_moved_as_those_that_were_learned_from() -> None:
    source, target = domains(30, 25, 50)
    coral = CORAL().fit(source, target=target)
    np.testing.assert_allclose(coral.transform(source[:3]), coral.transform(source)[:3])


def test_in_a_pipeline_the_source_moves_and_the_target_stays() -> None:
    source, target = domains(40, 30, 5)
    classes = (source[:, 0] > source[:, 0].mean()).astype(int)
    pipeline = make_pipeline(CORAL(new_rows="target"), LogisticRegression())
    pipeline.fit(source, classes, coral__target=target)
    by_hand = LogisticRegression().fit(CORAL().fit_transform(source, target=target), classes)
    np.testing.assert_array_equal(pipeline.predict_proba(target), by_hand.predict_proba(target))


def test_a_target_of_other_columns_is_refused() -> None:
    with pytest.raises(ValueError, match=r"4 features.*expecting 5"):
        CORAL().fit(np.eye(5), target=np.ones((3, 4)))


@pytest.mark.parametrize("n_rows", [0, 1])
def test_a_target_needs_two_rows(n_rows: int) -> None:
    with pytest.raises(ValueError, match=r"minimum of [12]|at least 2 rows"):
        CORAL().fit(np.eye(5), target=np.ones((n_rows, 5)))


@pytest.mark.slow
def test_50_000_features_take_little_memory() -> None:
    rng = np.random.default_rng(0)
    source, target = (rng.normal(size=(400, 50_000)).astype(np.float32) for _ in range(2))
    tracemalloc.start()
    try:
        CORAL().fit_transform(source, target=target)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * source.nbytes  # A covariance would take 20 GB.
