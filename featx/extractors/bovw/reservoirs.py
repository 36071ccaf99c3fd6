"""Samples of a stream of unknown length, in bounded memory and independent of its chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


class RowSample:
    """Random rows of a stream of 2-D arrays, without replacement.

    Every row gets a random key; the sample is the rows with the smallest keys.

    Parameters
    ----------
    n_rows : int
        Size of the sample.
    seed : int or SeedSequence, optional
        Seed of the keys.

    Examples
    --------
    >>> sample = RowSample(3, seed=0)
    >>> for start in range(0, 100, 10):
    ...     sample.add(np.arange(start, start + 10)[:, None])
    >>> sample.rows().shape
    (3, 1)
    """

    def __init__(self, n_rows: int, seed: Any = None) -> None:
        self.n_rows = n_rows
        self.n_seen = 0
        self._rng = np.random.default_rng(seed)
        self._keys: list[npt.NDArray[np.float64]] = []
        self._rows: list[npt.NDArray[Any]] = []
        self._n_held = 0
        self._limit = 1.0

    def add(self, rows: npt.NDArray[Any]) -> None:
        """Add one array of the stream."""
        keys = self._rng.random(len(rows))
        self.n_seen += len(rows)
        chosen = np.flatnonzero(keys < self._limit)
        if self._rows and not len(chosen):
            return
        self._keys.append(keys[chosen])
        self._rows.append(rows[chosen])
        self._n_held += len(chosen)
        # Truncate rarely: it sorts all keys.
        if self._n_held > 2 * self.n_rows + 1024:
            self._truncate()

    def rows(self) -> npt.NDArray[Any]:
        """The sample, in random order.

        Raises
        ------
        ValueError
            If nothing was added.
        """
        if not self._rows:
            raise ValueError("The sample is empty: expected at least one array; call add first.")
        self._truncate()
        return self._rows[0]

    def _truncate(self) -> None:
        keys = np.concatenate(self._keys)
        order = np.argsort(keys)[: self.n_rows]
        self._rows = [np.concatenate(self._rows)[order]]
        self._keys = [keys[order]]
        self._n_held = len(order)
        if self._n_held == self.n_rows:
            self._limit = float(self._keys[0][-1])


class BagSample:
    """Random whole arrays of a stream, with a given number of rows in total.

    Parameters
    ----------
    n_rows : int
        Maximum number of rows of all arrays together, an empty array counting as one; the
        sample has at least one array.
    seed : int or SeedSequence, optional
        Seed of the random keys.

    Examples
    --------
    >>> sample = BagSample(25, seed=0)
    >>> for _ in range(10):
    ...     sample.add(np.zeros((10, 1)))
    >>> len(sample.bags())
    2
    """

    def __init__(self, n_rows: int, seed: Any = None) -> None:
        self.n_rows = n_rows
        self._rng = np.random.default_rng(seed)
        self._bags: list[tuple[float, npt.NDArray[Any]]] = []
        self._n_held = 0
        self._limit = 1.0

    def add(self, rows: npt.NDArray[Any]) -> None:
        """Add one array of the stream."""
        key = float(self._rng.random())
        if key >= self._limit:
            return
        self._bags.append((key, np.array(rows)))
        self._n_held += _cost(rows)
        if self._n_held > 2 * self.n_rows:
            self._truncate()

    def bags(self) -> list[npt.NDArray[Any]]:
        """The sampled arrays, in random order."""
        self._truncate()
        return [rows for _, rows in self._bags]

    def _truncate(self) -> None:
        self._bags.sort(key=lambda bag: bag[0])
        ends = np.cumsum([_cost(rows) for _, rows in self._bags])
        n_bags = max(1, int(np.searchsorted(ends, self.n_rows, side="right")))
        if n_bags < len(self._bags):
            self._limit = self._bags[n_bags][0]
        self._bags = self._bags[:n_bags]
        self._n_held = sum(_cost(rows) for _, rows in self._bags)


def _cost(rows: npt.NDArray[Any]) -> int:
    """Number of rows, at least 1: a stream of empty arrays would fill the memory otherwise."""
    return max(1, len(rows))
