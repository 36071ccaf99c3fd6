"""Figure of measures against depth, with intervals and controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from featx.features.columns import find_column
from featx.figures.depth_data import DepthCurve, DepthData
from featx.figures.palette import (
    GRID,
    INK,
    RANDOM,
    SHUFFLED,
    TRAINED,
)
from featx.figures.style import (
    WIDTH,
    add_heading,
    house_style,
    place_axes,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GAP = 0.45
"""Inches between panels, for the numbers of the next one."""

_LEFT = 0.42
"""Inches left of the first panel, for its numbers."""

_RANDOM_LINE: tuple[str, dict[str, Any]]
_RANDOM_LINE = (
    "random weights",
    {"color": RANDOM, "marker": "s", "markersize": 2.4, "linewidth": 1.1},
)
_LINES: list[tuple[str, dict[str, Any]]] = [
    ("trained, 95 % interval", {"color": TRAINED, "marker": "o", "markersize": 3.2}),
    _RANDOM_LINE,
    ("shuffled labels", {"color": SHUFFLED, "linestyle": (0, (4, 2)), "linewidth": 1.1}),
]
"""What the lines are, and how they are drawn."""


def draw_depth(data: DepthData, title: str = "") -> Figure:
    """A curve of each measure against depth, in one figure.

    Parameters
    ----------
    data : DepthData
    title : str, optional
        What is shown: network and data.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> curve = DepthCurve("accuracy", (0.5, 0.9), *[(None, None)] * 4)
    >>> figure = draw_depth(DepthData(("pool1", "fc7"), (curve,)))
    >>> [axes.get_title("left") for axes in figure.axes]
    ['Accuracy']
    """
    names = [shortened(layer, 16) for layer in data.layers]
    n_panels = len(data.curves)
    n_columns = min(3, n_panels)
    n_lines = -(-n_panels // n_columns)
    foot = 0.2 + 0.062 * max(map(len, names))
    head = 0.62 if title else 0.42
    panel = 1.45
    height = head + n_lines * panel + (n_lines - 1) * 0.38 + foot
    width = 0.5 + n_columns * (WIDTH - 0.5) / 3 if n_panels > 1 else 3.6
    with house_style():
        figure = Figure((width, height))
        step = (width - _LEFT + _GAP - 0.08) / n_columns
        for i, curve in enumerate(data.curves):
            line, column = divmod(i, n_columns)
            bottom = height - head - (line + 1) * panel - line * 0.38
            axes = place_axes(figure, _LEFT + column * step, bottom, step - _GAP, panel)
            is_lowest = i + n_columns >= n_panels
            _draw_curve(axes, curve, names if is_lowest else [""] * len(names))
        lines = [line for line in _LINES if data.has_random or line is not _RANDOM_LINE]
        add_heading(figure, _LEFT, title, lines)
        return figure


def _draw_curve(axes: Axes, curve: DepthCurve, ticks: Sequence[str]) -> None:
    # As floats, in which None is NaN and leaves a gap.
    low, high, *lines = (
        np.array(values, float)
        for values in (curve.low, curve.high, curve.shuffled, curve.random, curve.values)
    )
    x = np.arange(len(ticks))
    axes.fill_between(x, low, high, color=TRAINED, alpha=0.22, linewidth=0)
    for values, (_, look) in zip(lines, _LINES[::-1]):
        axes.plot(x, values, **look)
    column = find_column(curve.measure)
    axes.set_title(column.label, loc="left", pad=4)
    axes.set_xlim(-0.4, len(ticks) - 0.6)
    axes.set_xticks(x, ticks, rotation=90)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    if column.axis == "unit":
        axes.set_ylim(min(0, axes.get_ylim()[0]), 1.02)
    elif column.axis == "signed":
        axes.axhline(0, color=INK, linewidth=0.5)
