"""How well classes gather in a space of features: purity, silhouette, k-means, dimension, CKA."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from featx._linalg import slices
from featx.analysis.similarity import (
    N_ROWS,
    Array,
    Indices,
    Space,
)
from featx.errors import ProjectionError
from featx.evaluation.scores import bootstrap_interval
from featx.features.columns import Column, register_columns
from featx.process.phases import phase

N_NEIGHBORS = 10
_N_STARTS = 3
_SHARE_DISCARDED = 0.1

Values = npt.NDArray[np.float64]

_measures: list[_Measure] = []
_depth_column = partial(Column, commands=("depth",), has_curve=True)


@phase("metrics")
def measure(space: Space, labels: npt.ArrayLike, *, random_state: int = 0) -> dict[str, Any]:
    """Every measure of one layer, under the names of the rows of `featx.depth_profile`.

    Parameters
    ----------
    space : Space
    labels : array of shape (n_samples,)
        The class of each row.
    random_state : int, default=0
        Of k-means, the bootstrap and the shuffling of the labels.

    Returns
    -------
    dict of str to float
        ``purity`` and ``silhouette`` with the ends of their 95 % intervals (``_low``, ``_high``)
        and ``nmi`` and ``ari``, all with their values under shuffled labels (``_shuffled``);
        ``intrinsic_dimension``.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = np.repeat(np.eye(2), 20, axis=0) + 0.01 * rng.normal(size=(40, 2))
    >>> row = measure(Space(X), np.repeat(["a", "b"], 20))
    >>> row["purity"], row["ari"]
    (1.0, 1.0)
    """
    layer = _Layer(space, np.asarray(labels), random_state)
    row: dict[str, Any] = {}
    for each in _measures:
        row |= each.report(layer)
    return row


def measure_names() -> list[str]:
    """Names of the measures of a layer, in the order of their columns."""
    return [column.name for each in _measures for column in each.columns]


@dataclass(frozen=True)
class _Layer:
    """Space and labels of a layer, and what several measures need of them."""

    space: Space
    labels: npt.NDArray[Any]
    random_state: int

    @cached_property
    def shuffled(self) -> npt.NDArray[Any]:
        return np.random.default_rng(self.random_state).permutation(self.labels)

    @cached_property
    def near(self) -> Indices:
        return self.space.neighbors(N_NEIGHBORS)[0]

    @cached_property
    def clusters(self) -> Indices:
        n_classes = len(np.unique(self.labels))
        return _find_clusters(self.space, n_classes, random_state=self.random_state)


@dataclass(frozen=True)
class _Measure:
    """A function of a layer and labels, and the columns that report it."""

    columns: tuple[Column, ...]
    compute: Callable[[_Layer, npt.NDArray[Any]], Any]
    has_control: bool

    def report(self, layer: _Layer) -> dict[str, Any]:
        """Values under the true labels, and their means under shuffled ones."""
        row: dict[str, Any] = {}
        for name, value in self._by_name(layer, layer.labels).items():
            if isinstance(value, np.ndarray):
                row |= _with_interval(name, value, layer.random_state)
            else:
                row[name] = value
        if not self.has_control:
            return row
        for name, value in self._by_name(layer, layer.shuffled).items():
            row[f"{name}_shuffled"] = None if value is None else float(np.mean(value))
        return row

    def _by_name(self, layer: _Layer, labels: npt.NDArray[Any]) -> dict[str, Any]:
        value = self.compute(layer, labels)
        return value if isinstance(value, dict) else {self.columns[0].name: value}


def _reported(*columns: Column, has_control: bool = True) -> Callable[..., Any]:
    """Make a function of a layer and labels a measure of each layer: this is all it takes.

    It returns a value per image (their mean is reported, with an interval), a number or None; of
    several columns a dict by their names. `has_control` measures shuffled labels as well. The rows
    of `featx.depth_profile`, the terminal, the page and the figures take it up from here.
    """
    register_columns(*columns)

    def add(compute: Callable[..., Any]) -> Callable[..., Any]:
        _measures.append(_Measure(columns, compute, has_control))
        return compute

    return add


def _neighborhood_purity(near: Indices, labels: npt.ArrayLike) -> Values:
    """Share of each row's neighbors that are of its class.

    Parameters
    ----------
    near : array of int, shape (n_samples, n_neighbors)
        As `Space.neighbors` gives them: no row is its own neighbor.
    labels : array of shape (n_samples,)

    Returns
    -------
    array of shape (n_samples,), between 0 and 1

    Examples
    --------
    >>> _neighborhood_purity(np.array([[1, 2], [0, 2], [1, 0]]), ["a", "a", "b"]).tolist()
    [0.5, 0.5, 0.0]
    """
    labels = np.asarray(labels)
    return (labels[near] == labels[:, None]).mean(axis=1)


@_reported(
    _depth_column("purity", "Purity", unit="share", axis="unit", is_main=True, controls=("random",))
)
def _purity(layer: _Layer, labels: npt.NDArray[Any]) -> Values:
    return _neighborhood_purity(layer.near, labels)


def silhouette(space: Space, labels: npt.ArrayLike) -> Values:
    """Silhouette of each row by cosine distance [1]_.

    Parameters
    ----------
    space : Space
    labels : array of shape (n_samples,)

    Returns
    -------
    array of shape (n_samples,), between -1 and 1
        How much nearer the row's own class is than the nearest other; 0 for one of its own.

    Raises
    ------
    ProjectionError
        If there is only one class.

    References
    ----------
    .. [1] Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of
       cluster analysis", J. Comput. Appl. Math. 20 (1987) 53-65.

    Examples
    --------
    >>> space = Space(np.array([[1, 0], [1, 0], [0, 1], [0, 1]]))
    >>> silhouette(space, ["a", "a", "b", "b"]).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    classes, own = np.unique(np.asarray(labels), return_inverse=True)
    if len(classes) < 2:
        raise ProjectionError(f"silhouette needs two or more classes; got {len(classes)}.")
    members = np.eye(len(classes), dtype=np.float32)[own]  # (n, n_classes)
    sizes = members.sum(axis=0, dtype=np.float64)
    sums = np.concatenate([space.cosines(rows) @ members for rows in slices(len(space), N_ROWS)])
    sums = sums.astype(np.float64)
    indices = np.arange(len(space))
    to_itself = (space.scales > 0).astype(np.float64)
    others = np.maximum(sizes[own] - 1, 1)
    within = 1 - (sums[indices, own] - to_itself) / others
    apart = 1 - sums / sizes
    apart[indices, own] = np.inf
    between = apart.min(axis=1)
    largest = np.maximum(np.maximum(within, between), np.finfo(np.float32).eps)
    return np.where(sizes[own] > 1, (between - within) / largest, 0.0)


