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
from featx.evaluation.losses import (
    Binomial,
    Loss,
    Multinomial,
    SquaredHinge,
)
from featx.evaluation.protocols import DEFAULT_GRID
from featx.evaluation.regularization import StrengthSelection, can_be_held_out, inner_folds
from featx.evaluation.ridge import RidgePath
from featx.evaluation.row_space import Floats, RowSpace
from featx.evaluation.solver import Solution, minimize
from featx.process.phases import phase

_Codes: TypeAlias = npt.NDArray[np.intp]
_EXACT_BYTES = 2**28
_SEARCH_TOL_FACTOR = 10
"""Factor of the tolerance while C is chosen: 0.001 of a logit hardly changes the scores."""


class LinearProbe(ClassifierMixin, BaseEstimator):
    """Linear classifier whose regularization strength is chosen on training data.

    Made for many more features than images: rows are rotated once into at most ``n_samples``
    uncorrelated coordinates, all values of C and all folds are fitted there together, and the
    coefficients are mapped back. The result is the minimum of the loss of scikit-learn's
    `LogisticRegression`, `LinearSVC` or `RidgeClassifier` on all features.

    C is chosen by the log loss of held-out training rows, with a prior towards 1 (see Notes).

    Parameters
    ----------
    classifier : {"logistic", "svm", "ridge"}, default="logistic"
        Multinomial logistic regression; linear support vector machine (squared hinge loss,
        one-vs-rest, penalized intercept); or ridge regression on classes coded as -1 and 1, the
        fastest, with exact leave-one-out scores (Golub, Heath, Wahba 1979).
    scale : {"standard", "l2", "none"}, default="standard"
        Zero mean and unit variance of each feature; unit length of each row; neither.
    C : float, optional
        Inverse regularization strength as in scikit-learn; for ridge ``1 / (2 alpha)``. By
        default chosen from `grid` by `metric`.
    grid : sequence of float, default=(1e-5, 1e-4, ..., 1e3)
        Values of C to try. If every class has a single row, nothing can be held out, and the value
        closest to 1 is used.
    validation : "auto", float or int, default="auto"
        Number of folds for cross-validation within the training rows, or fraction of the rows
        of each class to hold out once. ``auto``: five folds, repeated three times with fewer than
        200 rows; three folds with 1,000 rows or more. Finally all training rows are fitted with
        the chosen C. Not used by ridge.
    metric : {"log_loss", "accuracy", "balanced_accuracy"}, default="log_loss"
        Criterion for C. If accuracies are tied, the value closest to 1 wins.
    class_weight : {"balanced"}, dict or None, default=None
        Weight of each class's rows in the loss, as in scikit-learn; ``balanced`` gives every class
        the same weight, however many rows it has.
    tol : float, default=1e-4
        Stop when the next step would change no sample's score by more than this.
    max_iter : int, default=1000
    random_state : int or None, default=0
        Seed of the inner folds.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    C_ : float
    scores_ : ndarray of shape (n_folds, n_grid)
        Score of each value of C on held-out rows, higher is better: negative log loss, or the
        accuracy. NaN for values that were not tried; one row for ridge. Only set if C was chosen.
    coef_ : ndarray of shape (n_classes, n_features), or (1, n_features) for two classes
        For unscaled features; with ``l2`` for rows of unit length.
    intercept_ : ndarray of shape (n_classes,) or (1,)
    converged_ : bool
    n_iter_ : int
        Iterations of the final fit.
    n_features_in_ : int

    Raises
    ------
    ValueError
        If there is only one class or features are not finite.

    Notes
    -----
    Each value of C is rated by the total log loss of the held-out rows, after one temperature has
    been fitted to all their scores, plus the prior ``(log10(C) / 2) ** 2 / 2``, whose influence
    falls with the number of rows. Accuracy is a poor criterion: with few rows it is tied over half
    of the grid, and with the smallest values, where intercepts outweigh features, a class with one
    training image less than the others is never predicted. After two values above 1 in a row that
    were worse, larger ones are not tried. If features are not standardized, "1" means the
    equivalent strength: ``n_features`` divided by the total variance of the rows.
    ``scripts/bench/bench_choice.py`` compares this rule with others.

    The scaler is fitted to all training rows, including those held out to choose C, as in a
    pipeline of a scaler and scikit-learn's `LogisticRegressionCV`. Test rows are never used.

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
            StrOptions({"auto"}),
            Interval(Real, 0, 1, closed="neither"),
            Interval(Integral, 2, None, closed="left"),
        ],
        "metric": [StrOptions({"log_loss", "accuracy", "balanced_accuracy"})],
        "class_weight": [StrOptions({"balanced"}), dict, None],
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
        validation: Literal["auto"] | float | int = "auto",
        metric: Literal["log_loss", "accuracy", "balanced_accuracy"] = "log_loss",
        class_weight: Literal["balanced"] | dict[Any, float] | None = None,
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
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    @phase("train classifier")
    def fit(self, X: Any, y: Any, *, held_out: Any = None, groups: Any = None) -> Self:
        """Choose C and fit.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            May be memory-mapped; read in blocks of columns.
        y : array of shape (n_samples,)
            Classes.
        held_out : array of bool, shape (n_samples,), optional
            Rows on which C is chosen, instead of random folds; included in the final fit.
        groups : array of str, shape (n_samples,), optional
            Rows of one group, such as a patient's, are held out together when C is chosen.
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
            weights = self._fit_ridge(space, codes, groups)
        else:
            weights = self._fit_path(space, codes, held_out, groups)
        coefficients = space.coefficients(X, weights[:-1])
        self.coef_ = np.ascontiguousarray(coefficients.T)
        self.intercept_ = weights[-1] - space.scaler.shift @ coefficients
        return self

    def decision_function(self, X: Any) -> Floats:
        """Score of each class: (n_samples, n_classes), or (n_samples,) for two classes."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float32, np.float64])
        scores = _products(X, self.coef_, is_unit=self.scale == "l2") + self.intercept_
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Class of each row."""
        scores = self.decision_function(X)
        indices = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(1)
        classes: npt.NDArray[Any] = self.classes_[indices]
        return classes

    def predict_proba(self, X: Any) -> Floats:
        """Probability of each class: (n_samples, n_classes).

        For the support vector machine and ridge it is the softmax of the scores, which is not
        calibrated.
        """
        scores = self.decision_function(X)
        if scores.ndim == 1:
            scores = np.stack([np.zeros_like(scores), scores], axis=1)
        probabilities: Floats = softmax(scores, axis=1)
        return probabilities

    def _fit_ridge(self, space: RowSpace, codes: _Codes, groups: Any) -> Floats:
        weights = self._sample_weights(codes, np.ones((len(codes), 1)))[:, 0]
        path = RidgePath(space.rows, codes, len(self.classes_), weights)
        self.converged_, self.n_iter_ = True, 1
        if self.C is None:
            held_out = can_be_held_out(codes, groups)
            selection = self._selection(space, codes, held_out[None])
            for index, C in enumerate(selection.grid if held_out.any() else ()):
                selection.add(index, [path.held_out_scores(C, groups)[held_out]])
            self._set_strength(selection)
        else:
            self.C_ = float(self.C)
        return path.weights(self.C_)

    def _fit_path(self, space: RowSpace, codes: _Codes, held_out: Any, groups: Any) -> Floats:
        loss = self._loss(codes)
        start = None
        if self.C is None:
            if held_out is None:
                held_out = inner_folds(codes, self.validation, self.random_state, groups)
            start = self._choose(space, loss, codes, held_out)
        else:
            self.C_ = float(self.C)
        weights = self._sample_weights(codes, np.ones((len(codes), 1)))
        solution = self._minimize(space.rows, loss, weights, self.C_, start)
        self.converged_, self.n_iter_ = bool(solution.has_converged.all()), solution.n_iter
        return solution.weights[:, 0]

    def _choose(self, space: RowSpace, loss: Loss, codes: _Codes, held_out: Any) -> Floats | None:
        """Set C to the best on the folds; return the mean of their weights there, as a start."""
        held_out = np.atleast_2d(np.asarray(held_out, bool))
        selection = self._selection(space, codes, held_out)
        if not held_out.any():
            self.C_ = float(selection.grid[selection.best])
            return None
        single = space.rows.astype(np.float32)
        weights = self._sample_weights(codes, (~held_out).T)
        start, starts = None, []
        for index, C in enumerate(selection.grid):
            solution = self._minimize(
                single, loss, weights, C, start, tol=_SEARCH_TOL_FACTOR * self.tol
            )
            start = solution.weights
            starts.append(start.mean(1, keepdims=True))
            scores = [
                space.rows[mask] @ start[:-1, fold] + start[-1, fold]
                for fold, mask in enumerate(held_out)
            ]
            selection.add(index, scores)
            if selection.is_settled(index):
                break
        self._set_strength(selection)
        return starts[selection.best]

    def _selection(self, space: RowSpace, codes: _Codes, held_out: Any) -> StrengthSelection:
        center = 1.0
        total_variance = space.rows.var(0).sum()
        if self.scale != "standard" and total_variance > 0:
            center = self.n_features_in_ / total_variance
        weights = self._sample_weights(codes, np.ones((len(codes), 1)))[:, 0]
        return StrengthSelection(
            self.metric,
            [codes[mask] for mask in held_out],
            self._checked_grid(),
            n_samples=len(codes),
            center=center,
            sample_weight=[weights[mask] for mask in held_out],
        )

    def _set_strength(self, selection: StrengthSelection) -> None:
        self.scores_ = selection.scores
        self.C_ = float(selection.grid[selection.best])

    def _sample_weights(self, codes: _Codes, is_train: npt.NDArray[Any]) -> Floats:
        """Weight of each row in each training set: (n_samples, n_problems)."""
        weights: Floats = is_train.astype(float)
        if self.class_weight is None:
            return weights
        if isinstance(self.class_weight, dict):
            by_class = np.array([self.class_weight.get(name, 1.0) for name in self.classes_])
            return weights * by_class[codes, None]
        counts = np.stack([np.bincount(codes, column) for column in weights.T], axis=1)
        n_per_class = weights.sum(0) / (counts > 0).sum(0)
        weights *= (n_per_class / np.maximum(counts, 1))[codes]
        return weights

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
            raise ValueError(f"grid: expected positive numbers, got {list(self.grid)}.")
        return grid


def _products(X: npt.NDArray[Any], coef: Floats, *, is_unit: bool) -> Floats:
    """Rows times coefficients, in blocks of rows, so that float64 copies stay small."""
    scores = np.empty((len(X), len(coef)))
    n_rows = max(1, _EXACT_BYTES // (8 * max(1, X.shape[1])))
    for rows in slices(len(X), n_rows):
        part = np.asarray(X[rows], np.float64)
        if is_unit:
            norms = np.linalg.norm(part, axis=1, keepdims=True)
            part = part / np.where(norms > 0, norms, 1.0)
        scores[rows] = part @ coef.T
    return scores
