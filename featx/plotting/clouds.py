"""Maps of layers side by side: same pictures, same colours, same scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from featx.plotting.style import (
    FAINT,
    N_LOOKS,
    QUIET,
    WIDTH,
    color_of,
    house_style,
    marker_of,
    place_axes,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

N_COLUMNS = 3
N_SINGLED_OUT = 12
MANY_POINTS = 20_000
N_PARTS = 6
METHODS = {"umap": "UMAP", "pca": "PCA", "tsne": "t-SNE"}
GAP, CAPTION, MARGIN, LINE = 0.12, 0.36, 0.06, 0.165
"""Inches: between panels, above each, around all, and a line of the legend."""


@dataclass(frozen=True)
class Group:
    """Points that look the same."""

    name: str
    places: npt.NDArray[np.intp]
    color: str
    marker: str


def draw_maps(
    maps: Sequence[dict[str, Any]],
    groups: Sequence[str],
    *,
    title: str = "",
    n_columns: int = N_COLUMNS,
    width: float = WIDTH,
) -> Figure:
    """Maps as small multiples, coloured by group, each with what may be believed of it.

    Parameters
    ----------
    maps : sequence of dict
        With ``layer``, ``method``, ``coordinates``, ``trustworthiness``, ``neighbors_kept``, of
        the same pictures in the same order.
    groups : sequence of str
        Of each picture: its class, domain, or split.
    title : str, optional
    n_columns : int, default=3
    width : float, default=7
        In inches.

    Returns
    -------
    matplotlib.figure.Figure

    Notes
    -----
    Up to 24 groups differ in colour and shape. Of more, twelve are singled out, spread evenly
    from the one that lies together best in the last map to the one that does least, and the
    others are grey.

    Examples
    --------
    >>> one = {"layer": "fc7", "method": "pca", "coordinates": [[0, 0], [1, 1], [2, 0]],
    ...        "trustworthiness": 1.0, "neighbors_kept": 1.0}
    >>> len(draw_maps([one, one], ["a", "b", "a"]).axes)
    2
    """
    n_columns = min(n_columns, len(maps) if len(maps) != 4 else 2)
    n_lines = -(-len(maps) // n_columns)
    width = min(width, 2 * MARGIN + n_columns * 4.2)
    side = (width - 2 * MARGIN - (n_columns - 1) * GAP) / n_columns
    shown, note = find_groups(groups, maps[-1]["coordinates"], str(maps[-1]["layer"]))
    head = 0.28 if title else 0.0
    foot = _legend_height(shown, note, width)
    height = head + n_lines * (side + CAPTION) + foot + 2 * MARGIN
    with house_style():
        figure = Figure((width, height))
        for place, item in enumerate(maps):
            line, column = divmod(place, n_columns)
            left = MARGIN + column * (side + GAP)
            bottom = height - MARGIN - head - (line + 1) * (side + CAPTION)
            axes = place_axes(figure, left, bottom, side, side)
            _draw_map(axes, item, shown, n_points=len(groups), is_many=len(maps) > 1)
            _caption(axes, item, side)
        _set_limits(figure.axes, maps)
        if title:
            place_of_title = (MARGIN / width, 1 - MARGIN / height)
            figure.text(*place_of_title, shortened(title, 90), va="top", fontsize=9, weight="bold")
        _add_legend(figure, shown, note)
        return figure


def find_groups(
    groups: Sequence[str], coordinates: Any, layer: str = ""
) -> tuple[list[Group], str]:
    """Groups as they are drawn, those in the background first, and a note on the choice.

    Parameters
    ----------
    groups : sequence of str
        Of each point.
    coordinates : array of shape (n_points, 2)
        Of the map by which, of many groups, those to single out are chosen.
    layer : str, optional
        What the note calls that map.

    Returns
    -------
    groups : list of Group
    note : str
        Empty where all groups are shown.
    """
    names = np.asarray(groups, str)
    all_names = np.unique(names)
    if len(all_names) <= N_LOOKS:
        return [
            Group(name, np.flatnonzero(names == name), color_of(i), marker_of(i))
            for i, name in enumerate(all_names)
        ], ""
    chosen = _spread_by_purity(names, np.asarray(coordinates, float))
    rest = np.flatnonzero(~np.isin(names, chosen))
    singled = [
        Group(name, np.flatnonzero(names == name), color_of(i), marker_of(i))
        for i, name in enumerate(chosen)
    ]
    others = Group(f"{len(all_names) - len(chosen)} more", rest, FAINT, "o")
    note = (
        f"{len(chosen)} of {len(all_names)} classes in colour, from the one that lies together "
        f"best in the map{f' of {layer}' if layer else ''} to the one that does least"
    )
    return [others, *singled], note


def _spread_by_purity(names: npt.NDArray[Any], coordinates: Any) -> list[str]:
    """Names spread evenly over the order of how well their points lie together."""
    from scipy.spatial import cKDTree

    k = min(11, len(names))
    near = cKDTree(coordinates).query(coordinates, k)[1]
    same = (names[near] == names[:, None]).mean(axis=1)
    found, sizes = np.unique(names, return_counts=True)
    # A class of one or two pictures lies nowhere.
    large = found[sizes >= max(3, np.median(sizes) / 4)]
    purity = np.array([same[names == name].mean() for name in large])
    order = large[np.lexsort((large, -purity))]
    places = np.linspace(0, len(order) - 1, min(N_SINGLED_OUT, len(order))).round().astype(int)
    return [str(name) for name in order[places]]


def _draw_map(
    axes: Axes, item: dict[str, Any], shown: Sequence[Group], *, n_points: int, is_many: bool
) -> None:
    points = np.asarray(item["coordinates"], float)
    largest = 8 if is_many else 24
    n_in_color = sum(len(group.places) for group in shown if group.color != FAINT)
    size, small = (float(np.clip(8000 / max(n, 1), 1.4, largest)) for n in (n_in_color, n_points))
    for order, group, places in _shuffled_parts(shown):
        is_background = group.color == FAINT
        axes.scatter(
            points[places, 0],
            points[places, 1],
            s=small if is_background else size * (1.2 if group.marker == "^" else 1.0),
            c=group.color,
            marker=group.marker,
            alpha=0.85,
            linewidths=0,
            zorder=1 if is_background else 2 + order / 1e6,
            rasterized=n_points > MANY_POINTS,
        )
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, color="#c8c8c8", linewidth=0.6)


def _shuffled_parts(shown: Sequence[Group]) -> Iterator[tuple[int, Group, Any]]:
    """Parts of all groups in turn, so that no group lies on top of all others."""
    rng = np.random.default_rng(0)
    parts = [np.array_split(rng.permutation(group.places), N_PARTS) for group in shown]
    for turn in range(N_PARTS):
        for i, group in enumerate(shown):
            yield turn * len(shown) + i, group, parts[i][turn]


def _caption(axes: Axes, item: dict[str, Any], side: float) -> None:
    trust, kept = item.get("trustworthiness"), item.get("neighbors_kept")
    name = shortened(str(item["layer"]), int(side * 13))
    axes.annotate(
        name, (0, 1), (0, 14), "axes fraction", "offset points", weight="bold", fontsize=8.5
    )
    if trust is not None and kept is not None:
        text = f"trustworthiness {trust:.2f}, neighbours kept {kept:.0%}"
        axes.annotate(
            text, (0, 1), (0, 4), "axes fraction", "offset points", fontsize=6.5, color=QUIET
        )


def _set_limits(panels: Sequence[Axes], maps: Sequence[dict[str, Any]]) -> None:
    """The same square on all maps, as small as holds every point of each."""
    every = np.concatenate([np.asarray(item["coordinates"], float) for item in maps])
    low, high = every.min(axis=0), every.max(axis=0)
    middle, reach = (low + high) / 2, float((high - low).max()) / 2 * 1.04 or 1.0
    for axes in panels:
        axes.set_xlim(middle[0] - reach, middle[0] + reach)
        axes.set_ylim(middle[1] - reach, middle[1] + reach)
        axes.set_aspect("equal")


def _legend_height(shown: Sequence[Group], note: str, width: float) -> float:
    n_lines = -(-len(shown) // _legend_columns(shown, width))
    return 0.1 + LINE * (n_lines + bool(note))


def _legend_columns(shown: Sequence[Group], width: float) -> int:
    """As many columns as names have room for."""
    longest = max(len(shortened(group.name)) for group in shown)
    return int(np.clip((width - 2 * MARGIN) / (0.3 + 0.067 * longest), 1, len(shown)))


def _add_legend(figure: Figure, shown: Sequence[Group], note: str) -> None:
    from matplotlib.lines import Line2D

    width, height = figure.get_size_inches()
    ordered = [*[g for g in shown if g.color != FAINT], *[g for g in shown if g.color == FAINT]]
    lines = [
        Line2D(
            [], [], linestyle="", marker=group.marker, color=group.color, markersize=4.5,
            markeredgewidth=0, label=shortened(group.name),
        )
        for group in ordered
    ]  # fmt: skip
    figure.legend(
        handles=lines, loc="lower left", ncols=_legend_columns(shown, width), borderpad=0,
        bbox_to_anchor=(MARGIN / width, MARGIN / height), borderaxespad=0, handletextpad=0.1,
        columnspacing=1.0, labelspacing=0.35, fontsize=7,
    )  # fmt: skip
    if note:
        n_lines = -(-len(shown) // _legend_columns(shown, width))
        up = (MARGIN + LINE * n_lines + 0.03) / height
        figure.text(MARGIN / width, up, note, fontsize=6.5, color=QUIET, va="bottom")
