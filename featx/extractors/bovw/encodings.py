"""Encode the descriptors of one image as one row: histogram, VLAD or Fisher vector.

Everything is float64 until the end, and each image is encoded alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from featx.extractors.bovw.exact_products import product, sum_by_label

Doubles: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = npt.NDArray[np.intp]
Positions: TypeAlias = npt.NDArray[np.uint16]

_N_SOFT = 5
NORMS = ("l1", "l2", "power", "hellinger", "intra")


def soften(distances: npt.NDArray[Any], scale: float) -> tuple[Labels, Doubles]:
    """Nearest words of each descriptor and its weights for them, which sum to 1.

    Parameters
    ----------
    distances : ndarray of shape (k, n_words)
        Squared distances to the words (bits in which they differ, for bits).
    scale : float
        Mean squared distance of descriptors to their words: a word whose squared distance is
        larger by `scale` than the nearest one's has a weight smaller by a factor of e.

    Returns
    -------
    labels : ndarray of shape (k, r)
        The ``r = min(5, n_words)`` nearest words, nearest first.
    weights : ndarray of shape (k, r), float64

    Notes
    -----
    As [1]_, with the width of the kernel measured on the sample for the codebook.

    References
    ----------
    .. [1] Philbin, Chum, Isard, Sivic and Zisserman, "Lost in quantization: improving
       particular object retrieval in large scale image databases", CVPR (2008).

    Examples
    --------
    >>> labels, weights = soften(np.array([[4.0, 0.0, 1.0]]), scale=1.0)
    >>> labels, weights.round(2)
    (array([[1, 2, 0]]), array([[0.72, 0.27, 0.01]]))
    """
    # A descriptor is distributed over the few nearest words only, as in the paper.
    labels = _nearest(distances, min(_N_SOFT, distances.shape[1]))
    near = np.take_along_axis(distances, labels, axis=1).astype(np.float64)
    # Relative to the nearest word, so that the exponential never underflows for all of them.
    weights = np.exp((near[:, :1] - near) / max(scale, np.finfo(np.float64).tiny))
    return labels, weights / weights.sum(axis=1, keepdims=True)


def _nearest(distances: npt.NDArray[Any], n: int) -> Labels:
    """Column indices of the smallest values of each row, ascending; ties in order of columns."""
    labels = np.empty((len(distances), n), np.intp)
    # Take the minimum n times: a partial sort would not keep the order of equal words.
    remaining = distances.astype(np.float64)
    for column in range(n):
        labels[:, column] = remaining.argmin(axis=1)
        remaining[np.arange(len(remaining)), labels[:, column]] = np.inf
    return labels


def vlad(values: Doubles, labels: Labels, words: Doubles) -> Doubles:
    """Vector of locally aggregated descriptors [1]_: sums of differences to each word.

    Parameters
    ----------
    values : ndarray of shape (k, d), float64
    labels : ndarray of shape (k,)
        Index of each descriptor's word.
    words : ndarray of shape (n_words, d), float64

    Returns
    -------
    ndarray of shape (n_words * d,), float64
        Not normalized.

    References
    ----------
    .. [1] Jegou, Douze, Schmid and Perez, "Aggregating local descriptors into a compact image
       representation", CVPR (2010) 3304-3311.

    Examples
    --------
    >>> vlad(np.array([[1.0], [3.0]]), np.array([1, 1]), np.array([[0.0], [1.5]]))
    array([0., 1.])
    """
    # The sum of x - word over the descriptors of a word is the sum of x minus count * word.
    counts = np.bincount(labels, minlength=len(words))
    return (sum_by_label(values, labels, len(words)) - counts[:, None] * words).ravel()


def fisher(values: Doubles, posteriors: Doubles, means: Doubles, variances: Doubles) -> Doubles:
    """Fisher vector [1]_: gradient of the log-likelihood by means and standard deviations.

    Parameters
    ----------
    values : ndarray of shape (k, d), float64
    posteriors : ndarray of shape (k, n_words), float64
        Posterior probability of each component, divided by the square root of its weight.
    means, variances : ndarray of shape (n_words, d), float64

    Returns
    -------
    ndarray of shape (2 * n_words * d,), float64
        All gradients by means, then all by standard deviations; divided by k, otherwise not
        normalized.

    Notes
    -----
    Departs from [1]_: no gradient by the weights, which the paper found to add little.

    References
    ----------
    .. [1] Perronnin, Sanchez and Mensink, "Improving the Fisher kernel for large-scale image
       classification", ECCV (2010) 143-156.
    """
    if not len(values):
        return np.zeros(2 * means.size)
    # Statistics of order 0, 1 and 2 per component: both gradients follow from these sums.
    counts = posteriors.sum(axis=0)[:, None]
    sums = product(posteriors.T, values)
    squares = product(posteriors.T, values * values)
    by_mean = (sums - counts * means) / np.sqrt(variances)
    # With the square expanded, no array of descriptors x words x dimensions is needed.
    by_deviation = (squares - 2 * means * sums + counts * (means**2 - variances)) / variances
    return np.concatenate([by_mean.ravel(), by_deviation.ravel() / np.sqrt(2)]) / len(values)


def pyramid_cells(
    positions: Positions, n_levels: int
) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
    """Masks of the descriptors in each cell of a spatial pyramid [1]_, the whole image first.

    Parameters
    ----------
    positions : ndarray of shape (k, 2), uint16
        x and y, in 65,536ths of the image's width and height.
    n_levels : int
        Levels besides the whole image; level l has 2^l x 2^l cells.

    Yields
    ------
    level : int
    members : ndarray of shape (k,), bool
        Cells come row by row from the top, each row from left to right.

    References
    ----------
    .. [1] Lazebnik, Schmid and Ponce, "Beyond bags of features: spatial pyramid matching for
       recognizing natural scene categories", CVPR (2006) 2169-2178.
    """
    for level in range(n_levels + 1):
        columns, rows = (
            # The leading bits of a position are the index of its cell.
            (positions >> (16 - level)).T if level else np.zeros((2, len(positions)), int)
        )
        for row in range(2**level):
            for column in range(2**level):
                yield level, (rows == row) & (columns == column)


def _pyramid_weight(level: int, n_levels: int) -> float:
    """Weight of a level in the pyramid match kernel: 1/2 at the finest level, halved per level.

    Examples
    --------
    >>> [_pyramid_weight(level, 2) for level in range(3)]
    [0.25, 0.25, 0.5]
    """
    return 2.0 ** -(n_levels if level == 0 else n_levels - level + 1)


def weigh_cells(cells: Iterable[tuple[int, Doubles]], n_levels: int) -> Doubles:
    """Counts of all cells, weighted by level and concatenated."""
    return np.concatenate([_pyramid_weight(level, n_levels) * counts for level, counts in cells])


def n_cells(n_levels: int) -> int:
    """Number of cells of a pyramid, all levels together.

    Examples
    --------
    >>> n_cells(2)
    21
    """
    return (4 ** (n_levels + 1) - 1) // 3


def normalize(row: Doubles, norm: str | None, n_words: int = 1) -> Doubles:
    """Normalized row; a row of zeros remains unchanged.

    Parameters
    ----------
    row : ndarray of shape (d,), float64
    norm : {"l1", "l2", "power", "hellinger", "intra"} or None
        ``"power"``: signed square root, then l2. ``"hellinger"``: l1, then signed square root.
        ``"intra"`` [1]_: l2 for each word's part, then for the whole row.
    n_words : int, default=1
        Number of equal parts of the row, for ``"intra"``.

    Returns
    -------
    ndarray of shape (d,), float64

    References
    ----------
    .. [1] Arandjelovic and Zisserman, "All about VLAD", CVPR (2013) 1578-1585.

    Examples
    --------
    >>> normalize(np.array([1.0, -3.0]), "l1")
    array([ 0.25, -0.75])
    """
    if norm is None:
        return row
    return _NORMALIZERS[norm](row, n_words)


def _scale(row: Doubles, length: Any) -> Doubles:
    return row / np.where(length > 0, length, 1)


def _signed_root(row: Doubles) -> Doubles:
    return np.sign(row) * np.sqrt(np.abs(row))


def _l1(row: Doubles, n_words: int) -> Doubles:
    return _scale(row, np.abs(row).sum())


def _l2(row: Doubles, n_words: int) -> Doubles:
    return _scale(row, np.sqrt((row * row).sum()))


def _power(row: Doubles, n_words: int) -> Doubles:
    return _l2(_signed_root(row), n_words)


def _hellinger(row: Doubles, n_words: int) -> Doubles:
    return _signed_root(_l1(row, n_words))


def _intra(row: Doubles, n_words: int) -> Doubles:
    parts = row.reshape(n_words, -1)
    lengths = np.sqrt((parts * parts).sum(axis=1, keepdims=True))
    return _l2(_scale(parts, lengths).ravel(), n_words)


_NORMALIZERS: dict[str, Callable[[Doubles, int], Doubles]] = {
    "l1": _l1,
    "l2": _l2,
    "power": _power,
    "hellinger": _hellinger,
    "intra": _intra,
}
