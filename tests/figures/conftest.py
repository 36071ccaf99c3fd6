"""What tests of figures measure: where text is drawn."""

from __future__ import annotations

from typing import Any


def boxes_of(figure: Any) -> list[Any]:
    """Extents of every text that is seen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    unseen = [label for axes in figure.axes for label in labels_out_of_view(axes)]
    texts = [
        text
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and text not in unseen
    ]
    return [text.get_window_extent(canvas.get_renderer()) for text in texts]


def labels_out_of_view(axes: Any) -> list[Any]:
    """Labels of ticks beyond the ends of an axis, which are there but never drawn."""
    found = []
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        found += [tick.label1 for tick in ticks if not low <= tick.get_loc() <= high]
    return found


def overlapping(boxes: list[Any]) -> int:
    return sum(
        a.padded(-0.5).overlaps(b.padded(-0.5)) for i, a in enumerate(boxes) for b in boxes[:i]
    )
