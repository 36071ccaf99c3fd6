"""Mixtures of Gaussians with diagonal covariances, for Fisher vectors.

Why not scikit-learn's `GaussianMixture`: from the same start to the same likelihood it takes 1.7
to 1.8 times as long on one core (``scripts/bench/bench_bovw.py --codebooks``), and it works in one
piece where these blocks of rows use all cores, with the same bytes for any number of them.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from featx._linalg import map_blocks
from featx.extractors.bovw.codebooks import learn_words, nearest_words
from featx.extractors.bovw.exact_products import product, sum_by_label

Doubles: TypeAlias = npt.NDArray[np.float64]

_MIN_RELATIVE_VARIANCE = 1e-3
"""Least variance of a component, as a fraction of the variance of all descriptors."""

_MIN_GAIN = 1e-3
"""Learning stops when an iteration raises the mean log-likelihood by less than this."""


class Mixture(NamedTuple):
    """Weights ``(n_words,)``, means and variances ``(n_words, d)``, float64."""

    weights: Doubles
    means: Doubles
    variances: Doubles


def learn_mixture(X: Doubles, n_words: int, seed: Any = None, max_iter: int = 50) -> Mixture:
    """Mixture fitted to a sample by expectation maximization, started from k-means.

    Parameters
    ----------
    X : ndarray of shape (n, d), float64
        At least `n_words` rows.
    n_words : int
    seed : int or SeedSequence, optional
    max_iter : int, default=50
        Maximum number of iterations.

    Returns
    -------
    Mixture

    Examples
    --------
    >>> X = np.array([[0.0], [0.2], [9.0], [9.2]])
    >>> learn_mixture(X, 2, seed=0).weights.round(2)
    array([0.5, 0.5])
    """
    floor = np.maximum(_MIN_RELATIVE_VARIANCE * X.var(axis=0), np.finfo(np.float32).tiny)
    # Start with one component per cluster of k-means.
    mixture = _from_words(X, n_words, seed, floor)
    previous = -np.inf
    for _ in range(max_iter):
        # E step: posteriors, summed up into the statistics that the M step needs.
        counts, sums, squares, likelihood = _expect_all(X, mixture)
        if likelihood / len(X) < previous + _MIN_GAIN:
            break
        previous = likelihood / len(X)
        # M step: weights, means and variances that maximize the expected likelihood.
        mixture = _maximize(counts, sums, squares, floor)
    return mixture


def posteriors(X: Doubles, mixture: Mixture) -> tuple[Doubles, Doubles]:
    """Posterior probability of each component for each row, and the row's log-likelihood.

    Parameters
    ----------
    X : ndarray of shape (n, d), float64
    mixture : Mixture

    Returns
    -------
    probabilities : ndarray of shape (n, n_words), float64
        Rows sum to 1.
    likelihoods : ndarray of shape (n,), float64

    Examples
    --------
    >>> mixture = Mixture(np.ones(1), np.zeros((1, 1)), np.ones((1, 1)))
    >>> posteriors(np.zeros((1, 1)), mixture)
    (array([[1.]]), array([-0.91893853]))
    """
    weights, means, variances = mixture
    # Log of weight times density, with the square expanded so that it becomes two products.
    logs = product(X, (means / variances).T) - 0.5 * product(X * X, (1 / variances).T)
    logs += np.log(weights) - 0.5 * (means**2 / variances + np.log(2 * np.pi * variances)).sum(1)
    # Relative to the most likely component, so that the exponentials never underflow together.
    highest = logs.max(axis=1, keepdims=True)
    probabilities = np.exp(logs - highest)
    sums = probabilities.sum(axis=1, keepdims=True)
    return probabilities / sums, (highest + np.log(sums))[:, 0]


def _from_words(X: Doubles, n_words: int, seed: Any, floor: Doubles) -> Mixture:
    words = learn_words(X.astype(np.float32), n_words, seed).astype(np.float64)
    labels = nearest_words(X, words)[0]
    counts = np.bincount(labels, minlength=n_words).astype(np.float64)
    squares = sum_by_label(X * X, labels, n_words)
    return _maximize(counts, sum_by_label(X, labels, n_words), squares, floor)


def _expect_all(X: Doubles, mixture: Mixture) -> Any:
    """Results of `_expect` for all rows, summed block by block in their order."""
    parts = map_blocks(lambda block: _expect(block, mixture), X)
    return tuple(map(sum, zip(*parts)))


def _expect(block: Doubles, mixture: Mixture) -> tuple[Doubles, Doubles, Doubles, float]:
    """Counts, sums and sums of squares per component, and the log-likelihood of a block."""
    probabilities, likelihoods = posteriors(block, mixture)
    sums = product(probabilities.T, block)
    squares = product(probabilities.T, block * block)
    return probabilities.sum(axis=0), sums, squares, float(likelihoods.sum())


def _maximize(counts: Doubles, sums: Doubles, squares: Doubles, floor: Doubles) -> Mixture:
    counts = np.maximum(counts, np.finfo(np.float32).eps)
    means = sums / counts[:, None]
    variances = np.maximum(squares / counts[:, None] - means**2, floor)
    return Mixture(counts / counts.sum(), means, variances)
