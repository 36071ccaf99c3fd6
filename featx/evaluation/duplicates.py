"""Images that are there twice: the same bytes, or the same photograph encoded, cropped, mirrored.

The same bytes have the same digest. For the others, candidates come from two sides: images with
nearly the same perceptual hash, mirrored or not, and the nearest rows of a network, which finds
crops that move the hash. Either kind of candidate is confirmed by laying one thumbnail over
the other, cropped by up to a tenth: near neighbors of a network may be two photographs of one
kind, and hashes of plain images are alike by chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from featx._linalg import Matrix, allocate, row_blocks, rows_per_chunk, slices
from featx.streaming.progress import ProgressCallback

Indices = npt.NDArray[np.intp]

THUMBNAIL_PX = 32
"""Side of the thumbnails that are hashed and laid over each other."""

_MAX_HASH_BITS = 10
"""Candidates by hash differ in no more of its 64 bits."""

_MAX_CANDIDATE_BITS = 20
"""Nor do neighbors in the network's rows in more than these."""

_N_NEIGHBORS = 5
_LEAST_CORRELATION = 0.968
"""Of confirmed thumbnails; two photographs of one flower were at most .965, planted crops .973."""

_COMPARED_PX = 16
_CROPS = (0.0, 0.025, 0.05, 0.075, 0.1)
"""Fractions of a side that one of two images may lack."""


class Pair(NamedTuple):
    """Two images of one content.

    Attributes
    ----------
    first, second : int
        Indices, the smaller first.
    is_exact : bool
        Whether their bytes are the same.
    correlation : float
        Of their thumbnails, laid over each other as well as possible.
    """

    first: int
    second: int
    is_exact: bool
    correlation: float


def find_duplicates(
    digests: Sequence[str],
    thumbnails: Matrix,
    X: Matrix,
    comparable: npt.NDArray[np.bool_],
    progress: ProgressCallback | None = None,
) -> list[Pair]:
    """Pairs of images with the same content, exact ones first.

    Parameters
    ----------
    digests : sequence of str, length n_images
        Of each image's bytes.
    thumbnails : array of shape (n_images, 1024)
        Luminance of 32 x 32 pixels.
    X : array of shape (n_images, n_features)
        Rows of a network.
    comparable : array of bool, shape (n_images,)
        False for blank and tiny images, whose thumbnails say too little: they are compared by
        their bytes alone.
    progress : ProgressCallback, optional

    Returns
    -------
    list of Pair
        Of a set of images with the same bytes, each with the first.

    Notes
    -----
    Every image is compared with every other, a block of rows at a time: memory grows with their
    number, time with its square. The hash is that of 8 x 8 low frequencies of the cosine
    transform, each above or below their median.

    Examples
    --------
    >>> thumbnails = np.random.default_rng(0).random((3, 1024))
    >>> thumbnails[2] = 0.9 * thumbnails[0] + 0.05
    >>> find_duplicates("abc", thumbnails, np.eye(3), np.full(3, True))[0][:3]
    (0, 2, False)
    """
    first = {digest: i for i, digest in reversed(list(enumerate(digests)))}
    exact = [Pair(first[d], i, True, 1.0) for i, d in enumerate(digests) if first[d] != i]
    distinct = np.array([i for d, i in first.items() if comparable[i]], np.intp)
    distinct.sort()
    if len(distinct) < 2:
        return exact
    candidates = _candidates(thumbnails, X, distinct, progress or ProgressCallback())
    windows = _windows()
    confirmed = [
        Pair(i, j, False, correlation)
        for i, j in candidates
        if (correlation := _overlay(thumbnails[i], thumbnails[j], windows)) >= _LEAST_CORRELATION
    ]
    return exact + confirmed


