"""Linear algebra in blocks: arrays in memory or in a file, Gram matrices, principal axes.

There are three eigensolvers, as stored features, embeddings and visual words depend on the last
bits of their results: `principal_axes` returns all axes of non-zero variance, `leading_axes` the
first few, and `reproducible_axes` the same bytes for any number of threads.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from featx._files import reserve
from featx.errors import FeatureFileError

_Item = TypeVar("_Item")
_Value = TypeVar("_Value")
Matrix: TypeAlias = npt.NDArray[Any]
Floats: TypeAlias = npt.NDArray[np.float64]
Rows: TypeAlias = npt.NDArray[np.float32]

_MAX_BYTES_IN_MEMORY = 512 * 2**20
"""Larger arrays of features are memory-mapped."""

_CHUNK_BYTES = 32 * 2**20
"""Maximum size of a block of rows or columns."""

_BLOCK_ROWS = 2048
"""Rows in a block of `map_blocks`; fixed, so that sums over blocks round alike everywhere."""

_RELATIVE_RANK = 1e-12
"""Axes with less than this fraction of the largest variance are dropped as rounding errors."""

_MAX_DENSE = 600
"""Size of the largest matrix for which `leading_axes` uses a dense solver."""


def slices(length: int, step: int) -> Iterator[slice]:
    """Slices of length `step` that cover ``range(length)``; the last one may be shorter.

    Examples
    --------
    >>> [(block.start, block.stop) for block in slices(600, 512)]
    [(0, 512), (512, 600)]
    """
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


def rows_per_chunk(row_bytes: int) -> int:
    """Number of rows that fit into `_CHUNK_BYTES`, at least one."""
    return max(1, _CHUNK_BYTES // max(1, row_bytes))


def row_blocks(X: Matrix) -> Iterator[slice]:
    """Slices of the rows of `X`, each at most `_CHUNK_BYTES` large in float64."""
    return slices(len(X), rows_per_chunk(8 * X.shape[1]))


def find_not_finite(X: Matrix) -> npt.NDArray[np.intp]:
    """Indices of the rows of `X` that contain NaN or infinite values.

    Examples
    --------
    >>> find_not_finite(np.array([[1, 2], [np.nan, 2], [1, np.inf]], np.float32))
    array([1, 2])
    """
    indices = [np.empty(0, np.intp)]
    for rows in row_blocks(X):
        block = X[rows]
        with np.errstate(over="ignore", invalid="ignore"):
            # A finite sum rules out NaN and infinity in one pass; finite values may overflow it.
            if np.isfinite(block.sum()):
                continue
        indices.append(rows.start + np.flatnonzero(~np.isfinite(block).all(axis=1)))
    return np.concatenate(indices)


def allocate(n_rows: int, n_columns: int, folder: Path | None = None) -> Rows:
    """Uninitialized float32 array in memory or, if it is large, in a temporary file.

    Parameters
    ----------
    n_rows, n_columns : int
    folder : Path, optional
        Folder on whose disk the file is created; by default, or if it is not writable, the
        system's folder for temporary files, whose disk is often small.

    Returns
    -------
    ndarray of shape (n_rows, n_columns), float32
        A file is removed together with its array.

    Raises
    ------
    FeatureFileError
        If there is not enough disk space.
    """
    n_bytes = 4 * n_rows * n_columns
    if n_bytes <= _MAX_BYTES_IN_MEMORY:
        return np.empty((n_rows, n_columns), np.float32)
    parents = [path for path in (folder, *folder.parents) if path.is_dir()] if folder else []
    writable = (str(path) for path in parents if os.access(path, os.W_OK))
    directory = next(writable, tempfile.gettempdir())
    try:
        with tempfile.TemporaryFile(prefix=".featx-", dir=directory) as file:
            reserve(file, n_bytes)
            return np.memmap(file, np.float32, "r+", shape=(n_rows, n_columns))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise FeatureFileError(
            f"Cannot hold {n_bytes / 1e9:.1f} GB of features in {directory}: {reason}. Free some "
            "space there, name an output or a store on another disk (-o, --store), or ask for "
            "fewer features (--pooling gap)."
        ) from error


def take_rows(X: npt.NDArray[Any], indices: Sequence[int] | npt.NDArray[Any]) -> Rows:
    """Copy of some rows of `X`, memory-mapped if it is large.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        Possibly memory-mapped.
    indices : sequence of int, or array of bool

    Returns
    -------
    ndarray of shape (n_indices, n_features), float32

    Examples
    --------
    >>> take_rows(np.array([[1, 2], [3, 4]], np.float32), [1, 1]).tolist()
    [[3.0, 4.0], [3.0, 4.0]]
    """
    indices = np.asarray(indices)
    if indices.dtype == bool:
        indices = np.flatnonzero(indices)
    copy = allocate(len(indices), X.shape[1])
    for rows in slices(len(indices), rows_per_chunk(4 * X.shape[1])):
        copy[rows] = X[indices[rows]]
    return copy


def column_blocks(X: Matrix, *, n_chunks: int = 1) -> Iterator[slice]:
    """Slices of the columns of `X`, each at most `n_chunks` times `_CHUNK_BYTES` large in float64.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    n_chunks : int, default=1
    """
    return slices(X.shape[1], max(1, n_chunks * _CHUNK_BYTES // (8 * max(1, len(X)))))


def map_blocks(function: Callable[[Matrix], Any], X: Matrix) -> Iterator[Any]:
    """Results of `function` for blocks of `_BLOCK_ROWS` rows in order, computed on all cores."""
    import joblib

    blocks = (X[rows] for rows in slices(len(X), _BLOCK_ROWS))
    with ThreadPoolExecutor(joblib.cpu_count()) as pool:
        yield from pool.map(function, blocks)


def map_on_cores(
    function: Callable[[_Item], _Value], items: Sequence[_Item], *, n_threads: int | None = None
) -> Iterator[_Value]:
    """Results of `function` for each item in order, in threads that share the cores.

    The threads of BLAS and OpenMP are limited so that all together use each core once: several
    small problems side by side are faster than one after the other with more threads each.

    Parameters
    ----------
    function : callable
    items : sequence
    n_threads : int, optional
        Threads of BLAS and OpenMP for each item. 1 where a function promises the same bytes for
        any number of cores: the limit applies to the whole process, so that functions that run at
        once cannot set different ones.
    """
    import joblib
    from threadpoolctl import threadpool_limits

    n_cores = joblib.cpu_count()
    n_workers = max(1, min(n_cores, len(items)))
    with (
        threadpool_limits(n_threads or n_cores // n_workers),
        ThreadPoolExecutor(n_workers) as pool,
    ):
        yield from pool.map(function, items)


def gram(blocks: Iterable[Matrix], n_rows: int, dtype: npt.DTypeLike = np.float64) -> Matrix:
    """Gram matrix: inner products of all pairs of rows, summed over blocks of columns.

    Parameters
    ----------
    blocks : iterable of ndarray of shape (n_rows, n_columns)
    n_rows : int
    dtype : dtype, default=float64
        Type in which the blocks are summed.

    Returns
    -------
    ndarray of shape (n_rows, n_rows)

    Examples
    --------
    >>> gram([np.array([[1.0], [2.0]]), np.array([[3.0], [0.0]])], n_rows=2)
    array([[10., 2.], [ 2., 4.]])
    """
    total = np.zeros((n_rows, n_rows), dtype)
    for block in blocks:
        total += block @ block.T
    return total


def principal_axes(scatter: Floats, *, n_threads: int | None = None) -> tuple[Floats, Floats]:
    """All principal axes whose variance is more than a rounding error, and these variances.

    Parameters
    ----------
    scatter : ndarray of shape (n, n), float64
        Gram matrix or covariance, up to a factor; overwritten.
    n_threads : int, optional
        Maximum number of LAPACK's threads.

    Returns
    -------
    variances : ndarray of shape (n_axes,), float64
        Eigenvalues of `scatter`, the largest first.
    axes : ndarray of shape (n, n_axes), float64
        Orthonormal columns.

    Examples
    --------
    >>> principal_axes(np.diag([1.0, 0.0, 4.0]))[0]
    array([4., 1.])
    """
    from scipy.linalg import eigh
    from threadpoolctl import threadpool_limits

    with threadpool_limits(n_threads, user_api="blas"):
        variances, axes = eigh(scatter, overwrite_a=True, check_finite=False, driver="evd")
    order = np.flatnonzero(variances > _RELATIVE_RANK * max(variances[-1], 0.0))[::-1]
    return variances[order], axes[:, order]


def leading_axes(scatter: Matrix, n_axes: int) -> tuple[Floats, Floats]:
    """The first principal axes, and the variances along them.

    Parameters
    ----------
    scatter : ndarray of shape (n, n)
        Gram matrix or covariance, up to a factor.
    n_axes : int
        Less than n, except where n is at most `_MAX_DENSE`.

    Returns
    -------
    variances : ndarray of shape (n_axes,), float64
        Eigenvalues of `scatter`, the largest first; they may be zero.
    axes : ndarray of shape (n, n_axes), float64
        Orthonormal columns.

    Examples
    --------
    >>> leading_axes(np.diag([1.0, 0.0, 4.0]), 2)[0]
    array([4., 1.])
    """
    from scipy.linalg import eigh
    from scipy.sparse.linalg import eigsh

    n, scatter = len(scatter), scatter.astype(np.float64)
    if n <= _MAX_DENSE or not scatter.any():
        variances, axes = eigh(scatter, subset_by_index=[n - n_axes, n - 1])
    else:
        # A fixed start vector: a random one, the default, would change the last digits.
        variances, axes = eigsh(scatter, n_axes, v0=np.cos(np.arange(n)))
    return variances[::-1], axes[:, ::-1]


def reproducible_axes(scatter: Floats, n_axes: int) -> Floats:
    """The first principal axes, with the same bytes for any number of threads.

    Parameters
    ----------
    scatter : ndarray of shape (n, n), float64
        Gram matrix or covariance, up to a factor.
    n_axes : int
        At most n.

    Returns
    -------
    ndarray of shape (n, n_axes), float64
        Orthonormal columns, the one with the largest variance first; see `fix_signs`.
    """
    from threadpoolctl import threadpool_limits

    # LAPACK's rounding may depend on the number of threads.
    with threadpool_limits(1, user_api="blas"):
        axes = np.linalg.eigh(scatter)[1]
    return np.ascontiguousarray(fix_signs(axes[:, ::-1][:, :n_axes]))


def fix_signs(axes: Matrix) -> Matrix:
    """Flip the signs of columns so that the entry of largest magnitude in each is positive.

    The sign of an eigenvector is arbitrary.

    Examples
    --------
    >>> fix_signs(np.array([[1.0, 3.0], [-2.0, 0.0]]))
    array([[-1., 3.], [ 2., 0.]])
    """
    largest = np.abs(axes).argmax(axis=0)
    signs = np.where(np.take_along_axis(axes, largest[None], 0) < 0, -1, 1)
    return axes * signs.astype(axes.dtype)
