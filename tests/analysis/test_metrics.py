from __future__ import annotations

import time

import numpy as np
import pytest
from sklearn.datasets import make_blobs
from sklearn.metrics import silhouette_samples
from sklearn.neighbors import NearestNeighbors

from featx.analysis.metrics import (
    _clustering_agreement,
    _find_clusters,
    _neighborhood_purity,
    cka_matrix,
    intrinsic_dimension,
    measure,
    silhouette,
)
from featx.analysis.similarity import Space


@pytest.fixture(scope="module")
def blobs() -> tuple[np.ndarray, np.ndarray]:
    X, y = make_blobs(300, 20, centers=5, cluster_std=6, random_state=0)
    return X.astype(np.float32), y


def test_purity_is_that_of_sklearns_neighbors(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = blobs
    near = NearestNeighbors(n_neighbors=10, metric="cosine").fit(X).kneighbors()[1]
    found = _neighborhood_purity(Space(X).neighbors(10)[0], y)
    np.testing.assert_allclose(found, [(y[row] == y[i]).mean() for i, row in enumerate(near)])


def test_silhouette_is_sklearns(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = blobs
    y = y.copy()
    y[0] = 9  # A class of one image.
    expected = silhouette_samples(X, y, metric="cosine")
    np.testing.assert_allclose(silhouette(Space(X), y), expected, atol=1e-5)


def test_silhouette_of_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="two or more classes; got 1"):
        silhouette(Space(np.eye(3)), ["a", "a", "a"])


@pytest.mark.parametrize("n_dimensions", [2, 5])
def test_intrinsic_dimension_is_that_of_the_filled_cube(n_dimensions: int) -> None:
    rng = np.random.default_rng(0)
    inner = rng.random((2000, n_dimensions))
    X = inner @ np.linalg.qr(rng.normal(size=(40, n_dimensions)))[0].T + 3
    found = intrinsic_dimension(Space(X))
    assert found == pytest.approx(n_dimensions, rel=0.1)


def test_duplicates_do_not_move_the_intrinsic_dimension() -> None:
    X = np.random.default_rng(0).random((400, 2))
    found = intrinsic_dimension(Space(np.concatenate([X, np.repeat(X[:1], 50, axis=0)])))
    assert found == pytest.approx(intrinsic_dimension(Space(X)), rel=0.05)


def test_intrinsic_dimension_of_equal_rows_is_unknown() -> None:
    assert intrinsic_dimension(Space(np.ones((30, 4)))) is None


@pytest.mark.parametrize("n_columns", [12, 80])
def test_cka_is_that_of_the_definition(n_columns: int) -> None:
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(40, 15)) + 2, rng.normal(size=(40, n_columns)) + 1
    center = np.eye(40) - 1 / 40
    K, L = center @ X @ X.T @ center, center @ Y @ Y.T @ center
    expected = (K * L).sum() / np.sqrt((K * K).sum() * (L * L).sum())
    matrix = cka_matrix([Space(X), Space(Y)])
    np.testing.assert_allclose(matrix, [[1, expected], [expected, 1]], rtol=1e-4)


def test_cka_of_wide_with_wide_features_is_that_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    wide = [rng.normal(size=(20, n)) for n in (50, 70)]
    K, L = [(X - X.mean(0)) @ (X - X.mean(0)).T for X in wide]
    expected = (K * L).sum() / np.sqrt((K * K).sum() * (L * L).sum())
    assert cka_matrix(list(map(Space, wide)))[0, 1] == pytest.approx(expected, rel=1e-4)


def test_cka_with_a_dead_layer_is_zero() -> None:
    matrix = cka_matrix([Space(np.ones((5, 2))), Space(np.eye(5))])
    np.testing.assert_allclose(matrix, [[0, 0], [0, 1]], atol=1e-6)


def test_kmeans_finds_blobs_in_narrow_and_wide_features() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(3), 15)
    for n_columns in (5, 200):
        X = np.eye(3, n_columns)[y] + 0.02 * rng.normal(size=(45, n_columns))
        found = _clustering_agreement(_find_clusters(Space(X), 3), y)
        assert found == {"nmi": pytest.approx(1), "ari": pytest.approx(1)}


def test_shuffled_labels_are_at_chance(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    found = measure(Space(blobs[0]), blobs[1])
    assert found["purity_shuffled"] == pytest.approx(0.2, abs=0.03)
    assert found["silhouette_shuffled"] < 0.01
    assert abs(found["ari_shuffled"]) < 0.02 < found["ari"]
    assert found["purity_low"] < found["purity"] < found["purity_high"]


def test_a_space_without_any_difference_is_measured() -> None:
    found = measure(Space(np.zeros((12, 4))), ["a"] * 6 + ["b"] * 6)
    assert found["nmi"] == 0.0
    assert np.isfinite(found["silhouette"])


@pytest.mark.slow
def test_wide_features_are_measured_in_seconds() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 20_000)).astype(np.float32)
    started = time.perf_counter()
    measure(Space(X), rng.integers(20, size=2000))
    assert time.perf_counter() - started < 60
