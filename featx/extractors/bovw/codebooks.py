"""Learn visual words from a sample of descriptors: k-means, k-majority on bits, PCA.

k-means is scikit-learn's. k-majority, which scikit-learn does not have, alternates assignment
and update like k-means, with Hamming distances. The same seed gives the same bytes for any
number of threads: scikit-learn and LAPACK run in one thread, whose rounding does not vary, and
k-majority counts in integers.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from featx._linalg import map_blocks, reproducible_axes
from featx.extractors.bovw.exact_products import hamming, product, sum_by_label
from featx.process.ignored_warnings import ignored_warning

Labels: TypeAlias = npt.NDArray[np.intp]
Floats: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]
Bits: TypeAlias = npt.NDArray[np.uint8]

_SEEDING_ROWS_PER_WORD = 10
_MIN_SEEDING_ROWS = 2000
_MIN_GAIN = 1e-4
"""k-majority stops when an iteration lowers the mean distance by less than this fraction."""


def learn_words(X: Floats, n_words: int, seed: Any = None, max_iter: int = 25) -> Floats:
    """Words by k-means [1]_, seeded by k-means++ [2]_ on a subsample.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Descriptors; at least `n_words` of them.
    n_words : int
    seed : int or SeedSequence, optional
    max_iter : int, default=25
        Maximum number of iterations; more of them lower the inertia by less than 1 %.

    Returns
    -------
    ndarray of shape (n_words, d), float32

    References
    ----------
    .. [1] Csurka, Dance, Fan, Willamowski and Bray, "Visual categorization with bags of
       keypoints", ECCV Workshop on Statistical Learning in Computer Vision (2004).
    .. [2] Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding", SODA
       (2007) 1027-1035.

    Examples
    --------
    >>> X = np.array([[0.0], [0.2], [9.0], [9.2]], np.float32)
    >>> np.sort(learn_words(X, 2, seed=0), axis=0).round(1)
    array([[0.1], [9.1]], dtype=float32)
    """
    from sklearn.cluster import KMeans, kmeans_plusplus
    from sklearn.exceptions import ConvergenceWarning

    random = np.random.RandomState(np.random.MT19937(seed))
    # Fewer distinct descriptors than words: some words coincide, which does no harm.
    with threadpool_limits(1), ignored_warning("", ConvergenceWarning):
        # Seeding costs as much as eight iterations on all rows; a subsample is enough.
        subsample = X[random.permutation(len(X))[: _n_seeding_rows(n_words)]]
        words, _ = kmeans_plusplus(subsample, n_words, random_state=random)
        model = KMeans(n_words, init=words, n_init=1, max_iter=max_iter, random_state=random)
        return np.asarray(model.fit(X).cluster_centers_, np.float32)


def learn_binary_words(X: Bits, n_words: int, seed: Any = None, max_iter: int = 40) -> Bits:
    """Binary words by k-majority [1]_: Hamming distances, and each bit by majority vote.

    Parameters
    ----------
    X : ndarray of shape (n, n_bytes), uint8
        Packed bits; at least `n_words` rows, `n_bytes` a multiple of 8.
    n_words : int
    seed : int or SeedSequence, optional
    max_iter : int, default=40
        Maximum number of iterations.

    Returns
    -------
    ndarray of shape (n_words, n_bytes), uint8

    Notes
    -----
    Departs from [1]_: seeds are those of k-means++; a bit that is set in exactly half of a word's
    descriptors is set; a word without descriptors moves to the descriptor farthest from its word.

    References
    ----------
    .. [1] Grana, Borghesani, Manfredi and Cucchiara, "A fast approach for integrating ORB
       descriptors in the bag of words model", Multimedia Content and Mobile Devices, SPIE
       8667 (2013).

    Examples
    --------
    >>> X = np.zeros((4, 8), np.uint8)
    >>> X[2:] = 255
    >>> np.sort(learn_binary_words(X, 2, seed=0)[:, 0])
    array([  0, 255], dtype=uint8)
    """
    rng = np.random.default_rng(seed)
    words = _seed_binary_words(X[rng.permutation(len(X))[: _n_seeding_rows(n_words)]], n_words, rng)
    previous = np.inf
    for _ in range(max_iter):
        # Assign each descriptor to its nearest word; stop when that hardly improves.
        labels, distances = _assign_bits(X, words)
        mean = float(distances.mean(dtype=np.float64))
        if mean >= previous * (1 - _MIN_GAIN):
            break
        previous = mean
        # Update: each bit of a word is the majority among the word's descriptors.
        counts = np.bincount(labels, minlength=n_words)
        n_set = sum_by_label(np.unpackbits(X, axis=1), labels, n_words)
        words = np.packbits(2 * n_set >= np.maximum(counts, 1)[:, None], axis=1)
        # Words without descriptors move to the descriptors farthest from their words.
        is_empty = counts == 0
        words[is_empty] = X[np.argsort(-distances, kind="stable")[: is_empty.sum()]]
    return words


def nearest_words(X: npt.NDArray[Any], words: npt.NDArray[Any]) -> tuple[Labels, npt.NDArray[Any]]:
    """Index of the nearest word of each row, and the squared distance to it.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
    words : ndarray of shape (n_words, d), of the type of `X`

    Returns
    -------
    labels : ndarray of shape (n,)
    distances : ndarray of shape (n,)
        Squared.
    """
    distances = squared_distances(X, words)
    labels = distances.argmin(axis=1)
    return labels, distances[np.arange(len(X)), labels]


def squared_distances(X: npt.NDArray[Any], words: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Squared Euclidean distance of each row to each word, never below zero."""
    # (x - w)^2 = x^2 - 2 x.w + w^2; rounding may bring it below zero.
    distances = product(X, -2 * words.T)
    distances += (words * words).sum(axis=1)
    distances += (X * X).sum(axis=1)[:, None]
    return np.maximum(distances, 0, out=distances)


