"""Colours and shapes that tell classes apart, on white and on black, also to the colour-blind."""

from __future__ import annotations

COLORS = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#d55e00",
    "#8a8a8a",
    "#b8a900",
)
"""As in the figures of `featx.plotting`, their dark grey lightened to be seen on black."""

SHAPES = (
    "circle",
    "triangle",
    "square",
    "diamond",
    "inverted_triangle",
    "hex",
    "star",
    "plus",
    "square_pin",
    "triangle_pin",
)
"""Bokeh's markers that are filled, the plainest first: classes of one colour differ in shape."""

LATE_COLORS = ("#8855cc", "#7fa61c", "#c2477f")
"""For classes after the first eighty, when every colour has had every shape."""

UNKNOWN_COLOR = "#8a8a8a"
N_EARLY = len(COLORS) * len(SHAPES)


def color_of(place: int) -> str:
    """Colour of the class at a place in the legend.

    Examples
    --------
    >>> color_of(0) == color_of(8), shape_of(0) == shape_of(8)
    (True, False)
    """
    if place < N_EARLY:
        return COLORS[place % len(COLORS)]
    return LATE_COLORS[(place - N_EARLY) % len(LATE_COLORS)]


def shape_of(place: int) -> str:
    """Marker of the class at a place in the legend."""
    if place < N_EARLY:
        return SHAPES[place // len(COLORS)]
    return SHAPES[(place - N_EARLY) // len(LATE_COLORS) % len(SHAPES)]
