"""Scatter plots of embeddings, prepared once for the figure and for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.features.results import Result
from featx.figures.palette import (
    FAINT,
    N_PAPER_LOOKS,
    color_of,
    marker_of,
)

_N_SINGLED_OUT = 12
"""Number of groups in color if there are too many to tell apart."""

_COLUMNS = {"class": "labels", "domain": "domains", "split": "splits"}
"""What can color the points, and the column of ``details["points"]`` that has it."""


@dataclass(frozen=True, eq=False)
class ScatterPanel:
    """The embedding of one layer, and how faithful it is.

    Attributes
    ----------
    layer, method : str
    coordinates : ndarray of shape (n_points, 2)
    trustworthiness, neighbors_kept : float or None
        0 to 1.
    """

    layer: str
    method: str
    coordinates: npt.NDArray[np.float64]
    trustworthiness: float | None
    neighbors_kept: float | None


@dataclass(frozen=True, eq=False)
class ScatterData:
    """Embeddings of the same images, and what is known of each image.

    Attributes
    ----------
    panels : tuple of ScatterPanel
    groups : tuple of str
        Of each point, by which figures color it.
    points : dict
        ``paths``, ``labels``, ``domains``, ``splits``, ``predicted`` of each point, None where
        unknown.
    """

    panels: tuple[ScatterPanel, ...]
    groups: tuple[str, ...]
    points: Mapping[str, Any]

    @property
    def modes(self) -> dict[str, list[Any]]:
        """Each way to color the points that is known, and the category of every point."""
        known = {name: self.points.get(column) for name, column in _COLUMNS.items()}
        modes = {name: list(values) for name, values in known.items() if values}
        labels, predicted = self.points.get("labels"), self.points.get("predicted")
        if labels and predicted:
            modes["correct"] = [_judgement(*pair) for pair in zip(labels, predicted)]
        return modes


@dataclass(frozen=True, eq=False)
class Group:
    """Points that look the same, by their indices."""

    name: str
    indices: npt.NDArray[np.intp]
    color: str
    marker: str


def prepare_scatter(result: Result) -> ScatterData | None:
    """Embeddings of a result, None where it has none.

    Examples
    --------
    >>> embedding = {"layer": "fc7", "method": "pca", "coordinates": [[0, 0], [1, 1]]}
    >>> result = Result("umap", "photos", [], details={"maps": [embedding]})
    >>> prepare_scatter(result).panels[0].coordinates.shape
    (2, 2)
    """
    maps = result.details.get("maps")
    if not maps:
        return None
    panels = tuple(_panel(entry) for entry in maps)
    points = result.details.get("points") or {}
    groups = result.details.get("groups") or points.get("labels")
    return ScatterData(panels, tuple(groups or ["image"] * len(panels[0].coordinates)), points)


def square_extent(spaces: Sequence[npt.NDArray[Any]], margin: float) -> list[tuple[float, float]]:
    """Ends of both axes, equally far apart, that hold every finite point of all embeddings.

    Parameters
    ----------
    spaces : sequence of ndarray of shape (n_points, 2)
    margin : float
        Beyond the outermost points, as a fraction of the length of an axis.

    Examples
    --------
    >>> square_extent([np.array([[0.0, 0.0], [2.0, 1.0]])], margin=0.5)
    [(-0.5, 2.5), (-1.0, 2.0)]
    """
    points = np.concatenate(spaces)
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return [(0.0, 1.0), (0.0, 1.0)]
    low, high = points.min(axis=0), points.max(axis=0)
    half = float((high - low).max() / 2 * (1 + margin)) or 1.0
    return [(float(center - half), float(center + half)) for center in (low + high) / 2]


def find_groups(data: ScatterData) -> tuple[list[Group], str]:
    """Groups as they are drawn, those in the background first, and a note on the choice.

    Returns
    -------
    groups : list of Group
    note : str
        Empty where all groups are shown.

    Notes
    -----
    Up to 24 groups differ in color and marker. Of more, twelve are singled out, spread evenly
    from the one with the purest neighborhoods in the last embedding to the one with the least
    pure, and the others are gray.
    """
    names = np.asarray(data.groups, str)
    every = np.unique(names).tolist()
    if len(every) <= N_PAPER_LOOKS:
        return _colored(names, every), ""
    last = data.panels[-1]
    chosen = _spread_by_purity(names, last.coordinates)
    others = Group(
        name=f"{len(every) - len(chosen)} more",
        indices=np.flatnonzero(~np.isin(names, chosen)),
        color=FAINT,
        marker="o",
    )
    note = (
        f"{len(chosen)} of {len(every)} classes in color, from the one that lies together "
        f"best in the map{f' of {last.layer}' if last.layer else ''} to the one that does least"
    )
    return [others, *_colored(names, chosen)], note


def _panel(entry: Mapping[str, Any]) -> ScatterPanel:
    return ScatterPanel(
        layer=str(entry["layer"]),
        method=str(entry.get("method") or ""),
        coordinates=np.asarray(entry["coordinates"], float).reshape(-1, 2),
        trustworthiness=entry.get("trustworthiness"),
        neighbors_kept=entry.get("neighbors_kept"),
    )


def _judgement(true: str, predicted: str | None) -> str:
    if predicted in (None, ""):
        return "not judged"
    return "right" if true == predicted else "wrong"


def _colored(names: npt.NDArray[Any], chosen: Sequence[str]) -> list[Group]:
    return [
        Group(name, np.flatnonzero(names == name), color_of(i), marker_of(i))
        for i, name in enumerate(chosen)
    ]


def _spread_by_purity(names: npt.NDArray[Any], coordinates: npt.NDArray[Any]) -> list[str]:
    """Names spread evenly over the order of how many neighbors share them."""
    from scipy.spatial import cKDTree

    k = min(11, len(names))
    near = cKDTree(coordinates).query(coordinates, k)[1]
    same = (names[near] == names[:, None]).mean(axis=1)
    groups, sizes = np.unique(names, return_counts=True)
    # The purity of a class of one or two images means nothing.
    large = groups[sizes >= max(3, np.median(sizes) / 4)]
    purity = np.array([same[names == name].mean() for name in large])
    order = large[np.lexsort((large, -purity))]
    indices = np.linspace(0, len(order) - 1, min(_N_SINGLED_OUT, len(order))).round().astype(int)
    return [str(name) for name in order[indices]]