@_reported(_depth_column("silhouette", "Silhouette", axis="signed", is_main=True))
def _silhouette(layer: _Layer, labels: npt.NDArray[Any]) -> Values:
    return silhouette(layer.space, labels)


def _find_clusters(space: Space, n_clusters: int, *, random_state: int = 0) -> Indices:
    """Cluster of each row by k-means on rows of unit length.

    Parameters
    ----------
    space : Space
    n_clusters : int
    random_state : int, default=0

    Returns
    -------
    array of int, shape (n_samples,)

    Examples
    --------
    >>> clusters = _find_clusters(Space(np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]])), 2)
    >>> bool(clusters[0] == clusters[1] != clusters[2] == clusters[3])
    True
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    means = KMeans(n_clusters, n_init=_N_STARTS, random_state=random_state)
    with warnings.catch_warnings():
        # A dead layer may have fewer distinct rows than classes: fewer clusters are fine then.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.asarray(means.fit_predict(space.span()), np.intp)


def _clustering_agreement(clusters: Indices, labels: npt.ArrayLike) -> dict[str, float]:
    """How well clusters are the classes.

    Parameters
    ----------
    clusters : array of int, shape (n_samples,)
    labels : array of shape (n_samples,)

    Returns
    -------
    dict
        ``nmi``, the normalized mutual information, 0 to 1; ``ari``, the adjusted Rand index, 0
        by chance, 1 at best.

    Examples
    --------
    >>> _clustering_agreement(np.array([1, 1, 0]), ["a", "a", "b"])
    {'nmi': 1.0, 'ari': 1.0}
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    return {
        "nmi": float(normalized_mutual_info_score(labels, clusters)),
        "ari": float(adjusted_rand_score(labels, clusters)),
    }


