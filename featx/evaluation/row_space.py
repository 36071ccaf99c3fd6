"""Exact coordinates of wide features: at most as many per row as there are rows.

A linear model with a quadratic penalty has its weights in the span of the training rows. In an
orthonormal basis of that span it has the same penalty, the same predictions and at most
``n_samples`` coordinates. In the basis of the principal axes the coordinates are also
uncorrelated, which makes optimization converge faster.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from featx._linalg import column_blocks, gram, principal_axes
from featx.process.memory import require_memory

Floats: TypeAlias = npt.NDArray[np.float64]
Matrix: TypeAlias = npt.NDArray[Any]
Scale: TypeAlias = Literal["standard", "l2", "none"]

_MAX_RANK = 12_000
"""Above this rank rows are not rotated: the rotation would cost more than it saves."""
_SMALL = 1000
_FEWER = "Ask for fewer features (--pooling gap) or fewer images (--max-images)"


@dataclass(frozen=True)
class Scaler:
    """Scaling of features, fitted to training rows.

    Attributes
    ----------
    kind : {"standard", "l2", "none"}
    shift, factor : ndarray of shape (n_features,)
        Scaled features are ``(x - shift) * factor``; for ``l2`` each row is divided by its norm
        first.
    """

    kind: Scale
    shift: Floats
    factor: Floats

    @classmethod
    def fit(cls, X: Matrix, kind: Scale) -> Scaler:
        """Scaler with the mean and standard deviation of each column, computed in float64."""
        n_features = X.shape[1]
        shift, factor = np.zeros(n_features), np.ones(n_features)
        if kind != "standard":
            return cls(kind, shift, factor)
        for columns in _column_blocks(X):
            block = np.asarray(X[:, columns], np.float64)
            shift[columns] = block.mean(0)
            variance, eps = block.var(0), len(X) * np.finfo(np.float64).eps
            # As in scikit-learn: a column that is constant up to rounding is not divided.
            is_constant = variance <= eps * variance + (eps * shift[columns]) ** 2
            factor[columns] = 1 / np.sqrt(np.where(is_constant, 1.0, variance))
        return cls(kind, shift, factor)

    def norms(self, X: Matrix) -> Floats:
        """Norm of each row for ``l2``, otherwise 1: (n_samples, 1)."""
        if self.kind != "l2":
            return np.ones((len(X), 1))
        squares = np.zeros(len(X))
        for columns in _column_blocks(X):
            block = np.asarray(X[:, columns], np.float64)
            squares += np.einsum("ij,ij->i", block, block)
        norms = np.sqrt(squares)[:, None]
        return np.where(norms > 0, norms, 1.0)

    def block(self, X: Matrix, columns: slice, norms: Floats) -> Floats:
        """Some columns, scaled, in float64."""
        block = np.array(X[:, columns], np.float64)
        block /= norms
        block -= self.shift[columns]
        block *= self.factor[columns]
        return block


def estimate_bytes(n_samples: int, n_features: int) -> int:
    """Peak memory of `RowSpace.fit` in bytes, apart from the features themselves.

    Examples
    --------
    >>> estimate_bytes(1000, 279_936) == estimate_bytes(1000, 4096)  # By the Gram matrix.
    True
    """
    rows = 8 * n_samples * n_features
    if min(n_samples, n_features) > _MAX_RANK:
        return 2 * rows
    side = 8 * min(n_samples, n_features) ** 2
    return 4 * side if n_features > n_samples else 2 * rows + 3 * side


@dataclass(frozen=True)
class RowSpace:
    """Training rows in the coordinates of their principal axes.

    Attributes
    ----------
    rows : ndarray of shape (n_samples, n_axes), float64
        Uncorrelated columns, the one of largest variance first.
    scaler : Scaler

    Notes
    -----
    With more features than rows the axes are eigenvectors of the Gram matrix ``Z @ Z.T``, summed
    over blocks of columns, so that memory-mapped features never have to fit into memory; with
    fewer, of ``Z.T @ Z``. With more than `_MAX_RANK` rows and features nothing is rotated.
    """

    rows: Floats
    scaler: Scaler
    _basis: Floats | None
    _is_dual: bool

    @classmethod
    def fit(cls, X: Matrix, scale: Scale = "standard") -> RowSpace:
        """Scale the rows and rotate them to their principal axes.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        scale : {"standard", "l2", "none"}
        """
        n_samples, n_features = X.shape
        require_memory(
            estimate_bytes(n_samples, n_features),
            f"A classifier of {n_samples:,} images by {n_features:,} features",
            _FEWER,
        )
        scaler = Scaler.fit(X, scale)
        if min(X.shape) > _MAX_RANK:
            rows = scaler.block(X, slice(None), scaler.norms(X))
            return cls(rows, scaler, None, False)
        # Eigenvectors of the smaller of the two: the n x n Gram matrix, or the d x d one.
        if X.shape[1] > X.shape[0]:
            return cls._of_gram(X, scaler)
        rows = scaler.block(X, slice(None), scaler.norms(X))
        _, basis = _principal(rows.T @ rows)
        return cls(rows @ basis, scaler, basis, False)

    @classmethod
    def _of_gram(cls, X: Matrix, scaler: Scaler) -> RowSpace:
        norms = scaler.norms(X)
        blocks = (scaler.block(X, columns, norms) for columns in _column_blocks(X))
        # Z Z^T = U S^2 U^T: the coordinates are U S, and the basis Z^T U / S is never formed.
        variances, vectors = _principal(gram(blocks, len(X)))
        singular_values = np.sqrt(variances)
        return cls(vectors * singular_values, scaler, vectors / singular_values, True)

    def coefficients(self, X: Matrix, weights: Floats) -> Floats:
        """Coefficients of the features from weights of the coordinates.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            The rows to which the space was fitted.
        weights : array of shape (n_axes, n_outputs)

        Returns
        -------
        ndarray of shape (n_features, n_outputs), float64
            For unscaled features; with ``l2`` for rows of unit length.
        """
        if self._basis is None:
            coefficients = weights
        elif not self._is_dual:
            coefficients = self._basis @ weights
        else:
            # The basis is Z^T (U / S): multiply by Z^T last, block by block.
            duals = self._basis @ weights  # (n_samples, n_outputs)
            norms = self.scaler.norms(X)
            coefficients = np.concatenate(
                [self.scaler.block(X, columns, norms).T @ duals for columns in _column_blocks(X)]
            )
        # From scaled features to unscaled ones.
        return coefficients * self.scaler.factor[:, None]


def _principal(scatter: Floats) -> tuple[Floats, Floats]:
    # For small matrices threads cost more than they save, above all on busy cores.
    variances, axes = principal_axes(scatter, n_threads=1 if len(scatter) < _SMALL else None)
    return variances, np.ascontiguousarray(axes)


def _column_blocks(X: Matrix) -> Iterator[slice]:
    """Blocks of two chunks; other sizes would change the rounding of sums, and so the weights."""
    return column_blocks(X, n_chunks=2)
