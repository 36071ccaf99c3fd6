"""The page's plots of learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from featx.features.columns import find_column
from featx.figures.learning_data import LearningData, LearningPanel, LearningRun
from featx.figures.palette import SCREEN, color_of
from featx.report.page_text import column_label, plot_label
from featx.report.plots import (
    add_tip,
    empty_plot,
    percent_format,
    with_gaps,
)

if TYPE_CHECKING:
    from bokeh.plotting import figure


def strategy_colors(data: LearningData) -> dict[str, str]:
    """Name of each strategy, and its color in every plot."""
    return {name: color_of(i, SCREEN) for i, name in enumerate(data.names)}


def plot_learning(data: LearningData, x: str, key: str) -> dict[str, figure]:
    """Loss and accuracy along `x`, one line per run; over several seeds the mean stands out.

    Parameters
    ----------
    data : LearningData
    x : {"epoch", "n_labels"}
    key : str
        Tells these plots from others on the page.

    Returns
    -------
    dict of str to Bokeh figure
        By the measure's name.
    """
    colors = strategy_colors(data)
    panels = [panel for panel in data.panels if panel.x == x]
    return {panel.measure: _plot_panel(panel, colors, key) for panel in panels}


def _plot_panel(panel: LearningPanel, colors: Mapping[str, str], key: str) -> figure:
    from bokeh.models import BasicTicker, ColumnDataSource, Span

    label = column_label(panel.x)
    plot = empty_plot(f"figure-{panel.x}-{panel.measure}-{key}", x_axis_label=label, height=270)
    plot.xaxis.ticker = BasicTicker(mantissas=[1, 2, 5], min_interval=1)
    if find_column(panel.measure).unit == "share":
        plot.yaxis.formatter = percent_format()
    for name, level in panel.levels.items():
        span = Span(location=level, line_color=colors[name], line_width=2, line_dash="dashed")
        plot.add_layout(span)
    tips = [("", "@run"), (label, "@x"), (column_label(panel.measure), "@y{0.000}")]
    for run in panel.runs:
        _add_run(plot, run, tips, color=colors[run.name], is_thin=panel.has_seeds)
    for name, (steps, values) in panel.means.items() if panel.has_seeds else ():
        source = ColumnDataSource(_columns(steps, values, f"{name}, mean"))
        plot.line("x", "y", source=source, color=colors[name], line_width=3.5)
    return plot


def _add_run(
    plot: figure, run: LearningRun, tips: list[tuple[str, str]], *, color: str, is_thin: bool
) -> None:
    from bokeh.models import ColumnDataSource

    columns = _columns(run.steps, run.values, f"{run.name}, seed {run.seed}")
    width, size, alpha = (1, 3, 0.4) if is_thin else (2, 5, 0.8)
    how = {"source": ColumnDataSource(columns), "color": color, "alpha": alpha}
    plot.line("x", "y", line_width=width, **how)
    dots = plot.scatter("x", "y", size=size, **how)
    add_tip(plot, dots, tips)


def _columns(
    steps: Sequence[int], values: Sequence[float | None], run: str
) -> dict[str, list[Any]]:
    # In a column, for "@" and "$" in the tip itself would be taken for columns.
    return {"x": list(steps), "y": with_gaps(values), "run": [plot_label(run)] * len(values)}
