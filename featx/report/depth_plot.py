"""The page's plots of measures against depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from featx.features.columns import find_column
from featx.figures.depth_data import DepthCurve, DepthData
from featx.figures.palette import (
    RANDOM,
    SCREEN,
    UNKNOWN,
    color_of,
)
from featx.report.page_text import column_label, number, plot_label
from featx.report.plots import (
    add_tip,
    empty_plot,
    name_ticks,
    percent_format,
    with_gaps,
)

if TYPE_CHECKING:
    from bokeh.plotting import figure

_CONTROLS = {"shuffled": ("dashed", UNKNOWN), "random": ("dotted", RANDOM)}


def plot_depth(data: DepthData | None, key: str) -> dict[str, figure]:
    """Each measure against depth, with its interval and its controls.

    Parameters
    ----------
    data : DepthData or None
    key : str
        Tells these plots from others on the page.

    Returns
    -------
    dict of str to Bokeh figure
        By the measure's name; without those that fewer than two layers have.
    """
    if data is None:
        return {}
    layers = [plot_label(layer) for layer in data.layers]
    curves = [curve for curve in data.curves if curve.n_values > 1]
    return {curve.measure: _plot_curve(curve, layers, key) for curve in curves}


def _plot_curve(curve: DepthCurve, layers: Sequence[str], key: str) -> figure:
    from bokeh.models import ColumnDataSource

    plot = empty_plot(f"figure-depth-{curve.measure}-{key}", height=260)
    name_ticks(plot.xaxis, layers)
    plot.xgrid.visible = False
    source = ColumnDataSource(_columns(curve, layers))
    _add_controls(plot, source, curve)
    color = color_of(0, SCREEN)
    plot.varea("x", "low", "high", source=source, color=color, alpha=0.18)
    plot.line("x", "y", source=source, color=color, line_width=2.5)
    dots = plot.scatter("x", "y", source=source, color=color, size=7)
    add_tip(plot, dots, [("", "@layer"), (column_label(curve.measure), "@tip")])
    if find_column(curve.measure).unit == "share":
        plot.yaxis.formatter = percent_format()
    return plot


def _columns(curve: DepthCurve, layers: Sequence[str]) -> dict[str, list[Any]]:
    ends = zip(curve.values, curve.low, curve.high)
    return {
        "x": list(range(len(layers))),
        "layer": list(layers),
        "y": with_gaps(curve.values),
        "low": with_gaps([v if low is None else low for v, low in zip(curve.values, curve.low)]),
        "high": with_gaps([v if up is None else up for v, up in zip(curve.values, curve.high)]),
        "tip": [_interval_text(*one) for one in ends],
        "shuffled": with_gaps(curve.shuffled),
        "random": with_gaps(curve.random),
    }


def _add_controls(plot: figure, source: Any, curve: DepthCurve) -> None:
    for control, (dash, color) in _CONTROLS.items():
        if any(value is not None for value in getattr(curve, control)):
            plot.line("x", control, source=source, line_dash=dash, color=color, line_width=2)
            plot.scatter("x", control, source=source, color=color, size=4)


def _interval_text(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return ""
    text = number(value)
    return text if low is None or high is None else f"{text} [{number(low)}, {number(high)}]"
