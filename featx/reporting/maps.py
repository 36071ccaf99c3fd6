"""Maps of one set of pictures at several layers, linked: brushed in one, seen in all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featx.reporting.palettes import UNKNOWN_COLOR, color_of, shape_of
from featx.reporting.sampling import Indices, sample_points
from featx.reporting.wording import clean

if TYPE_CHECKING:
    from bokeh.models import BoxSelectTool, CDSView, ColumnDataSource
    from bokeh.plotting import figure

MODES = {"labels": "class", "domains": "domain", "splits": "split"}
"""Columns of points that colour them, and how each is called."""

UNKNOWN = "(none)"
MARGIN = 0.06
RING_PX = 15


@dataclass
class Maps:
    """What the page needs of one result's maps.

    Attributes
    ----------
    roots : dict of str to Bokeh figure
        By the place they go to: ``walk``, then ``0``, ``1``, ... for each layer.
    layers : list of dict
        Name, trustworthiness and kept neighbours of each map, in order.
    payload : dict
        What the page's script reads: names, classes, legends.
    paths : list of str
        Pictures drawn, as the result calls them.
    n_points, n_drawn : int
    """

    roots: dict[str, Any]
    layers: list[dict[str, Any]]
    payload: dict[str, Any]
    paths: list[str]
    n_points: int
    n_drawn: int


def draw_maps(details: dict[str, Any], key: str, color: str | None = None) -> Maps | None:
    """Linked maps of a result, None where it has none.

    Parameters
    ----------
    details : dict
        A result's, with ``maps`` and ``points``.
    key : str
        Tells these maps from others on the page.
    color : {"class", "domain", "split", "correct"}, optional
        What colours the points at first; by default the first that is known.
    """
    maps, points = details.get("maps"), details.get("points")
    if not maps or not points or not points.get("paths"):
        return None
    paths = points["paths"]
    kept = sample_points(len(paths), points.get("labels"))
    spaces = [_coordinates(entry, kept) for entry in maps]
    names = [paths[i] for i in kept]
    modes = color_modes(points, kept)
    payload = {
        "key": key,
        "names": [clean(name) for name in names],
        "modes": modes,
        "start": names_of(modes).index(color) if color in names_of(modes) else 0,
        "facts": _facts(points, kept),
        "layers": [clean(entry["layer"]) for entry in maps],
    }
    return Maps(
        roots=_figures(spaces, key),
        layers=[_caption(entry) for entry in maps],
        payload=payload,
        paths=names,
        n_points=len(paths),
        n_drawn=len(kept),
    )


def color_modes(points: dict[str, Any], kept: Indices) -> list[dict[str, Any]]:
    """Ways to colour the points: each with its categories and every point's place in them.

    Parameters
    ----------
    points : dict
        Columns ``labels``, ``domains``, ``splits``, ``predicted``, None where unknown.
    kept : ndarray of int
        The points drawn.

    Returns
    -------
    list of dict
        ``name``, ``categories`` (name, color, shape), ``codes`` (one a point).
    """
    modes = [
        _mode(name, [points[column][i] for i in kept])
        for column, name in MODES.items()
        if points.get(column)
    ]
    labels, predicted = points.get("labels"), points.get("predicted")
    if labels and predicted:
        modes.append(_mode("correct", [_judgement(labels[i], predicted[i]) for i in kept]))
    return modes or [_mode("picture", ["picture"] * len(kept))]


def names_of(modes: list[dict[str, Any]]) -> list[str]:
    """What each way to colour the points is called."""
    return [mode["name"] for mode in modes]


def _judgement(true: str, predicted: str | None) -> str:
    if predicted in (None, ""):
        return "not judged"
    return "right" if true == predicted else "wrong"


def _mode(name: str, values: Sequence[Any]) -> dict[str, Any]:
    texts = [clean(value) if value not in (None, "") else UNKNOWN for value in values]
    found = sorted(set(texts), key=lambda text: (text == UNKNOWN, text))
    place = {text: i for i, text in enumerate(found)}
    return {
        "name": name,
        "categories": [_category(text, i) for text, i in place.items()],
        "codes": [place[text] for text in texts],
    }


def _category(text: str, place: int) -> dict[str, str]:
    color = UNKNOWN_COLOR if text == UNKNOWN else color_of(place)
    return {"name": text, "color": color, "shape": shape_of(place)}


def _facts(points: dict[str, Any], kept: Indices) -> dict[str, list[str]]:
    """What the card of a picture says beside its name and class."""
    columns = {"said": "predicted", "domain": "domains", "split": "splits"}
    return {
        name: [clean(points[column][i] or "") for i in kept]
        for name, column in columns.items()
        if points.get(column)
    }


def _caption(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "layer": clean(entry["layer"]),
        "method": clean(entry.get("method") or ""),
        "trustworthiness": entry.get("trustworthiness"),
        "neighbors_kept": entry.get("neighbors_kept"),
    }


def _coordinates(entry: dict[str, Any], kept: Indices) -> npt.NDArray[np.float32]:
    """Coordinates of the points drawn, those that are not finite out of sight."""
    return np.asarray(entry["coordinates"], np.float32).reshape(-1, 2)[kept]  # (n, 2)


def _figures(spaces: list[npt.NDArray[np.float32]], key: str) -> dict[str, figure]:
    """The walk from layer to layer, and one map a layer, all of the same scale."""
    from bokeh.models import BooleanFilter, CDSView, ColumnDataSource

    n = len(spaces[0])
    look = {"color": [UNKNOWN_COLOR] * n, "shape": ["circle"] * n}
    columns = {
        f"{axis}{i}": space[:, j] for i, space in enumerate(spaces) for j, axis in enumerate("xy")
    }
    walk = ColumnDataSource({"x": columns["x0"], "y": columns["y0"], **look}, name=f"walk-{key}")
    maps = ColumnDataSource({**columns, **look}, name=f"maps-{key}")
    # Of a single map the walk is all that is drawn.
    n_maps = len(spaces) if len(spaces) > 1 else 0
    axes = {"walk": ("x", "y"), **{str(i): (f"x{i}", f"y{i}") for i in range(n_maps)}}
    ring = ColumnDataSource(
        {name: [] for pair in axes.values() for name in pair}, name=f"ring-{key}"
    )
    view = CDSView(filter=BooleanFilter([True] * n), name=f"view-{key}")
    extent = _extent(spaces)
    return {
        place: _map(
            x,
            y,
            walk if place == "walk" else maps,
            ring,
            view,
            extent,
            name=f"figure-{key}-{place}",
        )
        for place, (x, y) in axes.items()
    }


def _extent(spaces: list[npt.NDArray[np.float32]]) -> list[tuple[float, float]]:
    """Ends of both axes, of the same length, that hold every map."""
    everything = np.concatenate(spaces)
    everything = everything[np.isfinite(everything).all(1)]
    if not len(everything):
        return [(0.0, 1.0), (0.0, 1.0)]
    low, high = everything.min(0), everything.max(0)
    half = float((high - low).max() / 2 * (1 + 2 * MARGIN)) or 1.0
    return [(float(center - half), float(center + half)) for center in (low + high) / 2]


def _map(
    x: str,
    y: str,
    source: ColumnDataSource,
    ring: ColumnDataSource,
    view: CDSView,
    extent: list[tuple[float, float]],
    *,
    name: str,
) -> figure:
    """One map: points, and a ring round the one that the mouse is on."""
    from bokeh.models import HoverTool, LassoSelectTool, PanTool, TapTool, WheelZoomTool
    from bokeh.plotting import figure

    n = len(source.data[x])
    box = _box_tool()
    plot = figure(
        name=name,
        x_range=extent[0],
        y_range=extent[1],
        tools=[box, LassoSelectTool(continuous=False), PanTool(), WheelZoomTool(), TapTool()],
        active_drag=box,
        active_scroll=None,
        toolbar_location=None,
        sizing_mode="stretch_both",
        min_border=0,
        outline_line_color=None,
        lod_threshold=None,
    )
    plot.axis.visible = False
    plot.grid.visible = False
    points = plot.scatter(
        x,
        y,
        source=source,
        view=view,
        marker="shape",
        color="color",
        line_color=None,
        size=point_size(n, is_large=x == "x"),
        fill_alpha=0.8,
        nonselection_fill_alpha=0.07,
        selection_fill_alpha=0.95,
    )
    plot.scatter(x, y, source=ring, size=RING_PX, fill_color=None, line_width=2.5, name="ink-line")
    # Nothing is shown by Bokeh itself: the page's script draws the card, as text, not as HTML.
    plot.add_tools(HoverTool(tooltips=None, renderers=[points]))
    return plot


def _box_tool() -> BoxSelectTool:
    from bokeh.models import BoxSelectTool

    return BoxSelectTool(continuous=False)


def point_size(n_points: int, *, is_large: bool) -> float:
    """Diameter of a point in pixels: smaller the more there are, larger on a large map.

    Examples
    --------
    >>> point_size(100, is_large=True) > point_size(5000, is_large=True)
    True
    """
    size = float(np.clip(170 / np.sqrt(max(n_points, 1)), 3.5, 10))
    return round(size if is_large else 0.75 * size, 1)
