from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from featx import _linalg
from featx._linalg import (
    _BLOCK_ROWS,
    _MAX_DENSE,
    allocate,
    column_blocks,
    fix_signs,
    gram,
    leading_axes,
    map_blocks,
    principal_axes,
    reproducible_axes,
    row_blocks,
    rows_per_chunk,
    slices,
    take_rows,
)
from featx.errors import FeatureFileError

Rows = np.ndarray[Any, np.dtype[Any]]


def rows_of_falling_variance(n: int, d: int) -> Rows:
    return np.random.default_rng(0).normal(size=(n, d)) * 0.9 ** np.arange(d)


def scatter_of(X: Rows) -> Rows:
    centered = X - X.mean(axis=0)
    return centered.T @ centered


def assert_same_directions(axes: Rows, expected: Rows) -> None:
    """Columns are equal up to their sign."""
    np.testing.assert_allclose(np.abs(axes.T @ expected), np.eye(axes.shape[1]), atol=1e-8)


# Blocks


@pytest.mark.parametrize(("length", "step"), [(0, 3), (1, 3), (6, 3), (7, 3)])
def test_slices_cover_each_index_once(length: int, step: int) -> None:
    blocks = [np.arange(length)[block] for block in slices(length, step)]
    assert all(len(block) == step for block in blocks[:-1])
    np.testing.assert_array_equal(np.concatenate([[], *blocks]), np.arange(length))


@pytest.mark.parametrize(("row_bytes", "expected"), [(0, 100), (30, 3), (100, 1), (101, 1)])
def test_a_chunk_holds_at_least_one_row(
    row_bytes: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_linalg, "_CHUNK_BYTES", 100)
    assert rows_per_chunk(row_bytes) == expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_blocks_of_rows_and_columns_fill_the_budget_in_float64(
    dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_linalg, "_CHUNK_BYTES", 8 * 12)
    X = np.zeros((3, 6), dtype)
    assert [X[rows].shape for rows in row_blocks(X)] == [(2, 6), (1, 6)]
    assert [X[:, columns].shape for columns in column_blocks(X)] == [(3, 4), (3, 2)]
    assert [X[:, columns].shape for columns in column_blocks(X, n_chunks=2)] == [(3, 6)]


def test_mapped_blocks_come_in_order() -> None:
    X = np.arange(2 * _BLOCK_ROWS + 5)
    firsts = [block[0] for block in map_blocks(lambda block: block, X)]
    assert firsts == [0, _BLOCK_ROWS, 2 * _BLOCK_ROWS]


def test_gram_summed_over_blocks_is_that_of_all_columns() -> None:
    X = rows_of_falling_variance(5, 17)
    blocks = (X[:, columns] for columns in slices(17, 4))
    np.testing.assert_allclose(gram(blocks, 5), X @ X.T)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gram_has_the_asked_type_also_without_columns(dtype: type) -> None:
    product = gram([], 3, dtype)
    assert product.dtype == dtype
    np.testing.assert_array_equal(product, np.zeros((3, 3)))


# Principal axes


def test_principal_axes_are_scikit_learns() -> None:
    X = rows_of_falling_variance(40, 6)
    variances, axes = principal_axes(scatter_of(X))
    model = PCA().fit(X)
    np.testing.assert_allclose(variances / 39, model.explained_variance_)
    assert_same_directions(axes, model.components_.T)


def test_principal_axes_by_gram_give_those_by_covariance() -> None:
    X = rows_of_falling_variance(6, 15)
    centered = X - X.mean(axis=0)
    variances, vectors = principal_axes(centered @ centered.T)
    expected_variances, expected = principal_axes(scatter_of(X))
    np.testing.assert_allclose(variances, expected_variances)
    assert_same_directions(centered.T @ vectors / np.sqrt(variances), expected)


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_axes_that_are_only_rounding_are_left_out(rank: int) -> None:
    X = rows_of_falling_variance(20, rank) @ rows_of_falling_variance(rank, 8)
    assert principal_axes(X.T @ X)[1].shape == (8, rank)


@pytest.mark.parametrize("n", [30, _MAX_DENSE + 1])
def test_leading_axes_are_scikit_learns(n: int) -> None:
    X = np.random.default_rng(0).normal(size=(2 * n, n))
    X[:, :3] *= [9, 7, 5]
    variances, axes = leading_axes(scatter_of(X), 3)
    model = PCA(3, svd_solver="full").fit(X)
    np.testing.assert_allclose(variances / (2 * n - 1), model.explained_variance_)
    assert_same_directions(axes, model.components_.T)


@pytest.mark.parametrize("n", [5, _MAX_DENSE + 1])
def test_leading_axes_of_nothing_are_orthonormal(n: int) -> None:
    variances, axes = leading_axes(np.zeros((n, n), np.float32), 2)
    np.testing.assert_array_equal(variances, [0, 0])
    np.testing.assert_allclose(axes.T @ axes, np.eye(2), atol=1e-12)


def test_iterated_leading_axes_are_the_same_each_time() -> None:
    scatter = scatter_of(np.random.default_rng(0).normal(size=(700, _MAX_DENSE + 1)))
    first, second = (leading_axes(scatter, 2)[1].tobytes() for _ in range(2))
    assert first == second


def test_reproducible_axes_are_scikit_learns_with_a_positive_peak() -> None:
    X = rows_of_falling_variance(40, 6)
    axes = reproducible_axes(scatter_of(X), 4)
    assert_same_directions(axes, PCA(4).fit(X).components_.T)
    assert (axes[np.abs(axes).argmax(axis=0), np.arange(4)] > 0).all()


def test_reproducible_axes_do_not_depend_on_threads() -> None:
    scatter = scatter_of(rows_of_falling_variance(400, 256))
    axes = reproducible_axes(scatter, 32)
    with threadpool_limits(1):
        assert reproducible_axes(scatter, 32).tobytes() == axes.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fixed_signs_change_nothing_but_signs(dtype: type) -> None:
    axes = np.array([[1, -5, 0], [-3, 2, 0]], dtype)
    fixed = fix_signs(axes)
    assert fixed.dtype == dtype
    np.testing.assert_array_equal(fixed, [[-1, 5, 0], [3, -2, 0]])


def test_large_arrays_take_their_room_on_the_disk_of_a_folder_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx._linalg._MAX_BYTES_IN_MEMORY", 10)
    folders = []
    make = tempfile.TemporaryFile
    monkeypatch.setattr(
        tempfile, "TemporaryFile", lambda **how: (folders.append(how["dir"]), make(**how))[1]
    )
    array = allocate(3, 5, tmp_path / "not yet" / "there")
    array[:] = 1
    assert (array.shape, array.sum(), folders) == ((3, 5), 15, [str(tmp_path)])
    assert not list(tmp_path.iterdir())


def test_array_that_the_disk_has_no_room_for_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(FeatureFileError, match=r"Cannot hold 2\.0 GB .*: no space left") as raised:
        allocate(500, 1_000_000, tmp_path)
    assert str(tmp_path) in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_rows_taken_by_a_mask_or_indices_are_numpys(monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    monkeypatch.setattr(_linalg, "_MAX_BYTES_IN_MEMORY", 10)
    taken = take_rows(X, X[:, 0] > 0)
    assert isinstance(taken, np.memmap)
    np.testing.assert_array_equal(taken, X[X[:, 0] > 0])
    np.testing.assert_array_equal(take_rows(X, [3, 1, 3]), X[[3, 1, 3]])
