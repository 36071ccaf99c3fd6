"""LinearProbe against scikit-learn's linear models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, RidgeClassifier, RidgeClassifierCV
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.estimator_checks import parametrize_with_checks

from featx.evaluation.linear_probe import LinearProbe
from featx.evaluation.regularization import inner_folds

Arrays = tuple[np.ndarray, np.ndarray]


def blobs(n: int, d: int, n_classes: int, seed: int = 0) -> Arrays:
    """Overlapping classes in correlated features of very different variance."""
    rng = np.random.default_rng(seed)
    y = rng.integers(n_classes, size=n)
    middles = np.random.default_rng(99).normal(size=(n_classes, 30))
    mixing = np.random.default_rng(98).normal(size=(30, d))
    noise = rng.normal(size=(n, d)) * np.exp(-np.arange(d) / d * 4)
    return (middles[y] @ mixing * 0.4 + 3 * noise).astype(np.float32), y


@parametrize_with_checks([LinearProbe(), LinearProbe("svm"), LinearProbe("ridge", scale="l2")])
def test_is_a_scikit_learn_classifier(estimator, check) -> None:  # type: ignore[no-untyped-def]
    check(estimator)


@pytest.mark.slow
@pytest.mark.parametrize("C", [1e-4, 1e-2, 1.0])
def test_wide_logistic_regression_is_scikit_learns_at_its_minimum(C: float) -> None:
    X, y = blobs(300, 5000, 4)
    scaler = StandardScaler().fit(X.astype(np.float64))
    reference = LogisticRegression(C=C, tol=1e-10, max_iter=100_000).fit(scaler.transform(X), y)

    probe = LinearProbe(C=C).fit(X, y)

    new, _ = blobs(100, 5000, 4, seed=1)
    expected = reference.predict_proba(scaler.transform(new.astype(np.float64)))
    assert np.abs(probe.predict_proba(new) - expected).max() < 1e-4
    assert probe.converged_


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("shape", [(80, 300), (200, 20)])
def test_logistic_regression_wide_and_narrow(shape: tuple[int, int], n_classes: int) -> None:
    X, y = blobs(*shape, n_classes)
    reference = LogisticRegression(C=0.1, tol=1e-10, max_iter=10_000)
    unit = Normalizer().transform(X.astype(np.float64))
    reference.fit(unit, y)

    probe = LinearProbe(C=0.1, scale="l2", tol=1e-6).fit(X, y)

    assert np.abs(probe.predict_proba(X) - reference.predict_proba(unit)).max() < 1e-6
    np.testing.assert_allclose(probe.coef_, reference.coef_, atol=1e-5)
    np.testing.assert_allclose(probe.intercept_, reference.intercept_, atol=1e-5)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_support_vector_machine_is_scikit_learns(n_classes: int) -> None:
    X, y = blobs(100, 400, n_classes)
    Z = StandardScaler().fit_transform(X.astype(np.float64))
    reference = LinearSVC(C=1e-3, dual=True, tol=1e-8, max_iter=1_000_000).fit(Z, y)

    scores = LinearProbe("svm", C=1e-3, tol=1e-6).fit(X, y).decision_function(X)

    np.testing.assert_allclose(scores, reference.decision_function(Z), atol=1e-4)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_ridge_is_scikit_learns(n_classes: int) -> None:
    X, y = blobs(90, 400, n_classes)
    Z = StandardScaler().fit_transform(X.astype(np.float64))
    reference = RidgeClassifier(alpha=50.0).fit(Z, y)

    scores = LinearProbe("ridge", C=0.01).fit(X, y).decision_function(X)

    np.testing.assert_allclose(scores, reference.decision_function(Z), atol=1e-6)


def test_ridge_chooses_by_leaving_one_out_as_scikit_learn_does() -> None:
    X, y = blobs(90, 40, 3)
    grid = np.array([1e-4, 1e-3, 1e-2, 1e-1])
    Z = StandardScaler().fit_transform(X.astype(np.float64))
    reference = RidgeClassifierCV(
        alphas=1 / (2 * grid), store_cv_results=True, scoring="accuracy"
    ).fit(Z, y)

    probe = LinearProbe("ridge", grid=grid, metric="accuracy").fit(X, y)

    predicted = reference.cv_results_.argmax(1)  # (n_samples, n_alphas)
    np.testing.assert_allclose(probe.scores_[0], (predicted == y[:, None]).mean(0))


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("class_weight", ["balanced", {0: 5.0}])
@pytest.mark.parametrize("classifier", ["logistic", "svm", "ridge"])
def test_class_weights_are_scikit_learns_weights_of_samples(
    classifier: str, class_weight: str | dict[int, float], n_classes: int
) -> None:
    rng = np.random.default_rng(0)
    y = np.minimum(rng.integers(5, size=120), n_classes - 1)  # The last class is the largest.
    X = rng.normal(size=(120, 10)) + 0.5 * np.eye(10)[y]
    exact = {"C": 0.01, "tol": 1e-9, "max_iter": 1_000_000}
    reference = {
        "logistic": LogisticRegression(**exact),
        "svm": LinearSVC(dual=True, **exact),  # Its own class_weight leaves "the rest" as it is.
        "ridge": RidgeClassifier(alpha=50.0),
    }[classifier].fit(X, y, sample_weight=compute_sample_weight(class_weight, y))
    plain = LinearProbe(classifier, C=0.01, scale="none", tol=1e-7)

    probe = clone(plain).set_params(class_weight=class_weight).fit(X, y)

    np.testing.assert_allclose(probe.coef_, np.atleast_2d(reference.coef_), atol=1e-5)
    np.testing.assert_allclose(probe.intercept_, reference.intercept_, atol=1e-5)
    assert np.abs(probe.coef_ - plain.fit(X, y).coef_).max() > 1e-3


@pytest.mark.parametrize("validation", [0.3, 4])
def test_inner_folds_keep_groups_together_and_every_class(validation: float) -> None:
    groups = np.repeat(np.array([f"p{i}" for i in range(21)]), 4)
    codes = np.repeat([0, 1, 2], [40, 40, 4])  # The last class is one group.

    held_out = inner_folds(codes, validation, 0, groups)

    assert len(held_out) == (4 if validation == 4 else 1)
    for rows in held_out:
        assert not set(groups[rows]) & set(groups[~rows])
        assert set(codes[~rows]) == {0, 1, 2}
        assert set(codes[rows]) == {0, 1}


@pytest.mark.parametrize("classifier", ["logistic", "ridge"])
def test_one_group_leaves_nothing_to_choose_by(classifier: Any) -> None:
    X, y = blobs(20, 5, 2)

    probe = LinearProbe(classifier, grid=[0.1, 1.0, 10.0], validation=3)
    probe.fit(X, y, groups=np.full(20, "a"))

    assert probe.C_ == 1.0


@pytest.mark.parametrize("classifier", ["logistic", "svm", "ridge"])
def test_rows_of_one_group_are_held_out_together(classifier: Any) -> None:
    rng = np.random.default_rng(0)
    groups = np.arange(120) // 6
    y = groups % 2
    own = rng.normal(size=(20, 200))[groups]  # Features that tell groups, and hardly classes.
    X = own + 0.3 * y[:, None] * np.eye(200)[0] + 0.1 * rng.normal(size=(120, 200))

    plain = LinearProbe(classifier, metric="accuracy")
    by_row, by_group = clone(plain).fit(X, y), plain.fit(X, y, groups=groups)

    assert by_row.scores_.mean(0).max() > 0.98
    assert by_group.scores_.mean(0).max() < 0.85


def test_folds_choose_what_fits_one_by_one_choose() -> None:
    X, y = blobs(120, 300, 3)
    grid = [1e-4, 1e-3, 1e-2]

    probe = LinearProbe(grid=grid, validation=3, scale="none", metric="accuracy").fit(X, y)

    expected = [
        [
            LogisticRegression(C=C, tol=1e-8, max_iter=5000)
            .fit(X[~out], y[~out])
            .score(X[out], y[out])
            for C in grid
        ]
        for out in inner_folds(y, 3, 0)
    ]
    np.testing.assert_allclose(probe.scores_, expected)
    means = np.mean(expected, axis=0)
    assert means[grid.index(probe.C_)] == means.max()


def test_c_is_chosen_on_the_held_out_rows() -> None:
    X, y = blobs(60, 100, 2)
    held_out = np.arange(60) % 4 == 0

    probe = LinearProbe(metric="accuracy").fit(X, y, held_out=held_out)

    assert probe.scores_.shape == (1, 9)
    assert np.isin(probe.scores_ * 15, np.arange(16)).all()


def test_one_training_row_less_does_not_hide_a_class() -> None:
    X, y = blobs(160, 512, 5)
    train = np.concatenate([np.flatnonzero(y == name)[: 13 - (name == 2)] for name in range(5)])

    probe = LinearProbe().fit(X[train], y[train])

    recall = (probe.predict(X) == y)[y == 2].mean()
    assert recall > 0.9
    assert LinearProbe(C=1e-5).fit(X[train], y[train]).predict(X).tolist().count(2) == 0


@pytest.mark.parametrize("classifier", ["logistic", "svm", "ridge"])
def test_shuffled_labels_choose_the_neutral_strength(classifier: Any) -> None:
    X, y = blobs(100, 300, 4)
    y = np.random.default_rng(0).permutation(y)

    assert 0.1 <= LinearProbe(classifier).fit(X, y).C_ <= 10


def test_features_of_another_scale_choose_the_same_model() -> None:
    X, y = blobs(40, 300, 2)
    Z = StandardScaler().fit_transform(X)
    grid = np.logspace(-5, 9, 15)

    large = LinearProbe(scale="none", grid=grid).fit(1e-3 * Z, y)

    assert pytest.approx(1e6 * LinearProbe(scale="none", grid=grid).fit(Z, y).C_) == large.C_


def test_test_rows_change_no_fitted_state() -> None:
    X, y = blobs(60, 100, 3)
    first = LinearProbe().fit(X[:40], y[:40])
    y[40:], X[40:] = 0, np.inf

    second = LinearProbe().fit(X[:40], y[:40])

    assert np.array_equal(first.coef_, second.coef_)


def test_single_image_of_each_class_takes_the_neutral_strength() -> None:
    X = np.eye(3, 10)

    assert LinearProbe().fit(X, ["a", "b", "c"]).C_ == 1


def test_constant_columns_have_no_weight() -> None:
    X, y = blobs(60, 10, 2)
    X[:, 3] = 7.1

    assert np.abs(LinearProbe(C=1.0).fit(X, y).coef_[:, 3]).max() < 1e-12


def test_memory_mapped_features_give_the_same(tmp_path) -> None:  # type: ignore[no-untyped-def]
    X, y = blobs(60, 200, 3)
    np.save(tmp_path / "X.npy", X)

    mapped = LinearProbe(C=1e-2).fit(np.load(tmp_path / "X.npy", mmap_mode="r"), y)

    assert np.array_equal(mapped.coef_, LinearProbe(C=1e-2).fit(X, y).coef_)


def test_one_class_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="1 class"):
        LinearProbe().fit(np.eye(3), ["a", "a", "a"])


@pytest.mark.parametrize("grid", [[], [-1.0], [np.nan]])
def test_grid_without_positive_numbers_is_refused(grid: list[float]) -> None:
    with pytest.raises(ValueError, match="positive"):
        LinearProbe(grid=grid).fit(np.eye(4), [0, 0, 1, 1])
