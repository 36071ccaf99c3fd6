from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_distances, euclidean_distances

from featx.analysis.similarity import _N_COLUMNS, N_ROWS, Space
from featx.errors import NotEnoughMemoryError


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(N_ROWS + 40, 24)).astype(np.float32)


def test_neighbors_are_the_nearest_by_cosine(rows: np.ndarray) -> None:
    apart = cosine_distances(rows.astype(np.float64))
    np.fill_diagonal(apart, np.inf)
    indices, distances = Space(rows).neighbors(10)
    expected = np.sort(apart, axis=1)[:, :10]
    np.testing.assert_allclose(distances, expected, atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(apart, indices, 1), expected, atol=1e-6)


def test_no_row_is_its_own_neighbor_even_with_duplicates() -> None:
    indices, distances = Space(np.ones((6, 3))).neighbors(5)
    assert not (indices == np.arange(6)[:, None]).any()
    assert distances.max() < 1e-6


def test_wide_features_are_multiplied_slab_by_slab() -> None:
    X = np.random.default_rng(0).normal(size=(5, _N_COLUMNS + 9)).astype(np.float32)
    expected = (X - X.mean(0)) @ (X - X.mean(0)).T
    np.testing.assert_allclose(Space(X).products, expected, rtol=1e-4, atol=1e-2)


def test_two_nearest_are_exact_far_from_the_origin(rows: np.ndarray) -> None:
    far = rows + np.float32(1000)
    apart = euclidean_distances(far.astype(np.float64) - 1000)
    np.fill_diagonal(apart, np.inf)
    expected = np.sort(apart, axis=1)[:, :2]
    np.testing.assert_allclose(Space(far).two_nearest(), expected, rtol=1e-4)


@pytest.mark.parametrize("n_columns", [3, 400])
def test_span_keeps_every_cosine(n_columns: int) -> None:
    X = np.random.default_rng(1).normal(size=(60, n_columns)).astype(np.float32)
    X[1] = X[0]
    space = Space(X)
    span = space.span()
    assert span.shape[1] <= 60 or n_columns < 60
    np.testing.assert_allclose(span @ span.T, space.cosines(), atol=1e-4)


def test_a_row_of_zeros_is_far_from_all() -> None:
    space = Space(np.array([[0, 0], [1, 0], [1, 1]]))
    assert space.cosines()[0].tolist() == [0, 0, 0]


def test_two_rows_are_refused() -> None:
    with pytest.raises(ValueError, match=r"three or more rows of features; got \(2, 4\)"):
        Space(np.zeros((2, 4)))


def test_more_pairs_than_memory_are_refused_with_the_figure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("featx.process.memory.available_bytes", lambda: 1_000)
    with pytest.raises(NotEnoughMemoryError, match="Comparing 9 images in pairs needs"):
        Space(np.eye(9)).neighbors(2)
