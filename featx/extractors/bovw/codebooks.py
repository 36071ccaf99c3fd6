"""Learn visual words from a sample of descriptors: k-means, k-majority on bits, mixtures, PCA.

All of it gives the same bytes for the same seed whatever the number of threads: rows are
worked on in blocks of fixed length, and what the blocks give is added in their order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from featx._linalg import map_blocks, reproducible_axes
from featx.extractors.bovw.exact_products import hamming, product, sum_by_label

Labels: TypeAlias = npt.NDArray[np.intp]
Floats: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]
Bits: TypeAlias = npt.NDArray[np.uint8]
Nearest: TypeAlias = tuple[Labels, npt.NDArray[Any]]

_SEEDING_ROWS_PER_WORD = 10
_MIN_SEEDING_ROWS = 2000
MIN_GAIN = 1e-4
"""Learning stops when a round lowers the mean distance by less than this share."""


def learn_words(X: Floats, n_words: int, seed: Any = None, n_rounds: int = 40) -> Floats:
    """Words by k-means [1]_, seeded by k-means++ [2]_ on a part of the sample.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Descriptors; at least `n_words` of them.
    n_words : int
    seed : int or sequence of int, optional
    n_rounds : int, default=40
        Most rounds of assignment and update.

    Returns
    -------
    ndarray of shape (n_words, d), float32

    Notes
    -----
    Departs from [1]_: a word that no descriptor chooses moves to the descriptor farthest from
    its own word.

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
    # Seeding costs rows x words, like a round, but does not run in blocks: a part is enough.
    rng = np.random.default_rng(seed)
    part = X[rng.permutation(len(X))[: max(_SEEDING_ROWS_PER_WORD * n_words, _MIN_SEEDING_ROWS)]]
    words = _seed_words(part, n_words, rng)
    return _refine(X, words, nearest_words, _mean_words, n_rounds)


def learn_binary_words(X: Bits, n_words: int, seed: Any = None, n_rounds: int = 40) -> Bits:
    """Words of bits by k-majority [1]_: Hamming distances, and each bit by majority.

    Parameters
    ----------
    X : ndarray of shape (n, n_bytes), uint8
        Packed bits; at least `n_words` rows, their number of bytes a multiple of 8.
    n_words : int
    seed : int or sequence of int, optional
    n_rounds : int, default=40
        Most rounds of assignment and update.

    Returns
    -------
    ndarray of shape (n_words, n_bytes), uint8

    Notes
    -----
    Departs from [1]_: seeded as k-means++ does; a bit that is set in exactly half of a word's
    descriptors is set; a word that no descriptor chooses moves to the one farthest from its
    own.

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
    part = X[rng.permutation(len(X))[: max(_SEEDING_ROWS_PER_WORD * n_words, _MIN_SEEDING_ROWS)]]
    words = _seed_words(part, n_words, rng)
    return _refine(X, words, _nearest_binary_words, _majority_words, n_rounds)


def nearest_words(X: npt.NDArray[Any], words: npt.NDArray[Any]) -> Nearest:
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


def _nearest_binary_words(X: Bits, words: Bits) -> Nearest:
    """Index of the nearest word of each row, and the number of bits in which they differ.

    Parameters
    ----------
    X : ndarray of shape (n, n_bytes), uint8
    words : ndarray of shape (n_words, n_bytes), uint8

    Returns
    -------
    labels : ndarray of shape (n,)
    distances : ndarray of shape (n,), int32
    """
    distances = hamming(X, words)
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


def _seed_words(X: Any, n_words: int, rng: np.random.Generator) -> Any:
    """Words by k-means++: each the best of a few, drawn by their distance to those before."""
    find_distances = hamming if X.dtype == np.uint8 else squared_distances
    # Greedy k-means++: the first word at random, then in turn the best of a few tries, each drawn
    # with a probability proportional to its squared distance to the nearest word so far.
    chosen = [int(rng.integers(len(X)))]
    nearest = find_distances(X, X[chosen])[:, 0]
    n_tries = 2 + int(np.log(n_words))
    for draws in rng.random((n_words - 1, n_tries)):
        sums = np.cumsum(nearest, dtype=np.float64)
        # Inverse transform sampling; rounding could point past the last row.
        tries = np.searchsorted(sums, draws * sums[-1], side="right").clip(max=len(X) - 1)
        lowered = np.minimum(find_distances(X, X[tries]), nearest[:, None])
        best = int(lowered.sum(axis=0, dtype=np.float64).argmin())
        chosen.append(int(tries[best]))
        nearest = lowered[:, best]
    return X[chosen]


def _refine(
    X: Any,
    words: Any,
    find_nearest: Callable[..., Nearest],
    update: Callable[..., Any],
    n_rounds: int,
) -> Any:
    """Assign and update in turn, until the mean distance hardly falls."""
    previous = np.inf
    for _ in range(n_rounds):
        labels, distances = _assign(X, words, find_nearest)
        # Lloyd's rounds: assign, then update, until a round gains next to nothing.
        mean = float(distances.mean(dtype=np.float64))
        if mean >= previous * (1 - MIN_GAIN):
            return words
        previous = mean
        words = update(X, labels, len(words))
        _fill_empty(words, X, labels, distances)
    return words


def _assign(X: Any, words: Any, find_nearest: Callable[..., Nearest]) -> Nearest:
    # Blocks of fixed length, joined in order: equal bytes whatever the number of threads.
    labels, distances = zip(*map_blocks(lambda block: find_nearest(block, words), X))
    return np.concatenate(labels), np.concatenate(distances)


def _mean_words(X: Floats, labels: Labels, n_words: int) -> Floats:
    counts = np.bincount(labels, minlength=n_words)
    return (sum_by_label(X, labels, n_words) / np.maximum(counts, 1)[:, None]).astype(np.float32)


def _majority_words(X: Bits, labels: Labels, n_words: int) -> Bits:
    counts = np.bincount(labels, minlength=n_words)
    # A bit of a word is the majority among its descriptors.
    n_set = sum_by_label(np.unpackbits(X, axis=1), labels, n_words)
    return np.packbits(2 * n_set >= np.maximum(counts, 1)[:, None], axis=1)


def _fill_empty(words: Any, X: Any, labels: Labels, distances: npt.NDArray[Any]) -> None:
    """Move words that nothing chose to the rows farthest from their own words."""
    empty = np.flatnonzero(np.bincount(labels, minlength=len(words)) == 0)
    farthest = np.argsort(-distances, kind="stable")[: len(empty)]
    words[empty] = X[farthest]
