"""Inner splits of training rows, on which a strength of the penalty is chosen."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from featx.data.datasets import fold_numbers, train_test_indices

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
    if isinstance(validation, int):
        folds = fold_numbers(codes, validation, random_state=random_state)
        return np.array([folds == fold for fold in range(validation)])
    left_out = np.ones(len(codes), bool)
    left_out[train_test_indices(codes, train_size=1 - validation, random_state=random_state)[0]] = 0
    return left_out[None]
