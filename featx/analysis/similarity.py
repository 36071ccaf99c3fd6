"""Images as points of a space of features: the products and neighbors that all else needs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt

from featx._linalg import gram, slices, take_rows
from featx.errors import ProjectionError
from featx.process.memory import require_memory

Array = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]

N_ROWS, _N_COLUMNS = 512, 8192
"""Rows and columns of a matrix worked on at a time."""


class Space:
    """Rows of features, and the products of all pairs of them, computed once.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        Possibly memory-mapped: it is read a slab of columns at a time.

    Raises
    ------
    ProjectionError
        If there are fewer than three rows.

    Examples
    --------
    >>> space = Space(np.array([[1, 0], [2, 0.1], [0, 3]]))
    >>> space.neighbors(1)[0].ravel().tolist()
    [1, 0, 1]
    """

    def __init__(self, X: npt.ArrayLike) -> None:
        self.X = np.asarray(X, np.float32)
        if self.X.ndim != 2 or len(self.X) < 3:
            raise ProjectionError(
                f"X must have three or more rows of features; got {self.X.shape}."
            )

    def __len__(self) -> int:
        return len(self.X)

    def take(self, indices: Indices) -> Space:
        """The space of some of its rows."""
        return Space(take_rows(self.X, indices))

    @cached_property
    def products(self) -> Array:
        """Inner products of all pairs of rows less their mean, (n_samples, n_samples)."""
        n = len(self)
        require_memory(
            _BYTES_PER_PAIR * n**2, f"Comparing {n:,} images in pairs", "Lower --max-images"
        )
        # Of rows as they are, all near their mean, the products would be mostly rounding.
        return gram(map(_centered, self._slabs()), len(self), np.float32)

    def forget(self) -> None:
        """Free the memory of the products if they are quick to compute again."""
        if self.X.shape[1] <= len(self):
            self.__dict__.pop("products", None)

    @cached_property
    def shifts(self) -> npt.NDArray[np.float64]:
        """What the mean adds: product of rows i and j is `products` + shift i + shift j."""
        shifts = np.zeros(len(self))
        for slab in self._slabs():
            mean = slab.mean(axis=0, dtype=np.float64)
            shifts += slab @ mean - mean @ mean / 2
        return shifts

    @cached_property
    def scales(self) -> Array:
        """What brings each row to unit length, (n_samples,); 0 for a row of zeros."""
        squares = np.zeros(len(self))
        for slab in self._slabs():
            squares += np.einsum("ij,ij->i", slab, slab)
        norms = np.sqrt(squares)
        return np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0).astype(np.float32)

    def cosines(self, rows: slice = slice(None)) -> Array:
        """Cosines of some rows to all, (n_rows, n_samples); 0 to a row of zeros."""
        shifts = self.shifts.astype(np.float32)
        block: Array = self.products[rows] + shifts[rows, None]
        block += shifts
        block *= self.scales[rows, None]
        block *= self.scales
        return np.clip(block, -1, 1, out=block)

    def neighbors(self, n_neighbors: int) -> tuple[Indices, Array]:
        """Nearest other rows by cosine, nearest first.

        Parameters
        ----------
        n_neighbors : int
            Fewer are returned if there are fewer other rows.

        Returns
        -------
        indices : array of int, shape (n_samples, n_neighbors)
        distances : array of shape (n_samples, n_neighbors)
            One minus the cosine.
        """
        n_neighbors = min(n_neighbors, len(self) - 1)
        indices = np.empty((len(self), n_neighbors), np.intp)
        distances = np.empty((len(self), n_neighbors), np.float32)
        for rows in slices(len(self), N_ROWS):
            apart = 1 - self.cosines(rows)
            indices[rows], distances[rows] = _smallest(apart, n_neighbors, rows.start)
        return indices, np.maximum(distances, 0)

    def two_nearest(self) -> Array:
        """Euclidean distances to the nearest and the second nearest other row, (n_samples, 2).

        Candidates come from the products; their distances are computed again, since a small
        difference of large products is mostly rounding.
        """
        distances = np.empty((len(self), 2), np.float32)
        squares = self.products.diagonal()
        n_candidates = min(_N_CANDIDATES, len(self) - 1)
        for rows in slices(len(self), N_ROWS):
            apart = squares[rows, None] + squares - 2 * self.products[rows]
            near, _ = _smallest(apart, n_candidates, rows.start)
            distances[rows] = self._distances(rows, near)
        return distances

    def span(self) -> npt.NDArray[np.float64]:
        """Unit rows turned into at most n_samples dimensions: the same cosines, fewer columns."""
        if self.X.shape[1] <= len(self):
            return np.asarray(self.X * self.scales[:, None], np.float64)
        gram = self.cosines().astype(np.float64)
        # Rows that depend on each other leave the root undefined but for a trace of noise.
        gram[np.diag_indices(len(self))] += len(self) * float(np.finfo(np.float32).eps)
        return np.asarray(np.linalg.cholesky(gram), np.float64)

    def _slabs(self) -> Iterator[Array]:
        """Copies of some columns at a time."""
        for columns in slices(self.X.shape[1], _N_COLUMNS):
            yield self.X[:, columns].copy()

    def _distances(self, rows: slice, near: Indices) -> Array:
        """Distances of some rows to the two nearest of their candidates."""
        squares = np.zeros(near.shape)
        for columns in slices(self.X.shape[1], _N_SLAB):
            slab = np.asarray(self.X[:, columns])
            for index in range(near.shape[1]):
                difference = slab[rows] - slab[near[:, index]]
                squares[:, index] += np.einsum("ij,ij->i", difference, difference)
        return np.sqrt(np.sort(squares, axis=1)[:, :2])


_BYTES_PER_PAIR = 20
"""At the peak: the products, the cosines, and these in float64 while their axes are computed."""

_N_CANDIDATES = 5
_N_SLAB = 1024


def _centered(slab: Array) -> Array:
    """The slab itself, its columns now around their mean."""
    slab -= slab.mean(axis=0)
    return slab


def _smallest(apart: Array, n_wanted: int, first: int) -> tuple[Indices, Array]:
    """Columns of the smallest values of each row and these, the row's own column left out."""
    own = np.arange(len(apart))
    apart[own, own + first] = np.inf
    columns = np.argpartition(apart, n_wanted - 1, axis=1)[:, :n_wanted]
    columns.sort(axis=1)  # Equal values in the order of their columns.
    order = np.argsort(np.take_along_axis(apart, columns, 1), axis=1, kind="stable")
    columns = np.take_along_axis(columns, order, 1)
    return columns, np.take_along_axis(apart, columns, 1)
