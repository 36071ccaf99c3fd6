"""Colours and shapes that tell classes apart, on white and on black, also to the colour-blind."""

from __future__ import annotations

COLORS = (
    "#0077bb",
    "#ee7733",
    "#009988",
    "#cc3311",
    "#33aadd",
    "#ee3377",
    "#8a8a8a",
    "#aa8800",
    "#8855cc",
    "#55aa33",
)
"""Paul Tol's vibrant scheme, its cyan darkened to be seen on white, and three hues more."""

SHAPES = (
    "circle",
    "square",
    "triangle",
    "diamond",
    "inverted_triangle",
    "hex",
    "star",
    "plus",
    "square_pin",
    "triangle_pin",
    "star_dot",
)
"""Bokeh's markers, the plainest first: classes that share a colour differ in shape."""

UNKNOWN_COLOR = "#8a8a8a"


def color_of(place: int) -> str:
    """Colour of the class at a place in the legend.

    Examples
    --------
    >>> color_of(0) == color_of(10), shape_of(0) == shape_of(10)
    (True, False)
    """
    return COLORS[place % len(COLORS)]


def shape_of(place: int) -> str:
    """Marker of the class at a place in the legend."""
    return SHAPES[place // len(COLORS) % len(SHAPES)]
