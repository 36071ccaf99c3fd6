"""Figure of learning curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from featx.features.columns import find_column
from featx.figures.learning_data import LearningData, LearningPanel
from featx.figures.palette import GRID, color_of
from featx.figures.style import (
    WIDTH,
    add_heading,
    house_style,
    place_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GAP, _LEFT = 0.45, 0.42
"""Inches between panels and left of the first, for the numbers of each."""

_PANELS = (("epoch", "valid_accuracy"), ("n_labels", "accuracy"))
"""Steps and measures that are drawn."""


def draw_learning(data: LearningData, title: str = "") -> Figure:
    """Validation accuracy by epoch, and accuracy by number of labels where that was measured.

    Parameters
    ----------
    data : LearningData
        Runs of one strategy share a color; their mean stands out.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> from featx.figures.learning_data import prepare_learning
    >>> from featx.features.results import Result
    >>> curves = [{"name": "full", "seed": 0, "epoch": [1, 2], "valid_accuracy": [0.5, 0.75]}]
    >>> data = prepare_learning(Result("finetune", "photos", [], details={"curves": curves}))
    >>> draw_learning(data).axes[0].get_xlabel()
    'Epoch'
    """
    panels = [panel for which in _PANELS if (panel := data.panel(*which))]
    colors = {name: color_of(i) for i, name in enumerate(data.names)}
    head, panel_in, foot = 0.62 if title else 0.42, 2.1, 0.5
    with house_style():
        step = (WIDTH - _LEFT) / 2
        figure = Figure((_LEFT + len(panels) * step, head + panel_in + foot))
        for i, panel in enumerate(panels):
            axes = place_axes(figure, _LEFT + i * step, foot, step - _GAP, panel_in)
            _draw_panel(axes, panel, colors)
        add_heading(figure, _LEFT, title, [(name, {"color": c}) for name, c in colors.items()])
        return figure


def _draw_panel(axes: Axes, panel: LearningPanel, colors: Mapping[str, str]) -> None:
    for name, level in panel.levels.items():
        axes.axhline(level, color=colors[name], linewidth=1.2, linestyle=(0, (4, 2)))
    for run in panel.runs if panel.has_seeds else ():
        if run.name not in panel.levels:
            values = np.array(run.values, float)
            axes.plot(run.steps, values, color=colors[run.name], linewidth=0.6, alpha=0.4)
    # Short ones last: stages of the same name are the same, and would be hidden.
    for name, curve in sorted(panel.means.items(), key=lambda item: -len(item[1][0])):
        if name not in panel.levels:
            axes.plot(*curve, color=colors[name], marker="o", markersize=2.4)
    axes.set_title(find_column(panel.measure).label, loc="left", pad=4)
    axes.set_xlabel(find_column(panel.x).label)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
