"""What all figures share: fonts, lines, headings, and how they are saved."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

from featx._files import atomic_write
from featx.errors import ResultFileError
from featx.figures.palette import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 7.0
"""Inches: the text of a page, or two columns of one."""

_SETTINGS: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "svg.hashsalt": "featx",
    "svg.fonttype": "path",
    "savefig.dpi": 200,
    "figure.dpi": 100,
}
_LONGEST_NAME = 24


@contextmanager
def house_style() -> Iterator[None]:
    """Settings of all figures, for the length of a ``with`` block, whatever the user's own."""
    with mpl.rc_context(), warnings.catch_warnings():
        # A class name in a script that the font lacks is drawn as boxes, and no reason to stop.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def save_figure(
    figure: Figure, path: str | os.PathLike[str], formats: Sequence[str] = ("png", "svg")
) -> list[Path]:
    """Write a figure to files that are the same whenever it is.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : path
        Its suffix, if it is one of a format, is replaced by each of `formats`.
    formats : sequence of str, default=("png", "svg")

    Returns
    -------
    list of Path

    Raises
    ------
    ResultFileError
        If they cannot be written.
    """
    base, written = Path(path), []
    try:
        base.parent.mkdir(parents=True, exist_ok=True)
        for form in formats:
            file = _file_of(base, form, formats)
            with house_style(), atomic_write(file) as temporary:
                figure.savefig(temporary, format=form, metadata=_metadata(form), facecolor="white")
            written.append(file)
    except OSError as error:
        raise ResultFileError(f"Cannot write {base}: {error.strerror}.") from error
    return written


def _file_of(base: Path, form: str, formats: Sequence[str]) -> Path:
    suffix = base.suffix.lower().removeprefix(".")
    if suffix == form:
        return base
    stem = base.stem if suffix in formats else base.name
    return base.with_name(f"{stem}.{form}")


def shortened(name: str, longest: int = _LONGEST_NAME) -> str:
    """A name that a legend has room for.

    Examples
    --------
    >>> shortened("Gerenuk, the giraffe gazelle", 12)
    'Gerenuk, th…'
    """
    name = " ".join(name.split()) or "(none)"
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def place_axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a position in inches from the lower left corner."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def add_heading(
    figure: Figure, left: float, title: str, lines: Sequence[tuple[str, dict[str, Any]]]
) -> None:
    """Write a title, if there is one, and below it the legend.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    left : float
        Inches from the left edge.
    title : str
    lines : sequence of tuple
        Name, and how `matplotlib.lines.Line2D` draws it.
    """
    from matplotlib.lines import Line2D

    width, up = figure.get_size_inches()
    figure.legend(
        handles=[Line2D([], [], label=name, **look) for name, look in lines],
        loc="upper left", ncols=max(1, len(lines)), borderaxespad=0, borderpad=0,
        bbox_to_anchor=(left / width, 1 - (0.22 if title else 0.05) / up),
    )  # fmt: skip
    if title:
        words = shortened(title, 90)
        figure.text(left / width, 1 - 0.05 / up, words, va="top", fontsize=9, weight="bold")


def _metadata(form: str) -> dict[str, Any]:
    # Dates and versions would make other bytes of the same figure.
    return {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }.get(form, {})
