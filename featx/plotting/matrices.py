"""Matrices as pictures: likeness of layers, and what was taken for what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from featx.plotting.style import INK, house_style, place_axes, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MANY_CELLS = 20
"""More lines than these have no room for a number in each cell."""


def draw_cka(layers: Sequence[str], matrix: Any, title: str = "") -> Figure:
    """Linear CKA of each layer with each.

    Parameters
    ----------
    layers : sequence of str
    matrix : array of shape (n_layers, n_layers), 0 to 1
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> draw_cka(["pool1", "fc7"], [[1, 0.4], [0.4, 1]]).axes[0].get_title("left")
    'Likeness of layers (linear CKA)'
    """
    values = np.asarray(matrix, float)
    names = [shortened(name, 16) for name in layers]
    digits = [[f"{value:.2f}".lstrip("0") for value in row] for row in values]
    return _draw_matrix(
        values, names, names, title or "Likeness of layers (linear CKA)", "CKA", "YlGnBu", digits
    )


def draw_confusion(classes: Sequence[str], matrix: Any, title: str = "") -> Figure:
    """What pictures of each class were taken for, as shares of the class.

    Parameters
    ----------
    classes : sequence of str
    matrix : array of int, shape (n_classes, n_classes)
        Rows are true.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> draw_confusion(["ant", "bee"], [[3, 1], [0, 4]]).axes[0].get_ylabel()
    'true class'
    """
    counts = np.asarray(matrix, float)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    names = [shortened(name, 20) for name in classes]
    digits = [[f"{int(value)}" if value else "" for value in row] for row in counts]
    figure = _draw_matrix(
        shares, names, names, title or "Confusion", "share of the class", "Blues", digits
    )
    figure.axes[0].set_ylabel("true class")
    figure.axes[0].set_xlabel("predicted class")
    return figure


def _draw_matrix(
    values: Any,
    lines: Sequence[str],
    columns: Sequence[str],
    title: str,
    unit: str,
    colors: str,
    digits: Sequence[Sequence[str]],
) -> Figure:
    n = max(len(lines), 2)
    is_large = n > MANY_CELLS
    cell = max(0.088, min(0.36, 5.2 / n))
    font = 4.8 if is_large and n > 60 else 5.5 if is_large else 7
    margin = 0.3 + max(map(len, lines)) * font * 0.0085
    side = cell * n
    title = shortened(title, 60)
    width = margin + max(side + 0.75, 0.088 * len(title))
    height = side + margin + 0.38
    with house_style():
        figure = Figure((width, height))
        axes = place_axes(figure, margin, margin, side, side)
        image = axes.imshow(values, cmap=colors, vmin=0, vmax=1, interpolation="nearest")
        axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=font)
        axes.set_yticks(range(len(lines)), lines, fontsize=font)
        axes.tick_params(length=0)
        axes.set_title(title, loc="left", pad=6)
        for spine in axes.spines.values():
            spine.set(visible=True, color="#c8c8c8")
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
