"""Ridge regression on classes, for every strength of the penalty at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from featx.data.groups import group_codes

Floats = npt.NDArray[np.float64]
_SMALLEST = 1e-12
"""Of one minus a leverage, below which a row decides its own score."""


class RidgePath:
    """Ridge regression on classes as -1 and 1, from rows with uncorrelated coordinates.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_axes)
    codes : ndarray of int, shape (n_samples,)
        Class of each row.
    n_classes : int
        Of two, one output serves both.
    sample_weight : ndarray of shape (n_samples,), optional
        Of each row's squared error.

    Notes
    -----
    With centred rows ``R`` and the singular value decomposition ``R = U S V'`` the fit is
    ``U diag(s^2 / (s^2 + alpha)) U' y``, and the error of a row left out is the residual divided
    by one minus its leverage [1]_, so that all strengths cost one decomposition. Weights are
    taken into rows and targets: both are centred by their weighted means and multiplied by the
    weights' square roots.

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
        self._middle = np.average(targets, axis=0, weights=weights)
        self._rows_middle = np.average(rows, axis=0, weights=weights)
        self._roots = np.sqrt(weights)[:, None]
        self._intercept = np.sqrt(weights / weights.sum())
        self._targets = self._roots * (targets - self._middle)
        left, values, right = svd(self._roots * (rows - self._rows_middle), full_matrices=False)
        kept = values > values[0] * 1e-10
        self._left, self._values, self._right = left[:, kept], values[kept], right[kept]
        self._shares = self._left.T @ self._targets  # (n_axes, n_outputs)

    def held_out_scores(self, C: float, groups: npt.ArrayLike | None = None) -> Floats:
        """Score of each row by the fit to all rows of other groups, exactly.

        Parameters
        ----------
        C : float
        groups : array of shape (n_samples,), optional
            Rows that are held out together; by default each by itself.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
        """
        shrink = self._values**2 / (self._values**2 + 1 / (2 * C))
        residual = self._targets - self._left @ (shrink[:, None] * self._shares)
        if groups is None:
            leverage = self._intercept**2 + (self._left**2) @ shrink
            residual /= np.maximum(1 - leverage, _SMALLEST)[:, None]
        else:
            codes = group_codes(groups)
            for code in range(codes.max() + 1):
                rows = np.flatnonzero(codes == code)
                left, intercept = self._left[rows], self._intercept[rows]
                own = np.outer(intercept, intercept) + (left * shrink) @ left.T
                rest = (1 + _SMALLEST) * np.eye(len(rows)) - own
                residual[rows] = np.linalg.solve(rest, residual[rows])
        scores: Floats = self._middle + (self._targets - residual) / self._roots
        return scores

    def weights(self, C: float) -> Floats:
        """Weights of the coordinates, the intercepts in the last row."""
        factors = self._values / (self._values**2 + 1 / (2 * C))
        weights = self._right.T @ (factors[:, None] * self._shares)
        return np.concatenate([weights, (self._middle - self._rows_middle @ weights)[None]])
