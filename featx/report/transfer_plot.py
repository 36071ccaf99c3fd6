"""The page's plot of what features lose from one domain to another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from featx.figures.palette import SOURCE, TARGET, UNKNOWN
from featx.figures.transfer_data import TransferData
from featx.report.page_text import column_label, plot_label
from featx.report.plots import (
    add_tip,
    empty_plot,
    name_ticks,
    percent_format,
    percent_text,
)

if TYPE_CHECKING:
    from bokeh.plotting import figure


def plot_transfer(data: TransferData, key: str, names: Mapping[str, str] | None = None) -> figure:
    """Accuracy within the source beside that on the target, averages over all pairs.

    Parameters
    ----------
    data : TransferData
    key : str
        Tells this plot from others on the page.
    names : mapping of str to str, optional
        What to call a SPEC.
    """
    from bokeh.models import ColumnDataSource

    n_points = len(data.points)
    source = ColumnDataSource(_columns(data, names or {}))
    plot = empty_plot(
        f"figure-transfer-{key}",
        height=110 + 34 * n_points,
        x_axis_label=column_label("accuracy"),
        y_range=(n_points - 0.4, -0.6),
    )
    name_ticks(plot.yaxis, source.data["name"], longest=44)
    plot.yaxis.major_label_orientation = "horizontal"
    plot.ygrid.visible = False
    plot.xaxis.formatter = percent_format()
    plot.segment("source", "y", "target", "y", source=source, color=UNKNOWN, line_width=2)
    plot.segment("low", "y", "high", "y", source=source, color=TARGET, line_width=7, alpha=0.3)
    for column, color in (("source", SOURCE), ("target", TARGET)):
        dots = plot.scatter(column, "y", source=source, size=11, color=color)
        add_tip(plot, dots, [("", "@name"), ("source", "@source{0.0%}"), ("target", "@tip")])
    return plot


def _columns(data: TransferData, names: Mapping[str, str]) -> dict[str, list[Any]]:
    points = data.points
    return {
        "y": list(range(len(points))),
        "name": [
            plot_label(names.get(point.spec, point.spec))
            + (f" + {point.alignment}" if point.alignment else "")
            for point in points
        ],
        "source": [point.source for point in points],
        "target": [point.target for point in points],
        "low": [point.target if point.low is None else point.low for point in points],
        "high": [point.target if point.high is None else point.high for point in points],
        "tip": [percent_text(point.target, point.low, point.high) for point in points],
    }
