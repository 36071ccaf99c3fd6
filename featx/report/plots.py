"""One look for every plot of the page; the page's script gives them its colors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bokeh.plotting import figure

_HEIGHT_PX = 320
_LONGEST_LABEL = 24


def empty_plot(name: str, **settings: Any) -> figure:
    """Plot without tools, transparent, as wide as its container.

    Parameters
    ----------
    name : str
        Under which the page's script finds it.
    **settings
        Bokeh's, of `figure`.
    """
    from bokeh.plotting import figure

    options = {
        "height": _HEIGHT_PX,
        "sizing_mode": "stretch_width",
        "toolbar_location": None,
        "tools": "",
        "min_border_right": 12,
        "outline_line_color": None,
        "lod_threshold": None,
        **settings,
    }
    plot = figure(name=name, **options)
    plot.axis.minor_tick_line_color = None
    plot.axis.major_tick_line_color = None
    plot.axis.axis_label_text_font_style = "normal"
    plot.axis.axis_label_text_font_size = "12px"
    plot.axis.major_label_text_font_size = "11.5px"
    return plot


def add_tip(plot: figure, renderer: Any, tips: list[tuple[str, str]], **settings: Any) -> None:
    """Text beside the mouse when it is on a glyph; Bokeh escapes the values.

    Parameters
    ----------
    plot : Bokeh figure
    renderer : Bokeh renderer
        The glyphs that answer.
    tips : list of (str, str)
        Label and column, the latter as ``@{column}``.
    **settings
        Bokeh's, of `HoverTool`.
    """
    from bokeh.models import HoverTool

    plot.add_tools(HoverTool(renderers=[renderer], tooltips=tips, **settings))


def name_ticks(axis: Any, labels: Sequence[str], longest: int = _LONGEST_LABEL) -> None:
    """Ticks at 0, 1, 2, ... that carry names.

    Places and not a categorical axis: two names may be the same once they are fit to print.

    Parameters
    ----------
    axis : Bokeh axis, or several
    labels : sequence of str
        None at all: no ticks.
    longest : int, default=24
        Characters that there is room for.
    """
    from bokeh.models import FixedTicker

    axis.ticker = FixedTicker(ticks=list(range(len(labels))))
    axis.major_label_overrides = {
        i: label if len(label) <= longest else label[: longest - 1] + "…"
        for i, label in enumerate(labels)
    }
    if len(labels) > 4:
        axis.major_label_orientation = 0.9


def percent_format() -> Any:
    """Formatter of an axis from 0 to 1 whose ticks are in percent."""
    from bokeh.models import NumeralTickFormatter

    return NumeralTickFormatter(format="0%")


def percent_text(value: float, low: float | None, high: float | None) -> str:
    """A value from 0 to 1 in percent, with its interval where it has one.

    Examples
    --------
    >>> percent_text(0.5, 0.4, 0.6), percent_text(0.5, None, None)
    ('50.0% [40.0%, 60.0%]', '50.0%')
    """
    text = f"{value:.1%}"
    return text if low is None or high is None else f"{text} [{low:.1%}, {high:.1%}]"


def with_gaps(values: Sequence[float | None]) -> list[float]:
    """Values with NaN for None, at which Bokeh interrupts a line."""
    return [float("nan") if value is None else value for value in values]
