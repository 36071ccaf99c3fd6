"""Row space: at most as many coordinates as rows, nothing lost."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from featx.errors import NotEnoughMemoryError
from featx.evaluation import row_space as rowspace
from featx.evaluation.row_space import RowSpace, Scaler

X = np.random.default_rng(0).normal(3, 2, size=(20, 70))


@pytest.mark.parametrize("X", [X, X.T.copy()], ids=["wide", "narrow"])
def test_products_of_rows_stay(X: np.ndarray) -> None:
    Z = StandardScaler().fit_transform(X)

    rows = RowSpace.fit(X).rows

    np.testing.assert_allclose(rows @ rows.T, Z @ Z.T, atol=1e-9)
    assert rows.shape[1] <= min(X.shape)


@pytest.mark.parametrize("X", [X, X.T.copy()], ids=["wide", "narrow"])
@pytest.mark.parametrize("scale", ["standard", "l2", "none"])
def test_mapped_back_weights_give_the_same_scores(X: np.ndarray, scale: str) -> None:
    space = RowSpace.fit(X, scale)  # type: ignore[arg-type]
    weights = np.random.default_rng(1).normal(size=(space.rows.shape[1], 2))

    coefficients = space.coefficients(X, weights)

    unit = X / space.scaler.norms(X)
    expected = space.rows @ weights
    np.testing.assert_allclose((unit - space.scaler.shift) @ coefficients, expected, atol=1e-9)


def test_coordinates_are_uncorrelated() -> None:
    rows = RowSpace.fit(X).rows
    product = rows.T @ rows

    np.testing.assert_allclose(product, np.diag(np.diag(product)), atol=1e-9)


def test_blocks_of_columns_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = RowSpace.fit(X)
    monkeypatch.setattr("featx._linalg._CHUNK_BYTES", 4 * 20 * 9)

    parts = RowSpace.fit(X)

    np.testing.assert_allclose(parts.rows @ parts.rows.T, whole.rows @ whole.rows.T, atol=1e-9)


def test_too_many_of_both_are_left_unrotated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rowspace, "_MAX_RANK", 10)

    space = RowSpace.fit(X)

    np.testing.assert_allclose(space.rows, StandardScaler().fit_transform(X))
    assert np.array_equal(space.coefficients(X, np.eye(70)), np.diag(space.scaler.factor))


def test_scaler_is_scikit_learns() -> None:
    scaler, expected = Scaler.fit(X, "standard"), StandardScaler().fit(X)

    np.testing.assert_allclose(scaler.shift, expected.mean_)
    np.testing.assert_allclose(scaler.factor, 1 / expected.scale_)


def test_more_features_than_memory_are_refused_with_the_figure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("featx.process.memory.available_bytes", lambda: 4_000)
    RowSpace.fit(np.eye(10, 500))
    with pytest.raises(NotEnoughMemoryError, match=r"12 images by 500 features needs .* GB"):
        RowSpace.fit(np.eye(12, 500))
