"""Inner splits of training rows, on which a strength of the penalty is chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Masks = npt.NDArray[np.bool_]


def inner_folds(
    codes: npt.NDArray[np.intp], validation: float | int, random_state: int | None
) -> Masks:
    """Which rows each fold leaves out for validation, drawn within each class.

    Parameters
    ----------
    codes : ndarray of int, shape (n_samples,)
        Class of each row. A class with a single row is never left out.
    validation : float or int
        Share of each class that one fold leaves out, or the number of folds.
    random_state : int or None

    Returns
    -------
    ndarray of bool, shape (n_folds, n_samples)

    Examples
    --------
    >>> inner_folds(np.array([0, 0, 1, 1]), 2, 0).sum(0)
    array([1, 1, 1, 1])
    """
    rng = np.random.default_rng(random_state)
    if isinstance(validation, int):
        folds = deal(codes, validation, rng)
        return np.array([folds == fold for fold in range(validation)])
    left_out = np.zeros(len(codes), bool)
    for code in np.unique(codes):
        places = rng.permutation(np.flatnonzero(codes == code))
        if len(places) > 1:
            n_out = min(max(1, round(validation * len(places))), len(places) - 1)
            left_out[places[:n_out]] = True
    return left_out[None]


def deal(codes: npt.NDArray[Any], n_folds: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Fold of each row, -1 for the one row of a class: classes are dealt out evenly in turn."""
    folds = np.full(len(codes), -1)
    n_dealt = 0
    for code in np.unique(codes):
        places = rng.permutation(np.flatnonzero(codes == code))
        if len(places) > 1:
            folds[places] = (n_dealt + np.arange(len(places))) % n_folds
            n_dealt += len(places)
    return folds