def group_duplicates(pairs: Sequence[Pair], n_images: int) -> Indices:
    """Number of the set of duplicates that each image belongs to, often by itself: (n_images,).

    Examples
    --------
    >>> group_duplicates([Pair(0, 2, True, 1.0)], 3)
    array([0, 1, 0])
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows = [pair.first for pair in pairs]
    columns = [pair.second for pair in pairs]
    links = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(n_images, n_images))
    return connected_components(links, directed=False)[1].astype(np.intp)


def _candidates(
    thumbnails: Matrix, X: Matrix, indices: Indices, progress: ProgressCallback
) -> list[tuple[int, int]]:
    """Pairs of images that may show the same, each once."""
    hashes, mirrored = _hashes(thumbnails, indices)
    units = _unit_rows(X, indices)
    progress.train("duplicates", len(indices))
    pairs: set[tuple[int, int]] = set()
    for rows in slices(len(indices), rows_per_chunk(16 * len(indices))):
        distances = _least_distances(hashes[rows], hashes, mirrored)
        own = np.arange(len(distances))
        distances[own, own + rows.start] = 64
        near = distances <= _MAX_HASH_BITS
        neighbors = _neighbors(units, rows)
        is_close = np.take_along_axis(distances, neighbors, 1) <= _MAX_CANDIDATE_BITS
        near[np.repeat(own, is_close.sum(1)), neighbors[is_close]] = True
        for row, column in np.argwhere(near):
            i, j = sorted((int(indices[row + rows.start]), int(indices[column])))
            pairs.add((i, j))
        progress.advance(len(own))
    return sorted(pairs)


def _hashes(thumbnails: Matrix, indices: Indices) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """64-bit perceptual hashes of images, and of them mirrored."""
    from scipy.fft import dctn

    hashes = np.empty((2, len(indices)), np.uint64)
    for rows in slices(len(indices), 1024):
        images = _square(thumbnails[indices[rows]])
        for side, view in enumerate((images, images[:, :, ::-1])):
            # One column more than eight, and the mean left out: 64 frequencies.
            low = dctn(view, axes=(1, 2))[:, :8, :9].reshape(len(view), -1)[:, 1:65]
            bits = np.packbits(low > np.median(low, axis=1, keepdims=True), axis=1)
            hashes[side, rows] = bits.view(np.uint64)[:, 0]
    return hashes[0], hashes[1]


def _least_distances(
    some: npt.NDArray[Any], hashes: npt.NDArray[Any], mirrored: npt.NDArray[Any]
) -> npt.NDArray[np.uint8]:
    """Bits in which some hashes differ from all, mirrored or not: (n_some, n_all)."""
    upright = np.bitwise_count(some[:, None] ^ hashes)
    distances: npt.NDArray[np.uint8] = np.minimum(
        upright, np.bitwise_count(some[:, None] ^ mirrored)
    )
    return distances


def _unit_rows(X: Matrix, indices: Indices) -> Matrix:
    """Rows of some images at unit length; in a temporary file where they are large."""
    units = allocate(len(indices), X.shape[1])
    for rows in row_blocks(units):
        block = np.asarray(X[indices[rows]], np.float32)
        lengths = np.linalg.norm(block, axis=1, keepdims=True)
        units[rows] = block / np.where(lengths > 0, lengths, 1)
    return units


def _neighbors(units: Matrix, rows: slice) -> Indices:
    """Indices of the nearest other rows by cosine, in no order: (n_rows, n_neighbors)."""
    cosines = units[rows] @ units.T
    own = np.arange(len(cosines))
    cosines[own, own + rows.start] = -2
    n = min(_N_NEIGHBORS, len(units) - 1)
    nearest: Indices = np.argpartition(-cosines, n - 1, axis=1)[:, :n]
    return nearest


def _windows() -> Matrix:
    """Matrices that cut a window out of a line of pixels and shrink it: (n_windows, 16, 32)."""
    return np.array([_window(start, crop) for crop, start in _placed_crops()], np.float32)


def _placed_crops() -> Iterator[tuple[float, float]]:
    """Each crop, and where its window starts: at one end, in the middle, at the other end."""
    for crop in _CROPS:
        yield from ((crop, start) for start in sorted({0.0, crop / 2, crop}))


def _window(start: float, crop: float) -> npt.NDArray[np.float64]:
    """Area averages of a window: the share of each pixel in each cell."""
    edges = THUMBNAIL_PX * np.linspace(start, start + 1 - crop, _COMPARED_PX + 1)
    pixels = np.arange(THUMBNAIL_PX)
    upper = np.minimum(edges[1:, None], pixels + 1)
    shares = np.maximum(0, upper - np.maximum(edges[:-1, None], pixels))
    return shares / shares.sum(1, keepdims=True)


def _overlay(first: Matrix, second: Matrix, windows: Matrix) -> float:
    """Correlation of two images where they lie best over each other, mirrored or not."""
    return max(_best_of(first, second, windows), _best_of(second, first, windows))


def _best_of(whole: Matrix, cropped: Matrix, windows: Matrix) -> float:
    """Correlation of one image with the best window of another, mirrored or not."""
    lines = windows @ _square(cropped[None])[0]  # Rows cut and shrunk, then columns.
    cut = np.einsum("yij,xkj->yxik", lines, windows, optimize=True)
    target = _standardized(windows[0] @ _square(whole[None])[0] @ windows[0].T)
    cut = _standardized(cut)
    return float(max((cut * target).sum((2, 3)).max(), (cut * target[:, ::-1]).sum((2, 3)).max()))


def _standardized(images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Images with zero mean and unit length, so that products are correlations."""
    images = images - images.mean((-2, -1), keepdims=True)
    lengths = np.sqrt((images**2).sum((-2, -1), keepdims=True))
    return images / np.maximum(lengths, 1e-9)


def _square(rows: Matrix) -> Matrix:
    return np.asarray(rows, np.float32).reshape(len(rows), THUMBNAIL_PX, THUMBNAIL_PX)
