"""Figure of embeddings side by side: same images, same colors, same scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from featx.figures.palette import FAINT, FRAME, QUIET
from featx.figures.scatter_data import (
    Group,
    ScatterData,
    ScatterPanel,
    find_groups,
    square_extent,
)
from featx.figures.style import (
    WIDTH,
    house_style,
    place_axes,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_N_COLUMNS = 3
_MANY_POINTS = 20_000
"""Above so many points they are pixels in vector files too, which would grow too large."""

_N_PARTS = 6
_GAP, _CAPTION, _MARGIN, _LINE = 0.12, 0.36, 0.06, 0.165
"""Inches: between panels, above each, around all, and a line of the legend."""


def draw_scatter(data: ScatterData, title: str = "") -> Figure:
    """Embeddings as small multiples, colored by group, each with its faithfulness.

    Parameters
    ----------
    data : ScatterData
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> panel = ScatterPanel("fc7", "pca", np.array([[0, 0], [1, 1], [2, 0]]), 1.0, 1.0)
    >>> len(draw_scatter(ScatterData((panel, panel), ("a", "b", "a"), {})).axes)
    2
    """
    panels = data.panels
    n_columns = min(_N_COLUMNS, len(panels) if len(panels) != 4 else 2)
    n_lines = -(-len(panels) // n_columns)
    width = min(WIDTH, 2 * _MARGIN + n_columns * 4.2)
    side = (width - 2 * _MARGIN - (n_columns - 1) * _GAP) / n_columns
    shown, note = find_groups(data)
    head = 0.28 if title else 0.0
    foot = _legend_height(shown, note, width)
    height = head + n_lines * (side + _CAPTION) + foot + 2 * _MARGIN
    with house_style():
        figure = Figure((width, height))
        for i, panel in enumerate(panels):
            line, column = divmod(i, n_columns)
            left = _MARGIN + column * (side + _GAP)
            bottom = height - _MARGIN - head - (line + 1) * (side + _CAPTION)
            axes = place_axes(figure, left, bottom, side, side)
            _draw_panel(axes, panel, shown, largest=8 if len(panels) > 1 else 24)
            _caption(axes, panel, side)
        _set_limits(figure.axes, panels)
        if title:
            left, top = _MARGIN / width, 1 - _MARGIN / height
            figure.text(left, top, shortened(title, 90), va="top", fontsize=9, weight="bold")
        _add_legend(figure, shown, note)
        return figure


def _draw_panel(axes: Axes, panel: ScatterPanel, shown: Sequence[Group], *, largest: float) -> None:
    points = panel.coordinates
    n_points = len(points)
    n_in_color = sum(len(group.indices) for group in shown if group.color != FAINT)
    size, small = (float(np.clip(8000 / max(n, 1), 1.4, largest)) for n in (n_in_color, n_points))
    for order, group, indices in _shuffled_parts(shown):
        is_background = group.color == FAINT
        axes.scatter(
            points[indices, 0],
            points[indices, 1],
            s=small if is_background else size * (1.2 if group.marker == "^" else 1.0),
            c=group.color,
            marker=group.marker,
            alpha=0.85,
            linewidths=0,
            zorder=1 if is_background else 2 + order / 1e6,
            rasterized=n_points > _MANY_POINTS,
        )
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, color=FRAME, linewidth=0.6)


def _shuffled_parts(shown: Sequence[Group]) -> Iterator[tuple[int, Group, Any]]:
    """Parts of all groups in turn, so that no group lies on top of all others."""
    rng = np.random.default_rng(0)
    parts = [np.array_split(rng.permutation(group.indices), _N_PARTS) for group in shown]
    for turn in range(_N_PARTS):
        for i, group in enumerate(shown):
            yield turn * len(shown) + i, group, parts[i][turn]


def _caption(axes: Axes, panel: ScatterPanel, side: float) -> None:
    trust, shared = panel.trustworthiness, panel.neighbors_kept
    name = shortened(panel.layer, int(side * 13))
    axes.annotate(
        name, (0, 1), (0, 14), "axes fraction", "offset points", weight="bold", fontsize=8.5
    )
    if trust is not None and shared is not None:
        text = f"trustworthiness {trust:.2f}, neighbors kept {shared:.0%}"
        axes.annotate(
            text, (0, 1), (0, 4), "axes fraction", "offset points", fontsize=6.5, color=QUIET
        )


def _set_limits(axes: Sequence[Axes], panels: Sequence[ScatterPanel]) -> None:
    """The same square in all panels, as small as holds every point of each."""
    xlim, ylim = square_extent([panel.coordinates for panel in panels], margin=0.04)
    for one in axes:
        one.set_xlim(xlim)
        one.set_ylim(ylim)
        one.set_aspect("equal")


def _legend_height(shown: Sequence[Group], note: str, width: float) -> float:
    n_lines = -(-len(shown) // _legend_columns(shown, width))
    return 0.1 + _LINE * (n_lines + bool(note))


def _legend_columns(shown: Sequence[Group], width: float) -> int:
    """As many columns as names have room for."""
    longest = max(len(shortened(group.name)) for group in shown)
    return int(np.clip((width - 2 * _MARGIN) / (0.3 + 0.067 * longest), 1, len(shown)))


def _add_legend(figure: Figure, shown: Sequence[Group], note: str) -> None:
    from matplotlib.lines import Line2D

    width, height = figure.get_size_inches()
    ordered = [*[g for g in shown if g.color != FAINT], *[g for g in shown if g.color == FAINT]]
    lines = [
        Line2D(
            [], [], linestyle="", marker=group.marker, color=group.color, markersize=4.5,
            markeredgewidth=0, label=shortened(group.name),
        )
        for group in ordered
    ]  # fmt: skip
    figure.legend(
        handles=lines, loc="lower left", ncols=_legend_columns(shown, width), borderpad=0,
        bbox_to_anchor=(_MARGIN / width, _MARGIN / height), borderaxespad=0, handletextpad=0.1,
        columnspacing=1.0, labelspacing=0.35, fontsize=7,
    )  # fmt: skip
    if note:
        n_lines = -(-len(shown) // _legend_columns(shown, width))
        up = (_MARGIN + _LINE * n_lines + 0.03) / height
        figure.text(_MARGIN / width, up, note, fontsize=6.5, color=QUIET, va="bottom")
