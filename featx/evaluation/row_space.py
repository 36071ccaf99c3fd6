"""Rows of wide features turned into as few coordinates as there are rows, exactly.

A linear model with a quadratic penalty has its weights in the span of the training rows. In an
orthonormal basis of that span it has the same penalty, the same predictions and at most
``n_samples`` coordinates; in the basis of the principal axes the coordinates are uncorrelated,
too, which is what an optimiser wants.
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
"""More coordinates than these are not rotated: the rotation would cost more than it saves."""
_SMALL = 1000
_FEWER = "Ask for fewer features (--pooling gap) or fewer images (--max-images)"


@dataclass(frozen=True)
class Scaler:
    """How features are brought to one scale before a linear model sees them.

    Attributes
    ----------
    kind : {"standard", "l2", "none"}
    shift, factor : ndarray of shape (n_features,)
        ``(x - shift) * factor`` is what the model sees; of ``l2``, after division of each row
        by its length.
    """

    kind: Scale
    shift: Floats
    factor: Floats

    @classmethod
    def fit(cls, X: Matrix, kind: Scale) -> Scaler:
        """Learn mean and deviation of each column, in float64, a block of columns at a time."""
        n_features = X.shape[1]
        shift, factor = np.zeros(n_features), np.ones(n_features)
        if kind != "standard":
            return cls(kind, shift, factor)
        for columns in _column_blocks(X):
            block = np.asarray(X[:, columns], np.float64)
            shift[columns] = block.mean(0)
            variance, eps = block.var(0), len(X) * np.finfo(np.float64).eps
            # As in scikit-learn: a constant column, rounding aside, is left as it is.
            is_constant = variance <= eps * variance + (eps * shift[columns]) ** 2
            factor[columns] = 1 / np.sqrt(np.where(is_constant, 1.0, variance))
        return cls(kind, shift, factor)

    def lengths(self, X: Matrix) -> Floats:
        """What each row is divided by first: (n, 1)."""
        if self.kind != "l2":
            return np.ones((len(X), 1))
        squares = np.zeros(len(X))
        for columns in _column_blocks(X):
            block = np.asarray(X[:, columns], np.float64)
            squares += np.einsum("ij,ij->i", block, block)
        lengths = np.sqrt(squares)[:, None]
        return np.where(lengths > 0, lengths, 1.0)

    def block(self, X: Matrix, columns: slice, lengths: Floats) -> Floats:
        """Some columns as the model sees them, in float64."""
        block = np.array(X[:, columns], np.float64)
        block /= lengths
        block -= self.shift[columns]
        block *= self.factor[columns]
        return block


def estimate_bytes(n_samples: int, n_features: int) -> int:
    """Memory that `RowSpace.fit` takes at its peak, beside the features themselves.

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
    With more features than rows the axes come from the Gram matrix ``Z @ Z.T``, with fewer from
    ``Z.T @ Z``; either is summed up over blocks, so that features that are memory-mapped never
    have to fit into memory. Beyond `_MAX_RANK` rows and features nothing is rotated.
    """

    rows: Floats
    scaler: Scaler
    _basis: Floats | None
    _is_dual: bool

    @classmethod
    def fit(cls, X: Matrix, scale: Scale = "standard") -> RowSpace:
        """Scale the rows and find their principal axes.

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
            rows = scaler.block(X, slice(None), scaler.lengths(X))
            return cls(rows, scaler, None, False)
        # Eigenvectors of the smaller of the two: the n x n Gram matrix, or the d x d one.
        if X.shape[1] > X.shape[0]:
            return cls._of_gram(X, scaler)
        rows = scaler.block(X, slice(None), scaler.lengths(X))
        _, basis = _principal(rows.T @ rows)
        return cls(rows @ basis, scaler, basis, False)

    @classmethod
    def _of_gram(cls, X: Matrix, scaler: Scaler) -> RowSpace:
        row_lengths = scaler.lengths(X)
        blocks = (scaler.block(X, columns, row_lengths) for columns in _column_blocks(X))
        # Z Z^T = U S^2 U^T: coordinates are U S, and the basis Z^T U / S is never formed.
        variances, vectors = _principal(gram(blocks, len(X)))
        lengths = np.sqrt(variances)
        return cls(vectors * lengths, scaler, vectors / lengths, True)

    def coefficients(self, X: Matrix, weights: Floats) -> Floats:
        """Weights of the features from weights of the coordinates.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            The very rows that the space was fitted on.
        weights : array of shape (n_axes, n_outputs)

        Returns
        -------
        ndarray of shape (n_features, n_outputs), float64
            For features as given (after the division by their length, with ``l2``).
        """
        if self._basis is None:
            found = weights
        elif not self._is_dual:
            found = self._basis @ weights
        else:
            # The basis is Z^T (U / S): the weights are Z^T times these, block by block.
            shares = self._basis @ weights  # (n_samples, n_outputs)
            lengths = self.scaler.lengths(X)
            found = np.concatenate(
                [self.scaler.block(X, columns, lengths).T @ shares for columns in _column_blocks(X)]
            )
        # Back to the units of the features as they came.
        return found * self.scaler.factor[:, None]


def _principal(scatter: Floats) -> tuple[Floats, Floats]:
    # Threads wait for each other longer than such a small matrix takes, above all on busy cores.
    variances, axes = principal_axes(scatter, n_threads=1 if len(scatter) < _SMALL else None)
    return variances, np.ascontiguousarray(axes)


def _column_blocks(X: Matrix) -> Iterator[slice]:
    """Two chunks each: with other blocks the sums, and the weights with them, round otherwise."""
    return column_blocks(X, n_chunks=2)
