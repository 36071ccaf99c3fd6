"""CORAL: features of one domain moved to the mean and covariance of another, without labels."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from featx._linalg import (
    column_blocks,
    gram,
    principal_axes,
    row_blocks,
)

Matrix: TypeAlias = npt.NDArray[Any]
Floats: TypeAlias = npt.NDArray[np.float64]


class CORAL(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Features of a source domain with the mean and covariance of a target domain.

    Source features are whitened by their own covariance and colored by the target's [1]_.
    A classifier that is trained on them with the source's labels is then applied to target features
    of the same mean and covariance. The labels of neither domain are used.

    Parameters
    ----------
    regularization : float, default=1.0
        Added to the diagonal of both covariances, in squared units of the (scaled) features.
    scale : {"standard", "none"}, default="standard"
        Whether each feature is first divided by its standard deviation within its own domain, as
        in the paper, and scaled to the target's afterwards; otherwise the effect of
        `regularization` on a feature depends on its unit.
    new_rows : {"source", "target"}, default="source"
        Which rows `transform` gets: those of the source are aligned, those of the target are
        unchanged. Use ``"target"`` in a pipeline that is fitted to the source and predicts on the
        target; `fit_transform` aligns the source's rows in both cases.

    Attributes
    ----------
    source_, target_ : Spread
        Mean, standard deviation and principal axes of each domain.
    n_features_in_ : int

    Raises
    ------
    ValueError
        If a domain has fewer than 2 rows, or the two differ in their columns.

    Notes
    -----
    A regularized covariance of n rows differs from a multiple of the identity in at most n - 1
    directions. Both powers of it are applied along these: the cost is that of products of
    matrices of shape (n, n_features), and no array of shape (n_features, n_features) is allocated
    where there are fewer rows than features.

    Departs from [1]_ in that the source gets the mean and standard deviations of the target, where
    the paper takes features of both domains as already standardized, each by its own.

    References
    ----------
    .. [1] Sun, Feng and Saenko, "Return of Frustratingly Easy Domain Adaptation", AAAI (2016)
       2058-2065.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> rng = np.random.default_rng(0)
    >>> photos, classes = rng.normal(size=(60, 5)), np.arange(60) % 2
    >>> photos[:, 0] += 4 * classes
    >>> sketches = 3 * photos + 20
    >>> moved = CORAL(regularization=1e-6).fit(photos, target=sketches).transform(photos)
    >>> np.allclose(np.cov(moved.T), np.cov(sketches.T))
    True
    >>> plain = LogisticRegression().fit(photos, classes)
    >>> aligned = make_pipeline(CORAL(new_rows="target"), LogisticRegression())
    >>> aligned = aligned.fit(photos, classes, coral__target=sketches)
    >>> plain.score(sketches, classes), aligned.score(sketches, classes) > 0.95
    (0.5, True)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "regularization": [Interval(Real, 0, None, closed="neither")],
        "scale": [StrOptions({"standard", "none"})],
        "new_rows": [StrOptions({"source", "target"})],
    }

    def __init__(
        self,
        regularization: float = 1.0,
        *,
        scale: Literal["standard", "none"] = "standard",
        new_rows: Literal["source", "target"] = "source",
    ) -> None:
        self.regularization = regularization
        self.scale = scale
        self.new_rows = new_rows

    def fit(self, X: Any, y: Any = None, *, target: Any = None) -> Self:
        """Learn the mean and covariance of both domains.

        Parameters
        ----------
        X : array of shape (n_source, n_features)
            Rows of the source.
        y : ignored
            Present for API consistency by convention.
        target : array of shape (n_target, n_features), optional
            Rows of the target. Without them the source is its own target and nothing changes.
        """
        self._validate_params()
        X = self._checked(X, reset=True)
        is_scaled = self.scale == "standard"
        self.source_ = self.target_ = _Spread.fit(X, is_scaled=is_scaled)
        if target is not None:
            self.target_ = _Spread.fit(self._checked(target, reset=False), is_scaled=is_scaled)
        return self

    def transform(self, X: Any) -> Matrix:
        """Align rows of the source; with ``new_rows="target"``, return the rows unchanged.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        if self.new_rows == "target":
            return self._checked(X, reset=False)
        return self.align(X)

    def fit_transform(self, X: Any, y: Any = None, *, target: Any = None) -> Matrix:
        """Fit, and align the rows of the source.

        Parameters
        ----------
        X, y, target
            As in `fit`.

        Returns
        -------
        ndarray of shape (n_source, n_features)
        """
        return self.fit(X, y, target=target).align(X)

    def align(self, X: Any) -> Matrix:
        """Align rows of the source with the target, whatever `new_rows` is.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        X = self._checked(X, reset=False)
        moved = np.empty_like(X)
        for rows in row_blocks(X):
            standard = self.source_.standardize(X[rows])
            white = self.source_.stretch(standard, -0.5, self.regularization)
            colored = self.target_.stretch(white, 0.5, self.regularization)
            moved[rows] = self.target_.restore(colored)
        return moved

    def _checked(self, X: Any, *, reset: bool) -> Matrix:
        kinds = [np.float64, np.float32]
        n_least = 2 if reset else 1
        return validate_data(self, X, reset=reset, dtype=kinds, ensure_min_samples=n_least)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


@dataclass(frozen=True, eq=False)
class _Spread:
    """Mean, standard deviation and principal axes of the rows of one domain.

    Attributes
    ----------
    mean, deviation : ndarray of shape (n_features,), float64
        The deviation is 0 where a feature is constant, and 1 everywhere where features are not
        scaled.
    axes : ndarray of shape (n_axes, n_features)
        Orthonormal, in the scaled features; at most as many as rows less one.
    variances : ndarray of shape (n_axes,), float64
        Along the axes, the largest first.
    """

    mean: Floats
    deviation: Floats
    axes: Matrix
    variances: Floats

    @classmethod
    def fit(cls, X: Matrix, *, is_scaled: bool) -> _Spread:
        """Learn from rows (n, n_features), a block of columns at a time."""
        if len(X) < 2:
            raise ValueError(f"CORAL needs at least 2 rows of each domain; got {len(X)}.")
        blocks = list(column_blocks(X))
        moments = [_moments(X[:, columns]) for columns in blocks]
        mean = np.concatenate([part[0] for part in moments])
        deviation = np.concatenate([part[1] for part in moments])
        if not is_scaled:
            deviation = np.ones_like(mean)
        empty = cls(mean, deviation, np.empty((0, X.shape[1]), X.dtype), np.empty(0))
        if len(X) > X.shape[1]:
            rows = empty.standardize(X.astype(np.float64))
            variances, vectors = principal_axes(rows.T @ rows)
            return empty._with(vectors.T.astype(X.dtype), variances, len(X))
        parts = (_columns(empty, X, columns) for columns in blocks)
        variances, vectors = principal_axes(gram(parts, len(X)))
        weights = (vectors / np.sqrt(variances)).T  # (n_axes, n)
        axes = np.empty((len(weights), X.shape[1]), X.dtype)
        for columns in blocks:
            axes[:, columns] = weights @ _columns(empty, X, columns)
        return empty._with(axes, variances, len(X))

    def standardize(self, X: Matrix) -> Matrix:
        """Rows around their mean, in standard deviations; constant features are only centered."""
        scale = np.where(self.deviation > 0, self.deviation, 1.0)
        return ((X - self.mean) / scale).astype(X.dtype)

    def restore(self, X: Matrix) -> Matrix:
        """The reverse; a constant feature is brought back to its one value."""
        return (X * self.deviation + self.mean).astype(X.dtype)

    def stretch(self, X: Matrix, exponent: float, regularization: float) -> Matrix:
        """Standardised rows times a power of the regularized covariance, up to a factor.

        The factor is that of the directions without variance: these stay as they are. It is
        the same for all domains, so that it cancels between opposite powers.
        """
        gains = (1 + self.variances / regularization) ** exponent - 1
        along = X @ self.axes.T  # (n, n_axes)
        return X + (along * gains).astype(X.dtype) @ self.axes

    def _with(self, axes: Matrix, sums: Floats, n_rows: int) -> _Spread:
        return _Spread(self.mean, self.deviation, axes, sums / (n_rows - 1))


def _moments(X: Matrix) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each column; a deviation that is only rounding is 0."""
    block = np.asarray(X, np.float64)
    mean, deviation = block.mean(0), block.std(0)
    is_rounding = deviation <= 10 * np.finfo(X.dtype).eps * np.abs(mean)
    return mean, np.where(is_rounding, 0.0, deviation)


def _columns(spread: _Spread, X: Matrix, columns: slice) -> Floats:
    """Some columns, standardized, in float64."""
    part = _Spread(spread.mean[columns], spread.deviation[columns], X[:0, columns], np.empty(0))
    return part.standardize(np.asarray(X[:, columns], np.float64))
