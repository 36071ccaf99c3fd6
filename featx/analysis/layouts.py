"""The three ways to lay a space out in two dimensions: UMAP, PCA and t-SNE."""

from __future__ import annotations

import warnings
from typing import Any, Protocol

import numpy as np

from featx._linalg import column_blocks, fix_signs, leading_axes, row_blocks, slices
from featx.analysis.similarity import N_ROWS, Array, Space

_N_EPOCHS_FIRST, _N_EPOCHS_NEXT = 300, 200
_LEARNING_RATE = 0.5
"""Half of UMAP's own: maps of six layers of flowers17 keep up to 2 % more neighbors."""

_SHARE_USUAL = 0.9
_N_COMPONENTS = 50
_INIT_RADIUS = 10.0
"""What UMAP brings a first map to; one that moves on starts as large."""


class Layout(Protocol):
    """A way to lay out the rows of a space, and later rows among them."""

    def __init__(self, *, n_neighbors: int, random_state: int) -> None: ...

    def fit(self, space: Space, start: Array | None = None) -> Array:
        """Places (n_samples, 2) of the rows, moved on from `start` where that is possible."""

    def transform(self, X: Array) -> Array:
        """Places (n_new, 2) of further rows."""


class _PCALayout:
    """The two directions in which rows of unit length differ most."""

    def __init__(self, *, n_neighbors: int = 15, random_state: int = 0) -> None:
        """Do nothing: there is neither randomness nor a search for neighbors."""

    def fit(self, space: Space, start: Array | None = None) -> Array:
        """Places of the rows; `start` plays no part."""
        self._axes = _principal_axes(space, 2)
        return self.transform(space.X)

    def transform(self, X: Array) -> Array:
        """Further rows on the same axes."""
        return _onto(self._axes, X)


class _NeighborLayout:
    """What UMAP and t-SNE share: later rows are put among the nearest that were fitted."""

    def __init__(self, *, n_neighbors: int = 15, random_state: int = 0) -> None:
        self.n_neighbors = n_neighbors
        self.random_state = random_state

    def fit(self, space: Space, start: Array | None = None) -> Array:
        """Places of the rows, moved on from `start`; the first time from PCA."""
        self._space = space
        first = start if start is not None else _onto(_principal_axes(space, 2), space.X)
        if not first.any():  # Nothing differs: no direction is better than another.
            rng = np.random.default_rng(self.random_state)
            first = rng.standard_normal(first.shape, np.float32)
        self._places = self._lay_out(space, first, start is None)
        return self._places

    def transform(self, X: Array) -> Array:
        """Mean of the positions of the nearest fitted rows, weighted by similarity."""
        space, positions = self._space, []
        fitted = space.X * space.scales[:, None]
        for rows in slices(len(X), N_ROWS):
            apart = np.maximum(1 - _unit(X[rows]) @ fitted.T, 0)
            near = np.argsort(apart, axis=1, kind="stable")[:, : self.n_neighbors]
            weights = _likeness(np.take_along_axis(apart, near, 1))
            positions.append(np.einsum("ij,ijk->ik", weights, self._places[near]))
        return np.concatenate(positions).astype(np.float32)

    def _lay_out(self, space: Space, start: Array, is_first: bool) -> Array:
        raise NotImplementedError


class _UMAPLayout(_NeighborLayout):
    """UMAP on exact neighbors by cosine."""

    def _lay_out(self, space: Space, start: Array, is_first: bool) -> Array:
        n_neighbors = min(self.n_neighbors, len(space) - 1)
        with warnings.catch_warnings():
            # That it runs on one core under a seed, and cannot transform without an index.
            warnings.simplefilter("ignore")
            from umap import UMAP

            model = UMAP(
                n_neighbors=n_neighbors,
                n_epochs=_N_EPOCHS_FIRST if is_first else _N_EPOCHS_NEXT,
                learning_rate=_LEARNING_RATE,
                init=_scaled(start, _INIT_RADIUS),
                precomputed_knn=_with_self(space, n_neighbors),
                random_state=self.random_state,
                n_jobs=1,
            )
            # UMAP only uses its length: neighbors and initial positions are passed in.
            return _islands_nearer(np.asarray(model.fit_transform(start), np.float32))