def learn_projection(X: npt.NDArray[Any], n_components: int) -> tuple[Doubles, Doubles]:
    """Mean and principal axes of descriptors.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    n_components : int
        At most d.

    Returns
    -------
    mean : ndarray of shape (d,), float64
    axes : ndarray of shape (d, n_components), float64
        Orthonormal columns, the one of largest variance first; the largest entry of each is
        positive.
    """
    mean = _mean(X)
    scatters = map_blocks(lambda block: _scatter(block - mean), X)
    return mean, reproducible_axes(sum(scatters) / len(X), n_components)


def _mean(X: npt.NDArray[Any]) -> Doubles:
    return sum(map_blocks(lambda block: block.sum(axis=0, dtype=np.float64), X)) / len(X)


def _scatter(block: Doubles) -> Doubles:
    return product(block.T, block)


def _n_seeding_rows(n_words: int) -> int:
    return max(_SEEDING_ROWS_PER_WORD * n_words, _MIN_SEEDING_ROWS)


def _seed_binary_words(X: Bits, n_words: int, rng: np.random.Generator) -> Bits:
    """Greedy k-means++ with Hamming distances: each seed is the best of a few random ones."""
    indices = [int(rng.integers(len(X)))]
    nearest = hamming(X, X[indices])[:, 0]
    n_candidates = 2 + int(np.log(n_words))
    for draws in rng.random((n_words - 1, n_candidates)):
        # Draw candidates with a probability proportional to the distance to the nearest seed,
        # by inverse transform sampling; rounding could point past the last row.
        sums = np.cumsum(nearest, dtype=np.float64)
        candidates = np.searchsorted(sums, draws * sums[-1], side="right").clip(max=len(X) - 1)
        # Keep the candidate that lowers the sum of distances most.
        distances = np.minimum(hamming(X, X[candidates]), nearest[:, None])
        best = int(distances.sum(axis=0, dtype=np.float64).argmin())
        indices.append(int(candidates[best]))
        nearest = distances[:, best]
    return X[indices]


def _assign_bits(X: Bits, words: Bits) -> tuple[Labels, npt.NDArray[np.int32]]:
    """Index of the nearest word of each row, and the number of bits in which they differ."""

    def assign(block: Bits) -> tuple[Labels, npt.NDArray[np.int32]]:
        distances = hamming(block, words)
        return distances.argmin(axis=1), distances.min(axis=1)

    labels, distances = zip(*map_blocks(assign, X))
    return np.concatenate(labels), np.concatenate(distances)
