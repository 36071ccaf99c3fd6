"""Classifiers without a strength to choose: nearest neighbors, nearest class mean."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

Floats = npt.NDArray[np.float64]


class NeighborProbe(ClassifierMixin, BaseEstimator):
    """Vote of the nearest training rows by cosine, or of all where there are fewer.

    Parameters
    ----------
    n_neighbors : int, default=10

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)

    Examples
    --------
    >>> NeighborProbe(1).fit([[0, 1], [1, 0]], ["a", "b"]).predict([[0.1, 3]])
    array(['a'], dtype='<U1')
    """

    def __init__(self, n_neighbors: int = 10) -> None:
        self.n_neighbors = n_neighbors

    def fit(self, X: Any, y: Any) -> Self:
        """Keep the rows."""
        X, y = validate_data(self, X, y)
        nearest = KNeighborsClassifier(min(self.n_neighbors, len(X)), metric="cosine")
        self.nearest_ = nearest.fit(X, y)
        self.classes_ = nearest.classes_
        return self

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Class of each row."""
        indices = self.predict_proba(X).argmax(1)
        predicted: npt.NDArray[Any] = self.classes_[indices]
        return predicted

    def predict_proba(self, X: Any) -> Floats:
        """Share of the votes for each class: (n_samples, n_classes)."""
        check_is_fitted(self)
        probabilities: Floats = self.nearest_.predict_proba(validate_data(self, X, reset=False))
        return probabilities


class MeanProbe(ClassifierMixin, BaseEstimator):
    """Class whose mean is nearest.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    means_ : ndarray of shape (n_classes, n_features)
    variance_ : float
        Mean square of the distances of the training rows to the mean of their class.

    Notes
    -----
    Probabilities are those of classes that are round, alike and equally frequent.

    Examples
    --------
    >>> MeanProbe().fit([[0.0], [2.0], [9.0]], ["a", "a", "b"]).predict([[4.0]])
    array(['a'], dtype='<U1')
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Learn the mean of each class."""
        X, y = validate_data(self, X, y)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.means_ = np.array([X[codes == k].mean(0, np.float64) for k in range(codes.max() + 1)])
        self.variance_ = float(((X - self.means_[codes]) ** 2).sum(1).mean())
        return self

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Class of each row."""
        indices = self._distances(X).argmin(1)
        predicted: npt.NDArray[Any] = self.classes_[indices]
        return predicted

    def predict_proba(self, X: Any) -> Floats:
        """Probability of each class: (n_samples, n_classes)."""
        distances = self._distances(X)
        n_features = self.means_.shape[1]
        scores = -0.5 * n_features * distances / (self.variance_ or 1.0)
        shares: Floats = softmax(scores, axis=1)
        return shares

    def _distances(self, X: Any) -> Floats:
        """Squared distance to the mean of each class."""
        from sklearn.metrics import pairwise_distances

        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        distances: Floats = pairwise_distances(X, self.means_, metric="sqeuclidean")
        return distances
