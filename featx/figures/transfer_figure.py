"""Figure of what features lose from one domain to another."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from featx.features.columns import find_column
from featx.features.spec_labels import short_specs
from featx.figures.palette import FAINT, GRID, SOURCE, TARGET
from featx.figures.style import (
    WIDTH,
    add_heading,
    house_style,
    place_axes,
    shortened,
)
from featx.figures.transfer_data import TransferData

_MARKS: list[tuple[str, dict[str, Any]]] = [
    ("within the source", {"color": SOURCE, "marker": "o", "linestyle": ""}),
    ("on the target, 95 % interval", {"color": TARGET, "marker": "o", "linestyle": ""}),
]


def draw_transfer(data: TransferData, title: str = "") -> Figure:
    """Accuracy within the source and on the target of each feature set, over all pairs.

    Parameters
    ----------
    data : TransferData
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> from featx.figures.transfer_data import TransferPoint
    >>> point = TransferPoint("hog", "coral", source=0.6, target=0.3, low=0.2, high=0.4)
    >>> figure = draw_transfer(TransferData((point,)))
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['hog + CORAL']
    """
    names = _names(data)
    n_points = len(data.points)
    left, head, foot = 0.35 + 0.062 * max(map(len, names)), 0.62, 0.45
    body = 0.24 * max(n_points, 2)
    with house_style():
        figure = Figure((WIDTH, head + body + foot))
        axes = place_axes(figure, left, foot, WIDTH - left - 0.15, body)
        for y, point in enumerate(data.points):
            axes.plot([point.source, point.target], [y, y], color=FAINT, linewidth=1.4, zorder=1)
            if point.low is not None and point.high is not None:
                axes.plot([point.low, point.high], [y, y], color=TARGET, alpha=0.3,
                          linewidth=4, zorder=1)  # fmt: skip
            for value, color in ((point.source, SOURCE), (point.target, TARGET)):
                axes.plot(value, y, "o", color=color, markersize=5)
        axes.set_yticks(range(n_points), names)
        axes.set_ylim(n_points - 0.5, -0.5)
        axes.set_xlabel(find_column("accuracy").label)
        axes.grid(axis="x", color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        add_heading(figure, left, title, _MARKS)
        return figure


def _names(data: TransferData) -> list[str]:
    specs = list(dict.fromkeys(point.spec for point in data.points))
    named = short_specs(specs, without_common=True)
    return [
        shortened(named[point.spec], 34) + (" + CORAL" if point.alignment == "coral" else "")
        for point in data.points
    ]
