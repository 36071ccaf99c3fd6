"""Which points of a scatter plot are drawn where a page could not move all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

MAX_POINTS = 5000

Indices = npt.NDArray[np.intp]


def sample_points(
    n_points: int,
    labels: Sequence[str] | None = None,
    *,
    max_points: int = MAX_POINTS,
    random_state: int = 0,
) -> Indices:
    """Indices of at most `max_points` points, each class in proportion to its size.

    Parameters
    ----------
    n_points : int
    labels : sequence of str, optional
        Classes; every one keeps at least one point while there is room for it.
    max_points : int, default=5000
    random_state : int, default=0

    Returns
    -------
    ndarray of int, shape (min(n_points, max_points),)
        In increasing order.

    Examples
    --------
    >>> sample_points(6, ["a", "a", "a", "a", "a", "b"], max_points=3).size
    3
    >>> sample_points(3)
    array([0, 1, 2])
    """
    if n_points <= max_points:
        return np.arange(n_points)
    rng = np.random.default_rng(random_state)
    order = rng.permutation(n_points)
    if labels is None:
        return np.sort(order[:max_points])
    return np.sort(order[np.argsort(_ranks(np.asarray(labels)[order]), kind="stable")][:max_points])


def _ranks(labels: npt.NDArray[np.str_]) -> npt.NDArray[np.float64]:
    """How early each point is taken within its class: 0 for the first, below 1 for the last."""
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    ranks = np.empty(len(labels))
    for code, count in enumerate(counts):
        ranks[codes == code] = np.arange(count) / count
    return ranks
