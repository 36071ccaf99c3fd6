"""Escape untrusted text for the page, and format numbers and column names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from featx.features.columns import find_column

_JOINER = "\u2060"
"""Word joiner: takes no room, and keeps two characters from being read as one sign."""

_UNFIT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_TEX = re.compile(r"\$(?=\$)|\\(?=[(\[])")


def clean(value: Any) -> str:
    r"""Text that every browser shows: bytes that are no character stand as ``\udcNN``.

    Examples
    --------
    >>> clean("caf\udce9.jpg")
    'caf\\udce9.jpg'
    """
    return _UNFIT.sub(lambda match: ascii(match[0])[1:-1], str(value))


def plot_label(value: Any) -> str:
    """Text for a label that Bokeh draws, which would typeset TeX and fetch MathJax for it.

    Examples
    --------
    >>> plot_label("$$x$$") == "$$x$$"
    False
    """
    return _TEX.sub(lambda match: match[0] + _JOINER, clean(value))


def short_path(path: str) -> str:
    """The last two parts of a path: mostly the class and the file.

    Examples
    --------
    >>> short_path("photos/train/ants/7.jpg")
    'ants/7.jpg'
    """
    return "/".join(re.split(r"[\\/]", path)[-2:])


def column_label(name: str) -> str:
    """A column's label, fit for a page.

    Examples
    --------
    >>> column_label("ms_per_image"), column_label("balanced_accuracy")
    ('ms/image', 'Balanced accuracy')
    """
    return clean(find_column(name).label)


def number(value: float) -> str:
    """A number with its significant digits.

    Examples
    --------
    >>> number(0.8571), number(-12.3), number(45678.0), number(0.00012)
    ('0.857', '−12.3', '45,678', '0.00012')
    """
    if isinstance(value, int) or value == 0:
        return f"{int(value):,}".replace("-", "−")
    if value < 0:
        return "−" + number(-value)
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2g}" if 0 < value < 0.001 else f"{value:.3f}"


def words(value: Any) -> str:
    """A setting in words: lists with commas, mappings as ``name value``.

    Examples
    --------
    >>> words({"n_splits": 5, "shuffle": True, "grid": [0.1, 1.0]})
    'n splits 5 · shuffle yes · grid 0.1, 1.0'
    """
    if isinstance(value, Mapping):
        parts = (
            f"{clean(key).replace('_', ' ')} {words(item)}"
            for key, item in value.items()
            if item is not None
        )
        return " · ".join(parts)
    if isinstance(value, list | tuple):
        return ", ".join(words(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return clean(value)


def command_line(provenance: Mapping[str, Any]) -> str | None:
    """The command as it would be typed again, None where there was none.

    Examples
    --------
    >>> command_line({"command": ["/usr/bin/featx", "depth", "my photos"]})
    "featx depth 'my photos'"
    """
    command = provenance.get("command")
    if not command:
        return None
    if isinstance(command, str):
        return clean(command)
    first, *others = map(str, command)
    return clean(shlex.join([re.split(r"[\\/]", first)[-1], *others]))