class _TSNELayout(_NeighborLayout):
    """t-SNE on the first fifty principal directions of rows of unit length."""

    def _lay_out(self, space: Space, start: Array, is_first: bool) -> Array:
        from sklearn.manifold import TSNE

        axes = _principal_axes(space, _N_COMPONENTS)
        perplexity = min(2.0 * self.n_neighbors, (len(space) - 1) / 3)
        model = TSNE(
            perplexity=perplexity,
            init=_scaled(start, 1e-4),
            learning_rate="auto",
            random_state=self.random_state,
        )
        return np.asarray(model.fit_transform(_onto(axes, space.X)), np.float32)


LAYOUTS: dict[str, type[Any]] = {"umap": _UMAPLayout, "pca": _PCALayout, "tsne": _TSNELayout}


def _principal_axes(space: Space, n_wanted: int) -> tuple[Array, Array]:
    """Mean of the unit rows, and the orthogonal directions in which they differ most."""
    n_rows, n_columns = space.X.shape
    center = np.asarray(space.scales @ space.X / n_rows, np.float32)
    axes = np.zeros((n_wanted, n_columns), np.float32)
    n_found = min(n_wanted, n_rows - 1, n_columns)
    find = _axes_of_products if n_columns > n_rows else _axes_of_columns
    axes[:n_found] = find(space, center, n_found)
    return center, fix_signs(axes.T).T


def _axes_of_columns(space: Space, center: Array, n_wanted: int) -> Array:
    rows = space.X * space.scales[:, None] - center
    _, axes = leading_axes(rows.T @ rows, n_wanted)
    return np.asarray(axes.T, np.float32)


def _axes_of_products(space: Space, center: Array, n_wanted: int) -> Array:
    """Those of wide rows, which are never copied: by the products of all pairs."""
    gram = space.cosines()
    mean = gram.mean(axis=0)
    gram += mean.mean() - mean - mean[:, None]
    squares, weights = leading_axes(gram, n_wanted)
    weights /= np.sqrt(np.maximum(squares, _TINY))
    scaled = (weights * space.scales[:, None]).T
    # Block by block: in one product NumPy would copy all of X as float64.
    axes = np.concatenate([scaled @ space.X[:, part] for part in column_blocks(space.X)], axis=1)
    return np.asarray(axes - weights.sum(axis=0)[:, None] * center, np.float32)


def _onto(axes: tuple[Array, Array], X: Array) -> Array:
    """Unit rows on some axes, a block of rows at a time: wide rows are never copied whole."""
    mean, directions = axes
    coordinates = np.empty((len(X), len(directions)), np.float32)
    for rows in row_blocks(X):
        coordinates[rows] = (_unit(X[rows]) - mean) @ directions.T
    return coordinates


def _unit(X: Array) -> Array:
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    return np.divide(X, norms, out=np.zeros_like(X, np.float32), where=norms > 0)


def _with_self(space: Space, n_neighbors: int) -> tuple[Any, Array]:
    """Neighbours as UMAP wants them: each row is its own first."""
    near, apart = space.neighbors(n_neighbors - 1)
    own = np.arange(len(space))[:, None]
    return np.hstack([own, near]), np.hstack([np.zeros_like(apart[:, :1]), apart])


def _islands_nearer(positions: Array) -> Array:
    """Places around their middle; the farthest tenth drawn nearer, by the logarithm.

    What no neighbor holds drifts away, and how far means nothing: it only takes the room of the
    rest.
    """
    centered = positions - np.median(positions, axis=0)
    far = np.linalg.norm(centered, axis=1, keepdims=True)
    usual = max(float(np.quantile(far, _SHARE_USUAL)), _TINY)
    nearer = usual * (1 + np.log(np.maximum(far / usual, 1)))
    return np.asarray(centered * np.where(far > usual, nearer / np.maximum(far, _TINY), 1))


def _scaled(start: Array, radius: float) -> Array:
    """A start around its middle, its largest coordinate at `radius`."""
    centered = start - np.median(start, axis=0)
    return np.asarray(centered * (radius / max(float(np.abs(centered).max()), _TINY)), np.float32)


def _likeness(apart: Array) -> Array:
    """Weights of neighbors at some distances, nearest first; all of it to one that is equal."""
    nearest = apart[:, :1]
    width = np.maximum(apart.mean(axis=1, keepdims=True) - nearest, _TINY)
    weights = np.exp(-(apart - nearest) / width)
    # Within rounding an image that was mapped is itself, and gets its own position.
    weights[:, 1:] *= nearest > _TINY
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


_TINY = 1e-6
