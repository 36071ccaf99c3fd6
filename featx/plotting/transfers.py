"""What features lose from one domain to another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from featx.plotting.style import (
    COLORS,
    FAINT,
    WIDTH,
    add_heading,
    house_style,
    place_axes,
    shortened,
)
from featx.specs import short_specs

SOURCE, TARGET = COLORS[0], COLORS[5]
MEAN = "mean"
MARKS: list[tuple[str, dict[str, Any]]] = [
    ("within the source", {"color": SOURCE, "marker": "o", "linestyle": ""}),
    ("on the target, 95 % interval", {"color": TARGET, "marker": "o", "linestyle": ""}),
]


def mean_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the averages over all pairs of domains, where they have both accuracies."""
    wanted = ("source_accuracy", "target_accuracy")
    means = [row for row in rows if row.get("source") == row.get("target") == MEAN]
    return [row for row in means if all(row.get(name) is not None for name in wanted)]


def draw_transfer(rows: Sequence[dict[str, Any]], title: str = "") -> Figure:
    """Accuracy within the source and on the target of each kind of features, over all pairs.

    Parameters
    ----------
    rows : sequence of dict
        Those of `featx.transfer`; of them the averages are drawn, the target's with its
        interval.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> row = {"spec": "hog", "source": "mean", "target": "mean", "alignment": "coral",
    ...        "source_accuracy": 0.6, "target_accuracy": 0.3, "low": 0.2, "high": 0.4}
    >>> [label.get_text() for label in draw_transfer([row]).axes[0].get_yticklabels()]
    ['hog + CORAL']
    """
    shown = mean_rows(rows)
    specs = list(dict.fromkeys(str(row["spec"]) for row in shown))
    called = short_specs(specs, without_common=True)
    names = [
        shortened(called[str(row["spec"])], 34)
        + (" + CORAL" if row.get("alignment") == "coral" else "")
        for row in shown
    ]
    left, head, foot = 0.35 + 0.062 * max(map(len, names), default=0), 0.62, 0.45
    body = 0.24 * max(len(shown), 2)
    with house_style():
        figure = Figure((WIDTH, head + body + foot))
        axes = place_axes(figure, left, foot, WIDTH - left - 0.15, body)
        for place, row in enumerate(shown):
            inside, outside = row["source_accuracy"], row["target_accuracy"]
            axes.plot([inside, outside], [place] * 2, color=FAINT, linewidth=1.4, zorder=1)
            if row.get("low") is not None and row.get("high") is not None:
                axes.plot([row["low"], row["high"]], [place] * 2, color=TARGET, alpha=0.3,
                          linewidth=4, zorder=1)  # fmt: skip
            for value, color in ((inside, SOURCE), (outside, TARGET)):
                axes.plot(value, place, "o", color=color, markersize=5)
        axes.set_yticks(range(len(shown)), names)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xlabel("Accuracy")
        axes.grid(axis="x", color="#e6e6e6", linewidth=0.6)
        axes.set_axisbelow(True)
        add_heading(figure, left, title, MARKS)
        return figure
