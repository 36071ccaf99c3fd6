"""Figures of matrices: similarity of layers, and confusion of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from featx.figures.matrix_data import ConfusionData, SimilarityData
from featx.figures.palette import FRAME, INK
from featx.figures.style import house_style, place_axes, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MANY_CELLS = 20
"""Above so many rows there is no room for a number in each cell."""


def draw_similarity(data: SimilarityData, title: str = "") -> Figure:
    """Linear CKA of each layer with each.

    Parameters
    ----------
    data : SimilarityData
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import numpy as np
    >>> data = SimilarityData(("pool1", "fc7"), np.array([[1, 0.4], [0.4, 1]]))
    >>> draw_similarity(data).axes[0].get_title("left")
    'Similarity of layers (linear CKA)'
    """
    return _draw_matrix(
        data.values,
        [shortened(name, 16) for name in data.layers],
        title or "Similarity of layers (linear CKA)",
        unit="CKA",
        colors="YlGnBu",
        digits=[[f"{value:.2f}".lstrip("0") for value in row] for row in data.values],
    )


def draw_confusion(data: ConfusionData, title: str = "") -> Figure:
    """Predicted classes of the images of each true class, as shares of it.

    Parameters
    ----------
    data : ConfusionData
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import numpy as np
    >>> data = ConfusionData(("ant", "bee"), np.array([[3, 1], [0, 4]]))
    >>> draw_confusion(data).axes[0].get_ylabel()
    'true class'
    """
    figure = _draw_matrix(
        data.shares,
        [shortened(name, 20) for name in data.classes],
        title or "Confusion",
        unit="share of the class",
        colors="Blues",
        digits=[[str(int(count)) if count else "" for count in row] for row in data.counts],
    )
    figure.axes[0].set_ylabel("true class")
    figure.axes[0].set_xlabel("predicted class")
    return figure


def _draw_matrix(
    values: Any,
    names: Sequence[str],
    title: str,
    *,
    unit: str,
    colors: str,
    digits: Sequence[Sequence[str]],
) -> Figure:
    n = max(len(names), 2)
    is_large = n > _MANY_CELLS
    cell = max(0.088, min(0.36, 5.2 / n))
    font = 4.8 if is_large and n > 60 else 5.5 if is_large else 7
    margin = 0.3 + max(map(len, names)) * font * 0.0085
    side = cell * n
    title = shortened(title, 60)
    width = margin + max(side + 0.75, 0.088 * len(title))
    height = side + margin + 0.38
    with house_style():
        figure = Figure((width, height))
        axes = place_axes(figure, margin, margin, side, side)
        image = axes.imshow(values, cmap=colors, vmin=0, vmax=1, interpolation="nearest")
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=font)
        axes.set_yticks(range(len(names)), names, fontsize=font)
        axes.tick_params(length=0)
        axes.set_title(title, loc="left", pad=6)
        for spine in axes.spines.values():
            spine.set(visible=True, color=FRAME)
        if not is_large:
            _write_digits(axes, values, digits, cell=cell)
        bar = figure.colorbar(image, cax=place_axes(figure, margin + side + 0.1, margin, 0.1, side))
        bar.outline.set_linewidth(0.4)
        bar.set_ticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "0.25", "0.50", "0.75", "1"])
        bar.ax.tick_params(labelsize=6, length=2)
        bar.set_label(unit, fontsize=7)
        return figure


def _write_digits(axes: Axes, values: Any, digits: Sequence[Sequence[str]], *, cell: float) -> None:
    size = min(6.5, cell * 72 * 0.36)
    for line, row in enumerate(digits):
        for column, text in enumerate(row):
            color = "white" if values[line, column] > 0.6 else INK
            axes.text(column, line, text, ha="center", va="center", fontsize=size, color=color)
