"""Figure of accuracy against cost: time per image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from featx.features.columns import find_column
from featx.features.spec_labels import short_specs
from featx.figures.cost_data import CostData, CostPoint
from featx.figures.palette import GRID, QUIET, TRAINED
from featx.figures.style import (
    WIDTH,
    house_style,
    place_axes,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

_OFFSETS = [
    (6, 0, "left", "center"), (-6, 0, "right", "center"), (0, 7, "center", "bottom"),
    (0, -7, "center", "top"), (6, 7, "left", "bottom"), (6, -7, "left", "top"),
    (-6, 7, "right", "bottom"), (-6, -7, "right", "top"), (14, 14, "left", "bottom"),
    (14, -14, "left", "top"), (-14, 14, "right", "bottom"), (-14, -14, "right", "top"),
    (24, 22, "left", "bottom"), (24, -22, "left", "top"), (-24, 22, "right", "bottom"),
    (-24, -22, "right", "top"),
]  # fmt: skip
"""Offsets of a label from its point, in points, the best first."""


def draw_cost(data: CostData, title: str = "") -> Figure:
    """Accuracy of each feature set against the milliseconds that an image takes.

    Parameters
    ----------
    data : CostData
        Its column is ``ms_per_image``.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> point = CostPoint("hog", 4.0, 0.6, low=0.5, high=0.7, is_control=False)
    >>> draw_cost(CostData("ms_per_image", (point,))).axes[0].get_xlabel()
    'ms/image'
    """
    height = 3.4 + 0.04 * max(0, len(data.points) - 12)
    with house_style():
        figure = Figure((WIDTH, height))
        axes = place_axes(figure, 0.55, 0.45, WIDTH - 0.75, height - 0.8)
        for point in data.points:
            color, marker = (QUIET, "s") if point.is_control else (TRAINED, "o")
            axes.plot([point.cost] * 2, point.interval, color=color, linewidth=1.1, alpha=0.5)
            axes.plot(point.cost, point.accuracy, marker, color=color, markersize=4.5)
        _set_scales(axes, [point.cost for point in data.points])
        axes.set_title(shortened(title or "Accuracy against cost", 90), loc="left")
        axes.grid(color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        _write_labels(figure, axes, data.points)
        return figure


def _set_scales(axes: Axes, costs: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.set_xlim(min(costs) / 2.2, max(costs) * 3.2)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(find_column("ms_per_image").label)
    axes.set_ylabel(f"{find_column('accuracy').label}, 95 % interval")


def _write_labels(figure: Figure, axes: Axes, points: Sequence[CostPoint]) -> None:
    """Each name beside its point, where it covers no other name and no point."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    short = short_specs((point.spec for point in points), without_common=True)
    names = [short[point.spec] for point in points]
    marks = axes.transData.transform([(point.cost, point.accuracy) for point in points])
    taken: list[Bbox] = []
    for point, name in sorted(zip(points, names), key=lambda item: -item[0].accuracy):
        color = QUIET if point.is_control else TRAINED
        best = None
        for across, up, ha, va in _OFFSETS:
            label = axes.annotate(
                shortened(name, 40), (point.cost, point.accuracy), (across, up), "data",
                "offset points", ha=ha, va=va, fontsize=6.5, color=color,
            )  # fmt: skip
            box = label.get_window_extent(renderer)
            badness = _badness(box, taken, marks, axes.get_window_extent(renderer))
            if best is None or badness < best[0]:
                if best is not None:
                    best[1].remove()
                best = (badness, label, box)
            else:
                label.remove()
            if badness == 0:
                break
        if best is not None:
            taken.append(best[2])


def _badness(box: Bbox, taken: Sequence[Bbox], marks: Any, frame: Bbox) -> float:
    """How much a label covers: other labels count most, then points; leaving the frame too."""
    over = sum(box.overlaps(other) for other in taken)
    hidden = sum(bool(box.contains(*mark)) for mark in marks)
    outside = box.x0 < frame.x0 or box.x1 > frame.x1 or box.y0 < frame.y0 or box.y1 > frame.y1
    return 3.0 * over + hidden + 5.0 * outside
