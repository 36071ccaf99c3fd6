"""The page's heat maps: confusion of classes, and similarity of layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from featx.figures.matrix_data import ConfusionData, SimilarityData
from featx.figures.palette import SCREEN, color_of
from featx.report.page_text import clean, plot_label
from featx.report.plots import add_tip, empty_plot, name_ticks

if TYPE_CHECKING:
    from bokeh.plotting import figure

_MAX_LABELED = 40
"""Classes up to which a matrix names each row; above it the mouse does."""

_MAX_NUMBERED = 12
"""Classes up to which a matrix shows numbers in its cells."""

_DARK = 0.6
"""Shade of a cell above which its number is white."""

_N_PAIRS = 12


def plot_confusion(data: ConfusionData, key: str) -> figure:
    """Counts by true and predicted class, shaded by the share of the true class.

    Parameters
    ----------
    data : ConfusionData
    key : str
        Tells this plot from others on the page.
    """
    counts = data.counts
    texts = [[f"{count} of {row.sum()}" for count in row] for row in counts]
    numbers = [[str(count) if count else "" for count in row] for row in counts]
    tips = [("true", "@row"), ("predicted", "@column"), ("images", "@tip")]
    names = (data.classes, "Said", "True")
    return _heat_map(f"figure-confusion-{key}", names, data.shares, texts, numbers, tips)


def plot_similarity(data: SimilarityData, key: str) -> figure:
    """CKA between layers.

    Parameters
    ----------
    data : SimilarityData
    key : str
        Tells this plot from others on the page.
    """
    values = data.values
    texts = [[f"{value:.3f}" for value in row] for row in values]
    numbers = [[f"{value:.2f}" for value in row] for row in values]
    tips = [("layers", "@row, @column"), ("CKA", "@tip")]
    return _heat_map(f"figure-cka-{key}", (data.layers, "", ""), values, texts, numbers, tips)


def confused_pairs(data: ConfusionData) -> list[dict[str, Any]]:
    """Pairs of classes that are confused most often, the worst first.

    Examples
    --------
    >>> confused_pairs(ConfusionData(("ant", "bee"), np.array([[8, 2], [0, 9]])))
    [{'true': 'ant', 'predicted': 'bee', 'n': 2, 'share': 0.2}]
    """
    classes, counts = data.classes, data.counts
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_N_PAIRS]
    pairs = [divmod(int(index), len(classes)) for index in order]
    return [
        {
            "true": clean(classes[i]),
            "predicted": clean(classes[j]),
            "n": int(counts[i, j]),
            "share": float(counts[i, j] / counts[i].sum()),
        }
        for i, j in pairs
        if wrong[i, j] > 0
    ]


def _heat_map(
    name: str,
    names: tuple[Sequence[str], str, str],
    shares: Any,
    texts: Sequence[Sequence[str]],
    numbers: Sequence[Sequence[str]],
    tips: list[tuple[str, str]],
) -> figure:
    from bokeh.models import ColumnDataSource

    labels = [plot_label(text) for text in names[0]]
    n = len(labels)
    # What is nothing is not drawn: of 102 x 102 cells a tenth is left.
    rows, columns = (indices.tolist() for indices in np.nonzero(shares > 0))
    data: dict[str, list[Any]] = {
        "i": rows,
        "j": columns,
        "shade": [_shade(shares[i, j]) for i, j in zip(rows, columns)],
        "row": [labels[i] for i in rows],
        "column": [labels[j] for j in columns],
        "tip": [texts[i][j] for i, j in zip(rows, columns)],
        "number": [numbers[i][j] for i, j in zip(rows, columns)],
    }
    plot = empty_plot(
        name,
        height=_height(n),
        x_range=(-0.5, n - 0.5),
        y_range=(n - 0.5, -0.5),
        x_axis_label=names[1],
        y_axis_label=names[2],
        x_axis_location="above",
    )
    _label_axes(plot, labels)
    source = ColumnDataSource(data)
    width = 0.94 if n <= _MAX_LABELED else 1
    cells = plot.rect(
        "j",
        "i",
        width,
        width,
        source=source,
        color=color_of(0, SCREEN),
        alpha="shade",
        line_color=None,
    )
    if n <= _MAX_NUMBERED:
        _add_numbers(plot, data)
    add_tip(plot, cells, tips)
    return plot


def _add_numbers(plot: figure, data: dict[str, list[Any]]) -> None:
    """Numbers in the cells: white on the dark ones, in the page's ink on the others."""
    for is_dark in (True, False):
        cells = [i for i, shade in enumerate(data["shade"]) if (shade > _DARK) == is_dark]
        plot.text(
            [data["j"][i] for i in cells],
            [data["i"][i] for i in cells],
            text=[data["number"][i] for i in cells],
            text_align="center",
            text_baseline="middle",
            text_font_size="12px",
            text_color="white",
            name="" if is_dark else "ink-text",
        )


def _shade(share: float) -> float:
    """How opaque a cell is: rare mistakes are lifted, or nobody would see them."""
    return float(0.1 + 0.9 * np.clip(share, 0, 1) ** 0.7)


def _height(n: int) -> int:
    return int(np.clip(150 + 24 * n, 280, 620))


def _label_axes(plot: figure, labels: Sequence[str]) -> None:
    plot.grid.visible = False
    plot.axis.axis_line_color = None
    for axis in plot.axis:
        name_ticks(axis, labels if len(labels) <= _MAX_LABELED else [])
    plot.yaxis.major_label_orientation = "horizontal"
