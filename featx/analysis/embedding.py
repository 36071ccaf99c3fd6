"""Spaces of features as maps in two dimensions, one layer after another: `project`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from featx._linalg import slices
from featx.analysis.layouts import LAYOUTS, Layout
from featx.analysis.similarity import (
    N_ROWS,
    Array,
    Indices,
    Space,
)
from featx.errors import ProjectionError
from featx.features.feature_set import FeatureSet
from featx.process.phases import phase

METHODS = tuple(LAYOUTS)
N_NEIGHBORS = 15
_N_JUDGED = 10
"""Neighbours of an image that a map is judged by."""


@dataclass(eq=False)
class Embedding:
    """Places of images in two dimensions, and how far they can be trusted.

    Attributes
    ----------
    name : str
        The layer, or what else the features are.
    method : {"umap", "pca", "tsne"}
    coordinates : array of shape (n_samples, 2), float32
        Centered; on average one unit from the center. Directions and units mean nothing.
    trustworthiness : float
        One less the share of false neighbors in the map, weighted by how false they are [1]_.
    neighbors_kept : float
        Share of the ten nearest images that are still among the ten nearest in the map.

    References
    ----------
    .. [1] Venna and Kaski, "Neighborhood preservation in nonlinear projection methods", ICANN
       2001.
    """

    name: str
    method: str
    coordinates: Array
    trustworthiness: float
    neighbors_kept: float
    _layout: Layout
    _frame: tuple[Array, Array]

    def transform(self, X: npt.ArrayLike) -> Array:
        """Places of further images, whichever others come with them.

        Parameters
        ----------
        X : array of shape (n_new, n_features)

        Returns
        -------
        array of shape (n_new, 2), float32
            By PCA, the projection. By UMAP and t-SNE, among the images that were mapped: the
            mean of the positions of the nearest by cosine, weighted by similarity. An image that
            was embedded gets its own position.
        """
        shift, turn = self._frame
        return ((self._layout.transform(np.asarray(X, np.float32)) - shift) @ turn).astype(
            np.float32
        )

    def to_dict(self) -> dict[str, Any]:
        """The map as plain values, as ``details["maps"]`` of a result has it."""
        return {
            "layer": self.name,
            "method": self.method,
            "coordinates": self.coordinates.round(4).tolist(),
            "trustworthiness": self.trustworthiness,
            "neighbors_kept": self.neighbors_kept,
        }


@overload
def project(
    X: FeatureSet | Mapping[str, npt.ArrayLike],
    method: str = ...,
    *,
    n_neighbors: int = ...,
    random_state: int = ...,
) -> list[Embedding]: ...
@overload
def project(
    X: npt.ArrayLike, method: str = ..., *, n_neighbors: int = ..., random_state: int = ...
) -> Embedding: ...
def project(
    X: Any,
    method: str = "umap",
    *,
    n_neighbors: int = N_NEIGHBORS,
    random_state: int = 0,
) -> Embedding | list[Embedding]:
    """Embed features in two dimensions; those of several layers in aligned embeddings.

    Parameters
    ----------
    X : array of shape (n_samples, n_features), FeatureSet, or dict of str to array
        One feature set; or several of the same images, the blocks of a `FeatureSet` or
        the values of a dict, in order of depth.
    method : {"umap", "pca", "tsne"}, default="umap"
    n_neighbors : int, default=15
        Number of neighbors of UMAP; the perplexity of t-SNE is twice that.
    random_state : int, default=0
        The same seed gives the same bytes, also if there are duplicates among the images.

    Returns
    -------
    Embedding, or list of Embedding
        A list if `X` holds several feature sets. Each embedding is initialized with the one
        before and rotated to match it, so that a class stays where it is.

    Raises
    ------
    ProjectionError
        If the method is unknown, the numbers of rows differ, or there are fewer than four distinct
        rows.

    Notes
    -----
    All distances are cosine distances. UMAP [1]_ gets exact neighbors, computed from the products
    of all pairs of rows, whatever the number of columns. The first embedding is initialized by PCA,
    each of the others by the one before, with fewer epochs. The farthest tenth of UMAP's points is
    moved closer, logarithmically: how far away an island lies has no meaning. Images that are equal
    in all feature sets are embedded once.

    References
    ----------
    .. [1] McInnes, Healy and Melville, "UMAP: Uniform Manifold Approximation and Projection for
       Dimension Reduction", arXiv:1802.03426 (2018).

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(50, 8))
    >>> project(X, "pca").coordinates.shape
    (50, 2)
    >>> [embedding.name for embedding in project({"pool1": X, "fc7": X**2}, "pca")]
    ['pool1', 'fc7']
    """
    parameters = {"n_neighbors": n_neighbors, "random_state": random_state}
    if isinstance(X, FeatureSet):
        X = {name: X.layer(name) for name in X.blocks}
    if isinstance(X, Mapping):
        spaces = {str(name): Space(rows) for name, rows in X.items()}
        return map_spaces(spaces, method, **parameters)
    return map_spaces({"features": Space(X)}, method, **parameters)[0]


@phase("embed")
def map_spaces(
    spaces: Mapping[str, Space],
    method: str = "umap",
    *,
    n_neighbors: int = N_NEIGHBORS,
    random_state: int = 0,
) -> list[Embedding]:
    """Maps of several spaces of the same images, as `project` makes them."""
    if method not in LAYOUTS:
        raise ProjectionError(f"method must be one of {', '.join(METHODS)}; got {method!r}.")
    if len({len(space) for space in spaces.values()}) != 1:
        lengths = ", ".join(f"{name} {len(space)}" for name, space in spaces.items())
        raise ProjectionError(f"All features must be of the same images; got rows: {lengths}.")
    distinct, positions = find_distinct([space.X for space in spaces.values()])
    if len(distinct) < _MIN_DISTINCT:
        raise ProjectionError(
            f"An embedding needs at least {_MIN_DISTINCT} distinct images; got {len(distinct)}."
        )
    maps: list[Embedding] = []
    last: Array | None = None
    for name, space in spaces.items():
        part = space if len(distinct) == len(space) else space.take(distinct)
        layout = LAYOUTS[method](n_neighbors=n_neighbors, random_state=random_state)
        coordinates = layout.fit(part, last)
        frame = _frame(coordinates, last)
        last = ((coordinates - frame[0]) @ frame[1]).astype(np.float32)
        maps.append(
            Embedding(name, method, last[positions], *_judge_map(part, last), layout, frame)
        )
    return maps


_MIN_DISTINCT = 4


def find_distinct(spaces: Sequence[npt.NDArray[Any]]) -> tuple[Indices, Indices]:
    """The first of each group of rows that are equal in all spaces, and which each row's is.

    Returns
    -------
    distinct : array of int, shape (n_distinct,)
        In ascending order.
    positions : array of int, shape (n_samples,)
        Index into `distinct` of the row that each row equals.

    Examples
    --------
    >>> distinct, positions = find_distinct([np.array([[1, 2], [3, 4], [1, 2]])])
    >>> distinct.tolist(), positions.tolist()
    ([0, 1], [0, 1, 0])
    """
    seen: dict[bytes, int] = {}
    distinct: list[int] = []
    positions: list[int] = []
    for i in range(len(spaces[0])):
        digest = hashlib.blake2b(digest_size=16)
        for space in spaces:
            digest.update(space[i].tobytes())
        position = seen.setdefault(digest.digest(), len(distinct))
        if position == len(distinct):
            distinct.append(i)
        positions.append(position)
    return np.array(distinct, np.intp), np.array(positions, np.intp)


def _judge_map(
    space: Space, coordinates: Array, n_neighbors: int = _N_JUDGED
) -> tuple[float, float]:
    """Trustworthiness of a map, and the share of neighbors that it keeps.

    Parameters
    ----------
    space : Space
    coordinates : array of shape (n_samples, 2)
    n_neighbors : int, default=10

    Returns
    -------
    trustworthiness, neighbors_kept : float, 0 to 1
    """
    n = len(space)
    k = min(n_neighbors, max(1, (n - 1) // 2))
    near, _ = space.neighbors(k)
    mapped = _nearest_points(coordinates, k)
    excess = 0.0
    for rows in slices(n, N_ROWS):
        ranks = _ranks(space.cosines(rows), mapped[rows], rows.start)
        excess += float(np.maximum(ranks - k, 0).sum())
    shared = np.mean([len(np.intersect1d(a, b)) for a, b in zip(near, mapped)]) / k
    return 1 - 2 * excess / (n * k * (2 * n - 3 * k - 1)), float(shared)


def _nearest_points(coordinates: Array, k: int) -> Indices:
    """Indices of the k nearest other points of each point, also if several points coincide."""
    from scipy.spatial import cKDTree

    _, near = cKDTree(coordinates).query(coordinates, k + 1)
    is_own = near == np.arange(len(near))[:, None]
    is_own[~is_own.any(axis=1), -1] = True
    return near[~is_own].reshape(len(near), k)


def _ranks(cosines: Array, columns: Indices, first: int) -> npt.NDArray[np.intp]:
    """Rank of some columns among all others of their row, 1 for the nearest."""
    own = np.arange(len(cosines))
    cosines[own, own + first] = -np.inf
    values = np.take_along_axis(cosines, columns, 1)
    nearer = [(cosines > values[:, [position]]).sum(axis=1) for position in range(columns.shape[1])]
    return np.stack(nearer, axis=1) + 1


def _frame(coordinates: Array, last: Array | None) -> tuple[Array, Array]:
    """Shift and turn (with scale) that center a map and lay it on the last, by Procrustes."""
    shift = coordinates.mean(axis=0)
    centered = coordinates - shift
    size = float(np.sqrt((centered.astype(np.float64) ** 2).sum(axis=1).mean()))
    turn = np.eye(2)
    if last is not None:
        left, _, right = np.linalg.svd(centered.astype(np.float64).T @ last.astype(np.float64))
        turn = left @ right
    return shift, (turn / (size or 1.0)).astype(np.float32)
