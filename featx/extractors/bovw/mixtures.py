"""Mixtures of Gaussians with diagonal covariances, for Fisher vectors."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from featx._linalg import map_blocks
from featx.extractors.bovw.codebooks import learn_words, nearest_words
from featx.extractors.bovw.exact_products import product, sum_by_label

Doubles: TypeAlias = npt.NDArray[np.float64]

_MIN_VARIANCE_SHARE = 1e-3
"""No component gets narrower than this share of the variance of all descriptors."""

MIN_GAIN = 1e-3
"""Learning stops when a round raises the mean log-likelihood by less."""


class Mixture(NamedTuple):
    """Weights ``(n_words,)``, means and variances ``(n_words, d)``, float64."""

    weights: Doubles
    means: Doubles
    variances: Doubles


def learn_mixture(X: Doubles, n_words: int, seed: Any = None, n_rounds: int = 50) -> Mixture:
    """Mixture that makes the sample likely, by expectation maximisation from k-means.

    Parameters
    ----------
    X : ndarray of shape (n, d), float64
        At least `n_words` rows.
    n_words : int
    seed : int or sequence of int, optional
    n_rounds : int, default=50
        Most rounds.

    Returns
    -------
    Mixture

    Examples
    --------
    >>> X = np.array([[0.0], [0.2], [9.0], [9.2]])
    >>> learn_mixture(X, 2, seed=0).weights.round(2)
    array([0.5, 0.5])
    """
    floor = np.maximum(_MIN_VARIANCE_SHARE * X.var(axis=0), np.finfo(np.float32).tiny)
    mixture = _from_words(X, n_words, seed, floor)
    previous = -np.inf
    for _ in range(n_rounds):
        counts, sums, squares, likelihood = _expect_all(X, mixture)
        if likelihood / len(X) < previous + MIN_GAIN:
            break
        previous = likelihood / len(X)
        mixture = _maximize(counts, sums, squares, floor)
    return mixture


def posteriors(X: Doubles, mixture: Mixture) -> tuple[Doubles, Doubles]:
    """Probability of each component for each row, and the row's log-likelihood.

    Parameters
    ----------
    X : ndarray of shape (n, d), float64
    mixture : Mixture

    Returns
    -------
    shares : ndarray of shape (n, n_words), float64
    likelihoods : ndarray of shape (n,), float64

    Examples
    --------
    >>> mixture = Mixture(np.ones(1), np.zeros((1, 1)), np.ones((1, 1)))
    >>> posteriors(np.zeros((1, 1)), mixture)
    (array([[1.]]), array([-0.91893853]))
    """
    weights, means, variances = mixture
    logs = product(X, (means / variances).T) - 0.5 * product(X * X, (1 / variances).T)
    logs += np.log(weights) - 0.5 * (means**2 / variances + np.log(2 * np.pi * variances)).sum(1)
    top = logs.max(axis=1, keepdims=True)
    shares = np.exp(logs - top)
    sums = shares.sum(axis=1, keepdims=True)
    return shares / sums, (top + np.log(sums))[:, 0]


def _from_words(X: Doubles, n_words: int, seed: Any, floor: Doubles) -> Mixture:
    words = learn_words(X.astype(np.float32), n_words, seed).astype(np.float64)
    labels = nearest_words(X, words)[0]
    counts = np.bincount(labels, minlength=n_words).astype(np.float64)
    squares = sum_by_label(X * X, labels, n_words)
    return _maximize(counts, sum_by_label(X, labels, n_words), squares, floor)


def _expect_all(X: Doubles, mixture: Mixture) -> Any:
    """Sums over all rows of what `_expect` gives, block after block."""
    parts = map_blocks(lambda block: _expect(block, mixture), X)
    return tuple(map(sum, zip(*parts)))


def _expect(block: Doubles, mixture: Mixture) -> tuple[Doubles, Doubles, Doubles, float]:
    shares, likelihoods = posteriors(block, mixture)
    sums = product(shares.T, block)
    squares = product(shares.T, block * block)
    return shares.sum(axis=0), sums, squares, float(likelihoods.sum())


def _maximize(counts: Doubles, sums: Doubles, squares: Doubles, floor: Doubles) -> Mixture:
    counts = np.maximum(counts, np.finfo(np.float32).eps)
    means = sums / counts[:, None]
    variances = np.maximum(squares / counts[:, None] - means**2, floor)
    return Mixture(counts / counts.sum(), means, variances)
