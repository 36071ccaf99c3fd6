"""The page's plot of accuracy against cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from featx.figures.cost_data import CostData, CostPoint, pareto_front
from featx.figures.palette import SCREEN, UNKNOWN, color_of
from featx.report.page_text import column_label, number, plot_label
from featx.report.plots import (
    add_tip,
    empty_plot,
    percent_format,
    percent_text,
)

if TYPE_CHECKING:
    from bokeh.plotting import figure

_WIDTH_PX, _CHARACTER_PX = 1050, 6.4
"""Of a plot on a laptop and of a letter in it, to tell which names would overlap."""


def plot_cost(data: CostData, key: str, names: Mapping[str, str] | None = None) -> figure:
    """Accuracy against what it costs, with intervals.

    Parameters
    ----------
    data : CostData
    key : str
        Tells this plot from others on the page.
    names : mapping of str to str, optional
        What to call a SPEC.
    """
    from bokeh.models import ColumnDataSource, LogTicker, NumeralTickFormatter

    label, points = column_label(data.column), data.points
    labels = {point.spec: (names or {}).get(point.spec, point.spec) for point in points}
    source = ColumnDataSource(_columns(points, labels))
    plot = empty_plot(
        f"figure-cost-{key}",
        x_axis_type="log",
        x_range=_log_range(points),
        x_axis_label=label,
        y_axis_label=column_label("accuracy"),
        height=380,
    )
    plot.yaxis.formatter = percent_format()
    plot.xaxis.ticker = LogTicker(mantissas=[1, 2, 5], desired_num_ticks=8)
    plot.xaxis.formatter = NumeralTickFormatter(format="0,0.[000]")
    plot.segment("x", "low", "x", "high", source=source, color="color", line_width=1.5, alpha=0.6)
    dots = plot.scatter(
        "x", "y", source=source, color="color", marker="shape", size=11, fill_alpha=0.9
    )
    add_tip(plot, dots, [("", "@spec"), (column_label("accuracy"), "@tip"), (label, "@cost")])
    _name_the_best(plot, points, labels)
    return plot


def _columns(points: Sequence[CostPoint], labels: Mapping[str, str]) -> dict[str, list[Any]]:
    return {
        "x": [point.cost for point in points],
        "y": [point.accuracy for point in points],
        "low": [point.interval[0] for point in points],
        "high": [point.interval[1] for point in points],
        "spec": [plot_label(labels[point.spec]) for point in points],
        "tip": [percent_text(point.accuracy, point.low, point.high) for point in points],
        "cost": [number(point.cost) for point in points],
        "color": [UNKNOWN if point.is_control else color_of(0, SCREEN) for point in points],
        "shape": ["diamond" if point.is_control else "circle" for point in points],
    }


def _name_the_best(plot: figure, points: Sequence[CostPoint], labels: Mapping[str, str]) -> None:
    """Names beside the points that no other beats; the others show theirs under the mouse.

    To the right and below, or to the left and above: where the step line never runs.
    """
    from bokeh.models import ColumnDataSource, LabelSet

    front = pareto_front(points)
    costs = [point.cost for point in points]
    middle = (min(costs) * max(costs)) ** 0.5
    named = _apart(front, points, labels, middle)
    for is_left in (True, False):
        side = [point for point in named if (point.cost <= middle) == is_left]
        source = ColumnDataSource(
            {
                "x": [point.cost for point in side],
                "y": [point.accuracy for point in side],
                "text": [plot_label(labels[point.spec]) for point in side],
            }
        )
        label_set = LabelSet(
            x="x",
            y="y",
            text="text",
            source=source,
            x_offset=10 if is_left else -10,
            y_offset=-17 if is_left else 5,
            text_align="left" if is_left else "right",
            text_font_size="11.5px",
            name="ink-text",
        )
        plot.add_layout(label_set)
    plot.step(
        [point.cost for point in front],
        [point.accuracy for point in front],
        mode="after",
        color=color_of(0, SCREEN),
        alpha=0.35,
        line_width=1.5,
        level="underlay",
    )


def _apart(
    front: Sequence[CostPoint],
    points: Sequence[CostPoint],
    labels: Mapping[str, str],
    middle: float,
) -> list[CostPoint]:
    """Of the points to name those whose names do not overlap, the best first."""
    low, high = _log_range(points)
    accuracies = [point.accuracy for point in points]
    span = (max(accuracies) - min(accuracies)) or 1.0
    taken: list[tuple[float, float, float]] = []
    shown = []
    for point in reversed(front):
        x = _WIDTH_PX * math.log(point.cost / low) / math.log(high / low)
        width = _CHARACTER_PX * len(labels[point.spec]) + 10
        is_left = point.cost <= middle
        start = x if is_left else x - width
        y = 300 * point.accuracy / span + (-10 if is_left else 12)
        if all(
            abs(y - other) > 14 or start > end or start + width < begin
            for begin, end, other in taken
        ):
            taken.append((start, start + width, y))
            shown.append(point)
    return shown


def _log_range(points: Sequence[CostPoint]) -> tuple[float, float]:
    """Ends of a logarithmic axis with room for names at both sides."""
    costs = [point.cost for point in points]
    low, high = min(costs), max(costs)
    room = max((high / low) ** 0.12, 1.6)
    return low / room, high * room
