"""Ridge regression on classes, for all strengths of the penalty at once.

Why not scikit-learn's `RidgeClassifierCV`: its exact leave-one-out scores leave out single rows,
not the groups of rows that belong together.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from featx.data.groups import group_codes

Floats = npt.NDArray[np.float64]
_MIN_COMPLEMENT = 1e-12
"""Lower bound of one minus a leverage: at zero a row determines its own score."""


class RidgePath:
    """Ridge regression on classes coded as -1 and 1, for any strength of the penalty.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_axes)
    codes : ndarray of int, shape (n_samples,)
        Class of each row.
    n_classes : int
        With two, there is one output, for the second class.
    sample_weight : ndarray of shape (n_samples,), optional
        Weight of each row's squared error.

    Notes
    -----
    With centered rows ``R`` and the singular value decomposition ``R = U S V'`` the fit is
    ``U diag(s^2 / (s^2 + alpha)) U' y``, and the error of a held-out row is its residual divided
    by one minus its leverage [1]_, so that all strengths need only one decomposition. With sample
    weights, rows and targets are centered by their weighted means and multiplied by the square
    roots of the weights.

    References
    ----------
    .. [1] Golub, Heath and Wahba, "Generalized cross-validation as a method for choosing a good
       ridge parameter", Technometrics 21 (1979) 215-223.
    """

    def __init__(
        self,
        rows: Floats,
        codes: npt.NDArray[np.intp],
        n_classes: int,
        sample_weight: Floats | None = None,
    ) -> None:
        from scipy.linalg import svd

        weights = np.ones(len(rows)) if sample_weight is None else sample_weight
        targets = 2 * np.eye(n_classes)[codes] - 1
        targets = targets if n_classes > 2 else targets[:, 1:]
        self._target_mean = np.average(targets, axis=0, weights=weights)
        self._row_mean = np.average(rows, axis=0, weights=weights)
        self._roots = np.sqrt(weights)[:, None]
        self._intercept = np.sqrt(weights / weights.sum())
        self._targets = self._roots * (targets - self._target_mean)
        # Weighted least squares: scale centered rows and targets by the roots of the weights.
        left, values, right = svd(self._roots * (rows - self._row_mean), full_matrices=False)
        is_significant = values > values[0] * 1e-10
        self._left, self._right = left[:, is_significant], right[is_significant]
        self._values = values[is_significant]
        self._projections = self._left.T @ self._targets  # (n_axes, n_outputs)

    def held_out_scores(self, C: float, groups: npt.ArrayLike | None = None) -> Floats:
        """Score of each row by the exact fit to the rows of all other groups.

        Parameters
        ----------
        C : float
        groups : array of shape (n_samples,), optional
            Rows that are held out together; by default each row alone.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
        """
        shrink = self._values**2 / (self._values**2 + 1 / (2 * C))
        residual = self._targets - self._left @ (shrink[:, None] * self._projections)
        if groups is None:
            # Leave one out: the residual divided by one minus the leverage.
            leverage = self._intercept**2 + (self._left**2) @ shrink
            residual /= np.maximum(1 - leverage, _MIN_COMPLEMENT)[:, None]
        else:
            codes = group_codes(groups)
            for code in range(codes.max() + 1):
                # Leave a group out: the same with its block of the hat matrix.
                rows = np.flatnonzero(codes == code)
                left, intercept = self._left[rows], self._intercept[rows]
                hat = np.outer(intercept, intercept) + (left * shrink) @ left.T
                complement = (1 + _MIN_COMPLEMENT) * np.eye(len(rows)) - hat
                residual[rows] = np.linalg.solve(complement, residual[rows])
        scores: Floats = self._target_mean + (self._targets - residual) / self._roots
        return scores

    def weights(self, C: float) -> Floats:
        """Weights of the coordinates, the intercepts in the last row."""
        factors = self._values / (self._values**2 + 1 / (2 * C))
        weights = self._right.T @ (factors[:, None] * self._projections)
        return np.concatenate([weights, (self._target_mean - self._row_mean @ weights)[None]])
