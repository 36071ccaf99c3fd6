"""LinearProbe: a linear classifier on features, its penalty chosen without test data."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from featx._linalg import slices
from featx.data.datasets import fold_numbers, train_test_indices
from featx.evaluation.losses import (
    Binomial,
    Loss,
    Multinomial,
    SquaredHinge,
)
from featx.evaluation.protocols import DEFAULT_GRID
from featx.evaluation.ridge import RidgePath
from featx.evaluation.row_space import Floats, RowSpace
from featx.evaluation.solver import Solution, minimize

_Codes: TypeAlias = npt.NDArray[np.intp]
_EXACT_BYTES = 2**28
_ROUGH = 10
"""How much further from the minimum C is chosen: a thousandth of a logit turns no ranking."""


class LinearProbe(ClassifierMixin, BaseEstimator):
    """Linear classifier on features, with the strength of its penalty chosen on training data.

    Made for features that are far wider than the pictures are many: the rows are rotated once
    into at most ``n_samples`` uncorrelated coordinates, all strengths and folds are fitted there
    together, and the coefficients are mapped back. The result is that of scikit-learn's
    `LogisticRegression`, `LinearSVC` or `RidgeClassifier` on the full width, at its minimum.

    Parameters
    ----------
    classifier : {"logistic", "svm", "ridge"}, default="logistic"
        Multinomial logistic regression; linear support vector machine (squared hinge, one
        against the rest, its intercept penalised); ridge regression on classes as -1 and 1, the
        quick look, its strength chosen by exact leave-one-out (Golub, Heath, Wahba 1979).
    scale : {"standard", "l2", "none"}, default="standard"
        Zero mean and unit variance of each feature; unit length of each row; neither.
    C : float, optional
        Inverse strength of the penalty as in scikit-learn; of ridge ``1 / (2 alpha)``. By
        default chosen from `grid`; the best by `metric`, among equals the smallest.
    grid : sequence of float, default=(1e-5, 1e-4, ..., 1e3)
        Strengths to try. Where every class has a single row, nothing can be left out to choose
        by, and the middle one is taken.
    validation : float or int, default=0.2
        Share of the training rows of each class on which C is chosen, or a number of folds for
        cross-validation. Afterwards all training rows are fitted with it. Ridge needs none.
    metric : {"accuracy", "balanced_accuracy"}, default="accuracy"
    tol : float, default=1e-4
        The search ends when its next step would move no score of a sample by more.
    max_iter : int, default=1000
    random_state : int or None, default=0
        Of the inner split.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    C_ : float
    scores_ : ndarray of shape (n_folds, n_grid)
        Of each strength on the rows left out; of ridge one row, minus the squared error.
        Only where C was chosen.
    coef_ : ndarray of shape (n_classes, n_features), or (1, n_features) of two classes
        For the features as given; with ``l2`` for rows of unit length.
    intercept_ : ndarray of shape (n_classes,) or (1,)
    converged_ : bool
    n_iter_ : int
        Steps of the last fit.
    n_features_in_ : int

    Raises
    ------
    ValueError
        If there is only one class or features are not finite.

    Notes
    -----
    The scaler is learned on all training rows, also those on which C is chosen, as in a pipeline
    of a scaler and scikit-learn's `LogisticRegressionCV`. Test rows have no part in anything.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> probe = LinearProbe().fit(X[:900], y[:900])
    >>> probe.C_, round(probe.score(X[900:], y[900:]), 2)
    (1.0, 0.94)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "classifier": [StrOptions({"logistic", "svm", "ridge"})],
        "scale": [StrOptions({"standard", "l2", "none"})],
        "C": [Interval(Real, 0, None, closed="neither"), None],
        "grid": ["array-like"],
        "validation": [
            Interval(Real, 0, 1, closed="neither"),
            Interval(Integral, 2, None, closed="left"),
        ],
        "metric": [StrOptions({"accuracy", "balanced_accuracy"})],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        classifier: Literal["logistic", "svm", "ridge"] = "logistic",
        *,
        scale: Literal["standard", "l2", "none"] = "standard",
        C: float | None = None,
        grid: Sequence[float] = DEFAULT_GRID,
        validation: float | int = 0.2,
        metric: Literal["accuracy", "balanced_accuracy"] = "accuracy",
        tol: float = 1e-4,
        max_iter: int = 1000,
        random_state: int | None = 0,
    ) -> None:
        self.classifier = classifier
        self.scale = scale
        self.C = C
        self.grid = grid
        self.validation = validation
        self.metric = metric
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: Any, y: Any, *, left_out: Any = None) -> Self:
        """Choose C and fit.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Possibly memory-mapped; read a block of columns at a time.
        y : array of shape (n_samples,)
            Classes.
        left_out : array of bool, shape (n_samples,), optional
            Rows on which C is chosen, in place of a random part; fitted in the end like all.
        """
        self._validate_params()
        X, y = validate_data(self, X, y, dtype=[np.float32, np.float64])
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"LinearProbe needs at least 2 classes; got 1 class: {self.classes_[0]}."
            )
        space = RowSpace.fit(X, self.scale)
        if self.classifier == "ridge":
            weights = self._fit_ridge(space, codes)
        else:
            weights = self._fit_path(space, codes, left_out)
        coefficients = space.coefficients(X, weights[:-1])
        self.coef_ = np.ascontiguousarray(coefficients.T)
        self.intercept_ = weights[-1] - space.scaler.shift @ coefficients
        return self

    def decision_function(self, X: Any) -> Floats:
        """Score of each class, (n_samples, n_classes); of two that of the second, (n_samples,)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float32, np.float64])
        scores = _products(X, self.coef_, is_unit=self.scale == "l2") + self.intercept_
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Class of each row."""
        scores = self.decision_function(X)
        indices = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(1)
        found: npt.NDArray[Any] = self.classes_[indices]
        return found

    def predict_proba(self, X: Any) -> Floats:
        """Probability of each class: (n_samples, n_classes).

        Of a support vector machine and of ridge, whose scores are no probabilities, the softmax
        of the scores: it ranks, and is not calibrated.
        """
        scores = self.decision_function(X)
        if scores.ndim == 1:
            scores = np.stack([np.zeros_like(scores), scores], axis=1)
        shares: Floats = softmax(scores, axis=1)
        return shares

    def _fit_ridge(self, space: RowSpace, codes: _Codes) -> Floats:
        path = RidgePath(space.rows, codes, len(self.classes_))
        self.converged_, self.n_iter_ = True, 1
        if self.C is None:
            grid = self._checked_grid()
            self.scores_ = -path.errors(grid)[None]
            self.C_ = float(grid[self.scores_[0].argmax()])
        else:
            self.C_ = float(self.C)
        return path.weights(self.C_)

    def _fit_path(self, space: RowSpace, codes: _Codes, left_out: Any) -> Floats:
        loss = self._loss(codes)
        start = None
        if self.C is None:
            start = self._choose(space.rows, loss, codes, left_out)
        else:
            self.C_ = float(self.C)
        weights = np.ones((len(codes), 1))
        found = self._minimize(space.rows, loss, weights, self.C_, start)
        self.converged_, self.n_iter_ = bool(found.has_converged.all()), found.n_iter
        return found.weights[:, 0]

    def _choose(self, rows: Floats, loss: Loss, codes: _Codes, left_out: Any) -> Floats | None:
        """Set C to the best on the folds; return the mean of their weights there, a good start."""
        grid = self._checked_grid()
        if left_out is None:
            left_out = inner_folds(codes, self.validation, self.random_state)
        left_out = np.atleast_2d(np.asarray(left_out, bool))
        if not left_out.any():
            self.C_ = float(grid[len(grid) // 2])
            return None
        start, kept = None, []
        single = rows.astype(np.float32)
        scores = np.empty((len(left_out), len(grid)))
        for index, C in enumerate(grid):
            weights = (~left_out).T.astype(float)
            found = self._minimize(single, loss, weights, C, start, tol=_ROUGH * self.tol)
            start = found.weights
            kept.append(start.mean(1, keepdims=True))
            scores[:, index] = [
                self._rate(rows[mask], start[:, fold], codes[mask])
                for fold, mask in enumerate(left_out)
            ]
        self.scores_ = scores
        best = int(scores.mean(0).argmax())
        self.C_ = float(grid[best])
        return kept[best]

    def _rate(self, rows: Floats, weights: Floats, codes: _Codes) -> float:
        scores = rows @ weights[:-1] + weights[-1]
        found = (scores[:, 0] > 0).astype(int) if scores.shape[1] == 1 else scores.argmax(1)
        is_right = found == codes
        if self.metric == "accuracy":
            return float(is_right.mean())
        return float(np.mean([is_right[codes == code].mean() for code in np.unique(codes)]))

    def _minimize(
        self,
        rows: Any,
        loss: Loss,
        weights: Floats,
        C: float,
        start: Floats | None,
        tol: float | None = None,
    ) -> Solution:
        tol = tol or self.tol
        return minimize(rows, loss, weights, C, start=start, tol=tol, max_iter=self.max_iter)

    def _loss(self, codes: _Codes) -> Loss:
        n_classes = len(self.classes_)
        if self.classifier == "svm":
            return SquaredHinge(codes, n_classes)
        return Binomial(codes) if n_classes == 2 else Multinomial(codes, n_classes)

    def _checked_grid(self) -> Floats:
        grid = np.unique(np.asarray(self.grid, float))
        if not len(grid) or not (np.isfinite(grid).all() and grid[0] > 0):
            raise ValueError(f"grid must be of positive numbers; got {list(self.grid)}.")
        return grid


def _products(X: npt.NDArray[Any], coef: Floats, *, is_unit: bool) -> Floats:
    """Rows times coefficients, a few rows at a time, so that float64 copies stay small."""
    found = np.empty((len(X), len(coef)))
    n_rows = max(1, _EXACT_BYTES // (8 * max(1, X.shape[1])))
    for rows in slices(len(X), n_rows):
        part = np.asarray(X[rows], np.float64)
        if is_unit:
            lengths = np.linalg.norm(part, axis=1, keepdims=True)
            part = part / np.where(lengths > 0, lengths, 1.0)
        found[rows] = part @ coef.T
    return found


def inner_folds(
    codes: npt.NDArray[np.intp], validation: float | int, random_state: int | None
) -> npt.NDArray[np.bool_]:
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
