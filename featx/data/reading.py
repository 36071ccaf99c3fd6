"""How stored values become pixels: which are black and white, which pages and which bands.

It belongs to a data set, never to one image, travels from the command line or an estimator's
parameters to the decoder, and is a part of every row's fingerprint.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from numbers import Integral, Real
from typing import Any

from featx.errors import SpecError

_WORDS = ("dtype", "file")
_PAGES = ("first", "all", "max", "mean")
_EACH = "each"
_PERCENTILES = re.compile(r"p(\d+(?:\.\d+)?),\s*p(\d+(?:\.\d+)?)")
N_RGB = 3
_SHOWN = (1, N_RGB)
"""Numbers of bands that are shown as they are: gray, and red, green, blue."""


@dataclass(frozen=True)
class Reading:
    """How stored values become pixels, with `window` resolved to a range.

    Parameters
    ----------
    value_range : tuple of float or str, optional
        The values of black and white, or a word; see `make_reading`.
    pages : str, optional
    bands : tuple of int or str, optional
    measured : str, optional
        Where `value_range` comes from, if it was measured; decides nothing.
    """

    value_range: tuple[float, float] | str | None = None
    pages: str | None = None
    bands: tuple[int, ...] | str | None = None
    measured: str | None = field(default=None, compare=False)

    @property
    def limits(self) -> tuple[float, float] | None:
        """Values of black and white where they are known as numbers."""
        return self.value_range if isinstance(self.value_range, tuple) else None

    @property
    def percentiles(self) -> tuple[float, float] | None:
        """Percentiles of the data set that are to be black and white."""
        found = _PERCENTILES.fullmatch(str(self.value_range))
        return None if found is None else (float(found[1]), float(found[2]))

    @property
    def is_each(self) -> bool:
        """Whether every band is an image of its own, their features side by side."""
        return self.bands == _EACH or (self.pages == "all" and self.bands is None)

    @property
    def n_bands(self) -> int:
        """Channels that a network gets: 3, or the bands asked for where these are 2, 4 or more."""
        n = len(self.bands) if isinstance(self.bands, tuple) else N_RGB
        return N_RGB if n in _SHOWN else n

    def settings(self) -> dict[str, Any]:
        """What is not as it is by default, as plain values; nothing by default."""
        return {
            name: getattr(self, name)
            for name in ("value_range", "pages", "bands")
            if getattr(self, name) is not None
        }

    def to_options(self) -> list[str]:
        """Words of a command line that mean the same.

        Examples
        --------
        >>> Reading((-160.0, 240.0), bands=(4, 3, 2)).to_options()
        ['--value-range=-160,240', '--bands=4,3,2']
        """
        return [
            f"--{name.replace('_', '-')}={_as_text(value)}"
            for name, value in self.settings().items()
        ]

    def of_band(self, band: int) -> Reading:
        """The same for one band alone, counted from 1."""
        return replace(self, bands=(band,))


def make_reading(
    *,
    value_range: Any = None,
    window: Any = None,
    pages: str | None = None,
    bands: Any = None,
) -> Reading:
    """Reading that parameters or options mean.

    Parameters
    ----------
    value_range : {"dtype", "file"}, "LOW,HIGH", "pLOW,pHIGH", or two of these values, optional
        ``dtype``: the range of the stored type (floats: 0 to 1). Numbers: the values of black
        and white. ``p1,p99``: these percentiles of the whole data set. ``file``: what each file
        says of itself (bits used, lowest and highest value, a DICOM's window). By default as
        ``dtype``, but for files that say how many of their bits they use, and DICOMs.
    window : "LEVEL,WIDTH" or tuple of float, optional
        Black and white by their middle and their distance.
    pages : {"first", "all", "max", "mean"}, optional
        Of files with several. ``all`` makes each of them a band.
    bands : "each", "4,3,2" or sequence of int, optional
        Bands to take, counted from 1; ``each`` makes every one an image of its own.

    Raises
    ------
    SpecError
        If a value cannot be understood, or `value_range` and `window` are both given.

    Examples
    --------
    >>> make_reading(window="40,400").limits
    (-160.0, 240.0)
    >>> make_reading(value_range="p1,p99").percentiles, make_reading(bands="4,3,2").bands
    ((1.0, 99.0), (4, 3, 2))
    """
    if value_range is not None and window is not None:
        raise SpecError("value_range and window both say what is black and white; give one.")
    limits = _read_range(value_range) if window is None else _read_window(window)
    if pages is not None and pages not in _PAGES:
        raise SpecError(f"pages must be one of {', '.join(_PAGES)}; got {pages!r}.")
    return Reading(limits, pages, _read_bands(bands))


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else ",".join(f"{number:.17g}" for number in value)


def _read_range(given: Any) -> tuple[float, float] | str | None:
    if given is None or given in _WORDS:
        return given
    text = given if isinstance(given, str) else ",".join(map(str, _sequence(given)))
    if found := _PERCENTILES.fullmatch(text.replace(" ", "")):
        low, high = float(found[1]), float(found[2])
        if not low < high <= 100:
            raise SpecError(f"value_range: expected rising percentiles up to 100; got {text!r}.")
        return f"p{low:g},p{high:g}"
    low, high = _two_numbers(given, "value_range", "dtype, file, LOW,HIGH or p1,p99")
    if low >= high:
        raise SpecError(f"value_range: black must be below white; got {low:g} and {high:g}.")
    return low, high


def _read_window(given: Any) -> tuple[float, float]:
    level, width = _two_numbers(given, "window", "LEVEL,WIDTH")
    if width <= 0:
        raise SpecError(f"window: the width must be above 0; got {width:g}.")
    return level - width / 2, level + width / 2


def _read_bands(given: Any) -> tuple[int, ...] | str | None:
    if given is None or given == _EACH:
        return given
    try:
        parts = given.split(",") if isinstance(given, str) else _sequence(given)
        bands = tuple(int(part) for part in parts)
    except (TypeError, ValueError):
        bands = ()
    if not bands or min(bands) < 1:
        raise SpecError(f"bands: expected 'each' or numbers from 1 such as 4,3,2; got {given!r}.")
    return bands


def _two_numbers(given: Any, name: str, expected: str) -> tuple[float, float]:
    try:
        parts = given.split(",") if isinstance(given, str) else _sequence(given)
        low, high = (float(part) for part in parts)
    except (TypeError, ValueError):
        raise SpecError(f"{name}: expected {expected}; got {given!r}.") from None
    if not (isfinite(low) and isfinite(high)):
        raise SpecError(f"{name}: expected finite numbers; got {given!r}.")
    return low, high


def _sequence(given: Any) -> Sequence[Any]:
    return [given] if isinstance(given, Integral | Real) else list(given)