@_reported(_depth_column("nmi", "NMI", axis="unit"), _depth_column("ari", "ARI", axis="unit"))
def _agreement(layer: _Layer, labels: npt.NDArray[Any]) -> dict[str, float]:
    return _clustering_agreement(layer.clusters, labels)


def intrinsic_dimension(space: Space) -> float | None:
    """Number of dimensions that the rows fill, by the two nearest neighbors of each [1]_.

    Parameters
    ----------
    space : Space

    Returns
    -------
    float or None
        None where fewer than ten rows differ from their neighbors.

    Notes
    -----
    As in [1]_: Euclidean distances, the largest tenth of the ratios left out, a line through
    the origin. Rows that are equal to another are left out.

    References
    ----------
    .. [1] Facco et al., "Estimating the intrinsic dimension of datasets by a minimal
       neighborhood information", Scientific Reports 7 (2017) 12140.

    Examples
    --------
    >>> line = np.random.default_rng(0).random((500, 1)) * np.ones(5)
    >>> round(intrinsic_dimension(Space(line)))
    1
    """
    nearest = space.two_nearest()
    nearest = nearest[nearest[:, 0] > 0]
    n_kept = int((1 - _SHARE_DISCARDED) * len(nearest))
    if n_kept < _MIN_RATIOS:
        return None
    ratios = np.log(np.sort(nearest[:, 1] / nearest[:, 0])[:n_kept].astype(np.float64))
    below = np.arange(1, n_kept + 1) / len(nearest)
    total = float(ratios @ ratios)
    return float(ratios @ -np.log1p(-below)) / total if total > 0 else None


@_reported(
    _depth_column("intrinsic_dimension", "Intrinsic dimension", short="dimension"),
    has_control=False,
)
def _intrinsic_dimension(layer: _Layer, _: npt.NDArray[Any]) -> float | None:
    return intrinsic_dimension(layer.space)


_MIN_RATIOS = 10


@phase("metrics")
def cka_matrix(spaces: Sequence[Space]) -> Values:
    """Linear CKA of each space with each: similarity whatever the rotation and scale [1]_.

    Parameters
    ----------
    spaces : sequence of Space
        Of the same images in the same order.

    Returns
    -------
    array of shape (n_spaces, n_spaces)
        Between 0 and 1; 0 for a space in which all rows are equal.

    References
    ----------
    .. [1] Kornblith et al., "Similarity of Neural Network Representations Revisited",
       ICML 2019.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(20, 3))
    >>> round(float(cka_matrix([Space(X), Space(-2 * X[:, ::-1])])[0, 1]), 6)
    1.0
    """
    forms = [_centered(space) for space in spaces]
    shared = np.zeros((len(spaces), len(spaces)))
    for i in range(len(spaces)):
        for j in range(i + 1):
            shared[i, j] = shared[j, i] = _inner(forms[i], forms[j])
    own = np.sqrt(shared.diagonal())
    norms = np.outer(own, own)
    return np.clip(np.divide(shared, norms, out=np.zeros_like(shared), where=norms > 0), 0, 1)


def _with_interval(name: str, values: Values, random_state: int) -> dict[str, float]:
    mean, low, high = bootstrap_interval(values, random_state=random_state)
    return {name: mean, f"{name}_low": low, f"{name}_high": high}


def _centered(space: Space) -> tuple[Array, bool]:
    """Centered columns, or of wide features the centered products of rows; and whether these."""
    if space.X.shape[1] <= len(space):
        return space.X - space.X.mean(axis=0), False
    return space.products, True


def _inner(first: tuple[Array, bool], second: tuple[Array, bool]) -> float:
    """Inner product of two spaces' centered products of rows."""
    (X, X_is_gram), (Y, Y_is_gram) = first, second
    if not X_is_gram and not Y_is_gram:
        crossed = X.T @ Y
        return _sum_of_products(crossed, crossed)
    if X_is_gram and Y_is_gram:
        return _sum_of_products(X, Y)
    gram, columns = (X, Y) if X_is_gram else (Y, X)
    return _sum_of_products(gram @ columns, columns)


def _sum_of_products(a: Array, b: Array) -> float:
    return float(np.einsum("ij,ij->i", a, b).sum(dtype=np.float64))
