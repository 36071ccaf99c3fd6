"""The page's linked scatter plots: embeddings of the same images at several layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featx.figures.palette import (
    SCREEN,
    UNKNOWN,
    color_of,
    marker_of,
)
from featx.figures.scatter_data import ScatterData, ScatterPanel, square_extent
from featx.report.page_text import clean
from featx.report.point_sampling import Indices, sample_points

if TYPE_CHECKING:
    from bokeh.models import BoxSelectTool, CDSView, ColumnDataSource
    from bokeh.plotting import figure

_NO_CATEGORY = "(none)"
_MARGIN = 0.12
_RING_PX = 15


@dataclass
class ScatterPlots:
    """What the page needs of one result's embeddings.

    Attributes
    ----------
    roots : dict of str to Bokeh figure
        By name: ``walk``, then ``0``, ``1``, ... for each layer.
    layers : list of dict
        Name, trustworthiness and fraction of neighbors kept of each embedding, in order.
    payload : dict
        What the page's script reads: names, classes, legends.
    paths : list of str
        Images drawn, as the result calls them.
    n_points, n_drawn : int
    """

    roots: dict[str, Any]
    layers: list[dict[str, Any]]
    payload: dict[str, Any]
    paths: list[str]
    n_points: int
    n_drawn: int


def plot_scatter(
    data: ScatterData | None, key: str, color: str | None = None
) -> ScatterPlots | None:
    """Linked embeddings, None where there are none or their images are not known.

    Parameters
    ----------
    data : ScatterData or None
    key : str
        Tells these plots from others on the page.
    color : {"class", "domain", "split", "correct"}, optional
        What colors the points at first; by default the first that is known.
    """
    if data is None or not data.points.get("paths"):
        return None
    paths = data.points["paths"]
    shown = sample_points(len(paths), data.points.get("labels"))
    spaces = [np.asarray(panel.coordinates, np.float32)[shown] for panel in data.panels]
    names = [paths[i] for i in shown]
    modes = _color_modes(data, shown)
    known = [mode["name"] for mode in modes]
    payload = {
        "key": key,
        "names": [clean(name) for name in names],
        "modes": modes,
        "start": known.index(color) if color in known else 0,
        "facts": _facts(data, shown),
        "layers": [clean(panel.layer) for panel in data.panels],
    }
    return ScatterPlots(
        roots=_figures(spaces, key),
        layers=[_caption(panel) for panel in data.panels],
        payload=payload,
        paths=names,
        n_points=len(paths),
        n_drawn=len(shown),
    )


def _color_modes(data: ScatterData, shown: Indices) -> list[dict[str, Any]]:
    """Ways to color the points drawn: the categories of each, and every point's index in them.

    Parameters
    ----------
    data : ScatterData
    shown : ndarray of int
        The points drawn.

    Returns
    -------
    list of dict
        ``name``, ``categories`` (name, color, shape), ``codes`` (one per point).
    """
    modes = [_mode(name, [values[i] for i in shown]) for name, values in data.modes.items()]
    return modes or [_mode("image", ["image"] * len(shown))]


def _mode(name: str, values: Sequence[Any]) -> dict[str, Any]:
    texts = [clean(value) if value not in (None, "") else _NO_CATEGORY for value in values]
    categories = sorted(set(texts), key=lambda text: (text == _NO_CATEGORY, text))
    codes = {text: i for i, text in enumerate(categories)}
    return {
        "name": name,
        "categories": [_category(text, i) for text, i in codes.items()],
        "codes": [codes[text] for text in texts],
    }


def _category(text: str, index: int) -> dict[str, str]:
    color = UNKNOWN if text == _NO_CATEGORY else color_of(index, SCREEN)
    return {"name": text, "color": color, "shape": marker_of(index, SCREEN)}


def _facts(data: ScatterData, shown: Indices) -> dict[str, list[str]]:
    """What the card of an image says beside its name and class."""
    columns = {"predicted": "predicted", "domain": "domains", "split": "splits"}
    return {
        name: [clean(data.points[column][i] or "") for i in shown]
        for name, column in columns.items()
        if data.points.get(column)
    }


def _caption(panel: ScatterPanel) -> dict[str, Any]:
    return {
        "layer": clean(panel.layer),
        "method": clean(panel.method),
        "trustworthiness": panel.trustworthiness,
        "neighbors_kept": panel.neighbors_kept,
    }


def _figures(spaces: list[npt.NDArray[np.float32]], key: str) -> dict[str, figure]:
    """The walk from layer to layer, and one embedding per layer, all of the same scale."""
    from bokeh.models import BooleanFilter, CDSView, ColumnDataSource

    n = len(spaces[0])
    look = {"color": [UNKNOWN] * n, "shape": ["circle"] * n}
    columns = {
        f"{axis}{i}": space[:, j] for i, space in enumerate(spaces) for j, axis in enumerate("xy")
    }
    walk = ColumnDataSource({"x": columns["x0"], "y": columns["y0"], **look}, name=f"walk-{key}")
    maps = ColumnDataSource({**columns, **look}, name=f"maps-{key}")
    # Of a single embedding the walk is all that is drawn.
    n_maps = len(spaces) if len(spaces) > 1 else 0
    axes = {"walk": ("x", "y"), **{str(i): (f"x{i}", f"y{i}") for i in range(n_maps)}}
    ring = ColumnDataSource(
        {column: [] for pair in axes.values() for column in pair}, name=f"ring-{key}"
    )
    view = CDSView(filter=BooleanFilter([True] * n), name=f"view-{key}")
    extent = square_extent(spaces, _MARGIN)
    return {
        name: _figure(
            x,
            y,
            walk if name == "walk" else maps,
            ring,
            view,
            extent,
            name=f"figure-{key}-{name}",
        )
        for name, (x, y) in axes.items()
    }


def _figure(
    x: str,
    y: str,
    source: ColumnDataSource,
    ring: ColumnDataSource,
    view: CDSView,
    extent: list[tuple[float, float]],
    *,
    name: str,
) -> figure:
    """One embedding: points, and a ring round the one that the mouse is on."""
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
        size=_point_size(n, is_large=x == "x"),
        fill_alpha=0.8,
        nonselection_fill_alpha=0.07,
        selection_fill_alpha=0.95,
    )
    plot.scatter(x, y, source=ring, size=_RING_PX, fill_color=None, line_width=2.5, name="ink-line")
    # Nothing is shown by Bokeh itself: the page's script draws the card, as text, not as HTML.
    plot.add_tools(HoverTool(tooltips=None, renderers=[points]))
    return plot


def _box_tool() -> BoxSelectTool:
    from bokeh.models import BoxSelectTool

    return BoxSelectTool(continuous=False)


def _point_size(n_points: int, *, is_large: bool) -> float:
    """Diameter of a point in pixels: smaller the more there are, larger in a large plot.

    Examples
    --------
    >>> _point_size(100, is_large=True) > _point_size(5000, is_large=True)
    True
    """
    size = float(np.clip(170 / np.sqrt(max(n_points, 1)), 3.5, 10))
    return round(size if is_large else 0.75 * size, 1)
