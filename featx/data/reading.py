"""How stored values are converted to pixels: the value range, the pages and the bands.

These settings apply to a whole data set, never to a single image. They are passed from the command
line or an estimator's parameters to the decoder, and are part of every row's fingerprint.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from numbers import Integral, Real
from typing import Any

from featx.errors import SpecError

_NAMED_RANGES = ("dtype", "file")
_PAGES = ("first", "all", "max", "mean")
_EACH = "each"
_PERCENTILES = re.compile(r"p(\d+(?:\.\d+)?),\s*p(\d+(?:\.\d+)?)")
N_RGB = 3
_N_BANDS_OF_IMAGES = (1, N_RGB)
"""Numbers of bands of an ordinary image: gray, or red, green and blue."""


@dataclass(frozen=True)
class Reading:
    """How stored values are converted to pixels; `make_reading` makes one of parameters.

    Parameters
    ----------
    value_range : tuple of float or str, optional
        Stored values of black and white, or a string; see `make_reading`.
    pages : str, optional
    bands : tuple of int or str, optional
    measured : str, optional
        For people: how `value_range` was measured, if it was.
    """

    value_range: tuple[float, float] | str | None = None
    pages: str | None = None
    bands: tuple[int, ...] | str | None = None
    measured: str | None = field(default=None, compare=False)

    @property
    def limits(self) -> tuple[float, float] | None:
        """Stored values of black and white, if they are numbers."""
        return self.value_range if isinstance(self.value_range, tuple) else None

    @property
    def percentiles(self) -> tuple[float, float] | None:
        """Percentiles of the data set that are black and white, if the value range is `pL,pH`."""
        match = _PERCENTILES.fullmatch(str(self.value_range))
        return None if match is None else (float(match[1]), float(match[2]))

    @property
    def is_each(self) -> bool:
        """Whether every band is an image of its own, and features are concatenated over bands."""
        return self.bands == _EACH or (self.pages == "all" and self.bands is None)

    @property
    def n_bands(self) -> int:
        """Number of a network's input channels: 3, or that of the selected bands unless 1 or 3."""
        n = len(self.bands) if isinstance(self.bands, tuple) else N_RGB
        return N_RGB if n in _N_BANDS_OF_IMAGES else n

    def settings(self) -> dict[str, Any]:
        """Settings other than the default, as plain values; part of the rows' fingerprint."""
        return {
            name: getattr(self, name)
            for name in ("value_range", "pages", "bands")
            if getattr(self, name) is not None
        }

    def to_options(self) -> list[str]:
        """Equivalent options of the command line.

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
        """The same settings for a single band, counted from 1."""
        return replace(self, bands=(band,))


def make_reading(
    *,
    value_range: Any = None,
    window: Any = None,
    pages: str | None = None,
    bands: Any = None,
) -> Reading:
    """Parse the parameters or options of a `Reading`.

    Parameters
    ----------
    value_range : {"dtype", "file"}, "LOW,HIGH", "pLOW,pHIGH", or a tuple of two values, optional
        ``dtype``: the range of the stored type (0 to 1 for floats). Numbers: the stored values of
        black and white. ``p1,p99``: percentiles of the whole data set. ``file``: the range that
        each file records (bits used, lowest and highest value, window of a DICOM). By default
        ``dtype``, except for DICOMs and files that record how many bits they use.
    window : "LEVEL,WIDTH" or tuple of float, optional
        The center and width of the range from black to white.
    pages : {"first", "all", "max", "mean"}, optional
        Pages to read of files with several; ``all`` makes every page a band.
    bands : "each", "4,3,2" or sequence of int, optional
        Bands to read, counted from 1; ``each`` makes every band an image of its own.

    Raises
    ------
    SpecError
        If a value is invalid, or both `value_range` and `window` are set.

    Examples
    --------
    >>> make_reading(window="40,400").limits
    (-160.0, 240.0)
    >>> make_reading(value_range="p1,p99").percentiles, make_reading(bands="4,3,2").bands
    ((1.0, 99.0), (4, 3, 2))
    """
    if value_range is not None and window is not None:
        raise SpecError("value_range and window both define black and white; give only one.")
    limits = _parse_range(value_range) if window is None else _parse_window(window)
    if pages is not None and pages not in _PAGES:
        raise SpecError(f"pages must be one of {', '.join(_PAGES)}; got {pages!r}.")
    return Reading(limits, pages, _parse_bands(bands))


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else ",".join(f"{number:.17g}" for number in value)


def _parse_range(value_range: Any) -> tuple[float, float] | str | None:
    if value_range is None or value_range in _NAMED_RANGES:
        return value_range
    text = ",".join(map(str, _parts(value_range)))
    if match := _PERCENTILES.fullmatch(text.replace(" ", "")):
        low, high = float(match[1]), float(match[2])
        if not low < high <= 100:
            raise SpecError(f"value_range: expected rising percentiles up to 100; got {text!r}.")
        return f"p{low:g},p{high:g}"
    low, high = _parse_pair(value_range, "value_range", "dtype, file, LOW,HIGH or p1,p99")
    if low >= high:
        raise SpecError(f"value_range: black must be below white; got {low:g} and {high:g}.")
    return low, high


def _parse_window(window: Any) -> tuple[float, float]:
    level, width = _parse_pair(window, "window", "LEVEL,WIDTH")
    if width <= 0:
        raise SpecError(f"window: the width must be above 0; got {width:g}.")
    return level - width / 2, level + width / 2


def _parse_bands(bands: Any) -> tuple[int, ...] | str | None:
    if bands is None or bands == _EACH:
        return bands
    try:
        numbers = tuple(int(part) for part in _parts(bands))
    except (TypeError, ValueError):
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise SpecError(f"bands: expected 'each' or numbers from 1 such as 4,3,2; got {bands!r}.")
    return numbers


def _parse_pair(value: Any, name: str, expected: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in _parts(value))
    except (TypeError, ValueError):
        raise SpecError(f"{name}: expected {expected}; got {value!r}.") from None
    if not (isfinite(low) and isfinite(high)):
        raise SpecError(f"{name}: expected finite numbers; got {value!r}.")
    return low, high


def _parts(value: Any) -> Sequence[Any]:
    """Items of a comma-separated text, a sequence, or a single number."""
    if isinstance(value, str):
        return value.split(",")
    return [value] if isinstance(value, Integral | Real) else list(value)
