"""Measures against depth, with intervals and controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from featx.columns import depth_columns, find_column
from featx.finetuning.gains import has_values, levels_of, mean_curves
from featx.plotting.style import (
    INK,
    RANDOM,
    SHUFFLED,
    TRAINED,
    WIDTH,
    add_heading,
    color_of,
    house_style,
    place_axes,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GAP = 0.45
"""Inches between panels, where the next one's numbers stand."""

LEFT = 0.42
"""Inches left of the first panel, for its numbers."""

TWIN: tuple[str, dict[str, Any]]
TWIN = ("random weights", {"color": RANDOM, "marker": "s", "markersize": 2.4, "linewidth": 1.1})
LINES: list[tuple[str, dict[str, Any]]] = [
    ("trained, 95 % interval", {"color": TRAINED, "marker": "o", "markersize": 3.2}),
    TWIN,
    ("shuffled labels", {"color": SHUFFLED, "linestyle": (0, (4, 2)), "linewidth": 1.1}),
]
"""What the lines of a depth figure are, and how they are drawn."""


def draw_depth(rows: Sequence[dict[str, Any]], title: str = "") -> Figure:
    """A curve of each measure against depth, in one figure.

    Parameters
    ----------
    rows : sequence of dict
        Those of `featx.depth_profile`.
    title : str, optional
        What is shown: network and data.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If no row has a measure.

    Examples
    --------
    >>> rows = [{"layer": "pool1", "accuracy": 0.5}, {"layer": "fc7", "accuracy": 0.9}]
    >>> [axes.get_title("left") for axes in draw_depth(rows).axes]
    ['Accuracy']
    """
    shown = measures_of(rows)
    if not shown:
        known = ", ".join(column.name for column in depth_columns())
        raise ValueError(f"No row has a measure to draw; expected one of {known}.")
    names = [shortened(str(row["layer"]), 16) for row in rows]
    n_columns = min(3, len(shown))
    n_lines = -(-len(shown) // n_columns)
    foot = 0.2 + 0.062 * max(map(len, names))
    head = 0.62 if title else 0.42
    panel = 1.45
    height = head + n_lines * panel + (n_lines - 1) * 0.38 + foot
    width = 0.5 + n_columns * (WIDTH - 0.5) / 3 if len(shown) > 1 else 3.6
    with house_style():
        figure = Figure((width, height))
        step = (width - LEFT + GAP - 0.08) / n_columns
        for place, name in enumerate(shown):
            line, column = divmod(place, n_columns)
            bottom = height - head - (line + 1) * panel - line * 0.38
            axes = place_axes(figure, LEFT + column * step, bottom, step - GAP, panel)
            is_lowest = place + n_columns >= len(shown)
            _draw_measure(axes, rows, name, names if is_lowest else None)
        has_random = "accuracy_random" in rows[0]
        add_heading(figure, LEFT, title, [line for line in LINES if has_random or line is not TWIN])
        return figure


def measures_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Measures against depth that some row has.

    Examples
    --------
    >>> measures_of([{"layer": "pool1"}, {"layer": "fc7", "purity": 0.5}])
    ['purity']
    """
    names = [column.name for column in depth_columns()]
    return [name for name in names if any(row.get(name) is not None for row in rows)]


def draw_learning(
    curves: Sequence[dict[str, Any]], label_curves: Sequence[dict[str, Any]] = (), title: str = ""
) -> Figure:
    """Validation accuracy by epoch, and accuracy by number of labels where that was measured.

    Parameters
    ----------
    curves : sequence of dict
        One a run: ``name``, ``seed``, ``epoch``, ``valid_accuracy``. Runs of one name share a
        colour; their mean stands out.
    label_curves : sequence of dict
        The same under ``n_labels`` and ``accuracy``.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> run = {"name": "full", "seed": 0, "epoch": [1, 2], "valid_accuracy": [0.5, 0.75]}
    >>> draw_learning([run]).axes[0].get_xlabel()
    'Epoch'
    """
    panels = [
        (curves, "valid_accuracy", "epoch"),
        (label_curves, "accuracy", "n_labels"),
    ]
    shown = [panel for panel in panels if mean_curves(*panel)]
    names = list(dict.fromkeys(str(c.get("name", "")) for panel in shown for c in panel[0]))
    head, panel_in, foot = 0.62 if title else 0.42, 2.1, 0.5
    with house_style():
        step = (WIDTH - LEFT) / 2
        figure = Figure((LEFT + len(shown) * step, head + panel_in + foot))
        for place, (runs, *told) in enumerate(shown):
            axes = place_axes(figure, LEFT + place * step, foot, step - GAP, panel_in)
            _draw_runs(axes, runs, names, *told)
        looks = [{"color": color_of(place)} for place in range(len(names))]
        add_heading(figure, LEFT, title, list(zip(names, looks)))
        return figure


def _draw_runs(
    axes: Axes,
    runs: Sequence[dict[str, Any]],
    names: Sequence[str],
    measure: str,
    x: str,
) -> None:
    runs = [run for run in runs if has_values(run, measure)]
    means = mean_curves(runs, measure, x)
    levels = levels_of(runs, measure)
    for name, level in levels.items():
        axes.axhline(level, color=color_of(names.index(name)), linewidth=1.2, linestyle=(0, (4, 2)))
    runs = [run for run in runs if str(run.get("name", "")) not in levels]
    for run in runs if len(runs) > len(means) - len(levels) else ():
        color = color_of(names.index(str(run.get("name", ""))))
        values = [np.nan if value is None else value for value in run[measure]]
        axes.plot(run[x], values, color=color, linewidth=0.6, alpha=0.4)
    # Short ones last: stages of the same name are the same, and would be hidden.
    for name, curve in sorted(means.items(), key=lambda found: -len(found[1][0])):
        if name not in levels:
            axes.plot(*curve, color=color_of(names.index(name)), marker="o", markersize=2.4)
    axes.set_title(find_column(measure).label, loc="left", pad=4)
    axes.set_xlabel(find_column(x).label)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)


def _draw_measure(
    axes: Axes, rows: Sequence[dict[str, Any]], name: str, ticks: Sequence[str] | None
) -> None:
    x = np.arange(len(rows))
    column = find_column(name)
    low, high = (_column(rows, bound) for bound in column.bounds)
    axes.fill_between(x, low, high, color=TRAINED, alpha=0.22, linewidth=0)
    shuffled, random = _column(rows, f"{name}_shuffled"), _column(rows, f"{name}_random")
    for values, (_, look) in zip((shuffled, random, _column(rows, name)), LINES[::-1]):
        axes.plot(x, values, **look)
    axes.set_title(column.label, loc="left", pad=4)
    axes.set_xlim(-0.4, len(rows) - 0.6)
    axes.set_xticks(x, ticks if ticks is not None else [""] * len(x), rotation=90)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    if column.axis == "unit":
        axes.set_ylim(min(0, axes.get_ylim()[0]), 1.02)
    elif column.axis == "signed":
        axes.axhline(0, color=INK, linewidth=0.5)


def _column(rows: Sequence[dict[str, Any]], name: str) -> Any:
    """Values of a column, NaN where a row has none."""
    return np.array([np.nan if row.get(name) is None else row[name] for row in rows], float)
