"""Samples of a stream of unknown length, in bounded memory and independent of its chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


class RowSample:
    """Random rows of a stream of 2-D arrays, without replacement.

    Every row gets a random key, and the rows with the smallest keys are kept.

    Parameters
    ----------
    n_rows : int
        How many rows to keep.
    seed : int or sequence of int, optional
        Of the keys.

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
        self._n_kept = 0
        self._limit = 1.0

    def add(self, rows: npt.NDArray[Any]) -> None:
        """Take one array of the stream; it is not kept itself."""
        keys = self._rng.random(len(rows))
        self.n_seen += len(rows)
        chosen = np.flatnonzero(keys < self._limit)
        if self._rows and not len(chosen):
            return
        self._keys.append(keys[chosen])
        self._rows.append(rows[chosen])
        self._n_kept += len(chosen)
        # Cut seldom: a cut looks at everything kept.
        if self._n_kept > 2 * self.n_rows + 1024:
            self._cut()

    def rows(self) -> npt.NDArray[Any]:
        """The sample, in random order.

        Raises
        ------
        ValueError
            If nothing was added.
        """
        if not self._rows:
            raise ValueError("A sample of nothing has no rows; add arrays first.")
        self._cut()
        return self._rows[0]

    def _cut(self) -> None:
        keys = np.concatenate(self._keys)
        order = np.argsort(keys)[: self.n_rows]
        self._rows = [np.concatenate(self._rows)[order]]
        self._keys = [keys[order]]
        self._n_kept = len(order)
        if self._n_kept == self.n_rows:
            self._limit = float(self._keys[0][-1])


class BagSample:
    """Random arrays of a stream, whole, as many as hold a given number of rows.

    Parameters
    ----------
    n_rows : int
        How many rows to keep at most, all arrays together, an empty array counting as one; at
        least one array is kept.
    seed : int or sequence of int, optional
        Of the random keys.

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
        self._n_kept = 0
        self._limit = 1.0

    def add(self, rows: npt.NDArray[Any]) -> None:
        """Take one array of the stream."""
        key = float(self._rng.random())
        if key >= self._limit:
            return
        self._bags.append((key, np.array(rows)))
        self._n_kept += _cost(rows)
        if self._n_kept > 2 * self.n_rows:
            self._cut()

    def bags(self) -> list[npt.NDArray[Any]]:
        """The arrays kept, in random order."""
        self._cut()
        return [rows for _, rows in self._bags]

    def _cut(self) -> None:
        self._bags.sort(key=lambda bag: bag[0])
        ends = np.cumsum([_cost(rows) for _, rows in self._bags])
        n_bags = max(1, int(np.searchsorted(ends, self.n_rows, side="right")))
        if n_bags < len(self._bags):
            self._limit = self._bags[n_bags][0]
        self._bags = self._bags[:n_bags]
        self._n_kept = sum(_cost(rows) for _, rows in self._bags)


def _cost(rows: npt.NDArray[Any]) -> int:
    """Rows of an array; an empty one counts too, or a stream of them would fill the memory."""
    return max(1, len(rows))
