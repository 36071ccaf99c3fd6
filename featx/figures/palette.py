"""The palette: colors and markers that tell classes apart, also for color-blind readers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Palette:
    """Colors and markers of a medium, in the order in which classes take them.

    Attributes
    ----------
    colors : tuple of str
        Class after class takes the next; the first eight differ by color alone.
    markers : tuple of str
        As the drawing library names them. Eight classes share one, then the next begins.
    late_colors : tuple of str
        For classes after those, when every color has had every marker.
    """

    colors: tuple[str, ...]
    markers: tuple[str, ...]
    late_colors: tuple[str, ...] = ()


_OKABE_ITO = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
_DARK_YELLOW = "#b8a900"
"""Okabe and Ito's yellow, darkened to be seen on white."""

_PAPER = Palette(
    colors=(*_OKABE_ITO, "#4d4d4d", _DARK_YELLOW, "#6a3d9a", "#8b5a2b"),
    markers=("o", "^", "s"),
)
"""Figures: on white. The last two colors never occur with the first marker."""

SCREEN = Palette(
    # The gray is lighter than on paper, to be seen on black.
    colors=(*_OKABE_ITO, "#8a8a8a", _DARK_YELLOW),
    markers=(
        *("circle", "triangle", "square", "diamond", "inverted_triangle"),
        *("hex", "star", "plus", "square_pin", "triangle_pin"),
    ),
    late_colors=("#8855cc", "#7fa61c", "#c2477f"),
)
"""The page: on white and on black. Bokeh's filled markers, the plainest first."""

_N_PER_MARKER = 8
N_PAPER_LOOKS = _N_PER_MARKER * len(_PAPER.markers)
"""Classes that a figure can tell apart."""

TRAINED = SOURCE = _OKABE_ITO[0]
RANDOM = TARGET = _OKABE_ITO[5]
"""The network with its weights and with random ones; accuracy in and beyond a domain."""

FAINT, QUIET, INK, SHUFFLED = "#d4d4d4", "#767676", "#222222", "#8c8c8c"
"""Greys of figures."""

GRID, FRAME = "#e6e6e6", "#c8c8c8"
"""Greys of figures' grid lines, and of frames around panels."""

UNKNOWN = "#8a8a8a"
"""The page's gray: controls, and points of no class."""


def color_of(index: int, palette: Palette = _PAPER) -> str:
    """Color of the class at an index of the legend.

    Examples
    --------
    >>> color_of(0) == color_of(0, SCREEN)
    True
    >>> color_of(0, SCREEN) == color_of(8, SCREEN), marker_of(0, SCREEN) == marker_of(8, SCREEN)
    (True, False)
    """
    late = _late_index(index, palette)
    if late is None:
        return palette.colors[index % len(palette.colors)]
    return palette.late_colors[late % len(palette.late_colors)]


def marker_of(index: int, palette: Palette = _PAPER) -> str:
    """Marker of the class at an index of the legend.

    Examples
    --------
    >>> marker_of(7), marker_of(8), marker_of(80, SCREEN)
    ('o', '^', 'circle')
    """
    late = _late_index(index, palette)
    step = index // _N_PER_MARKER if late is None else late // len(palette.late_colors)
    return palette.markers[step % len(palette.markers)]


def _late_index(index: int, palette: Palette) -> int | None:
    """Index among the classes that take late colors, None for the earlier ones."""
    late = index - _N_PER_MARKER * len(palette.markers)
    return late if palette.late_colors and late >= 0 else None
