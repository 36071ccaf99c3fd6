"""Stored values -> pixels from 0, black, to 255, white: the only place where they are scaled."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.data.reading import Reading
from featx.errors import ImageError, PagesWarning, ValueRangeWarning

Array = npt.NDArray[Any]
Limits = tuple[float, float]

_WHITE = 255.0
_OF_8_BITS: Limits = (0.0, 255.0)
_ROUNDING = 0.01
"""By which computed values may leave black and white, in 1/255 of the range."""

_DEEP, _LITTLE = 32767, 4
"""Highest value of 16 bits, and the part of it below which fewer bits seem to be used."""

WARNINGS = ("pages", "cut", "depth")
"""Kinds of warnings, each given once for a data set."""

_CURE = "value_range=(LOW, HIGH), on the command line by --value-range LOW,HIGH"


@dataclass(frozen=True)
class StoredImage:
    """One image as it is stored.

    Parameters
    ----------
    values : ndarray of shape (h, w, n_bands), any type of numbers
        The page or pages asked for, upright.
    limits : tuple of float, optional
        Values of black and white, where the file says how deep they are.
    noted_limits : tuple of float, optional
        Lowest and highest value that the file notes, taken where that is asked for.
    is_inverted : bool, default=False
        Whether the lowest value is white.
    is_sure : bool, default=True
        Whether `limits` are surely those, rather than all that the type can hold.
    alpha : ndarray of shape (h, w), optional
        Opacity from 0 to 1.
    n_pages : int, default=1
        Pages of the file.
    stored_type : dtype, optional
        Type in the file, where `values` have another: they are the mean of pages.
    """

    values: Array
    limits: Limits | None = None
    noted_limits: Limits | None = None
    is_inverted: bool = False
    is_sure: bool = True
    alpha: Array | None = None
    n_pages: int = 1
    stored_type: np.dtype[Any] | None = None


def to_pixels(
    stored: StoredImage, reading: Reading, name: str, told: set[str] | None = None
) -> Array:
    """Pixels of a stored image.

    Parameters
    ----------
    stored : StoredImage
    reading : Reading
        Says what is black and white, and which bands are taken.
    name : str
        The image's, in errors and warnings.
    told : set of str, optional
        Kinds of warnings given already for this data set; they are given once.

    Returns
    -------
    ndarray of shape (h, w, 3), or (h, w, n) of n bands that were asked for
        0 to 255: uint8 where that loses nothing, else float32.

    Raises
    ------
    ImageError
        If the values are no numbers or not finite, or their bands are no image.

    Warns
    -----
    ValueRangeWarning
        If nobody said what is black and white, and the values are not those of their type.
    PagesWarning
        If nobody said which pages are taken, and there are several.
    """
    warn = _Warner(name, set() if told is None else told)
    if stored.n_pages > 1 and reading.pages is None:
        warn.of_pages(stored.n_pages)
    stored = _take_bands(stored, reading, name)
    pixels = _scale(stored, reading, warn)
    if stored.alpha is not None and reading.bands is None:
        pixels = np.float32(_WHITE) - stored.alpha[:, :, None] * (np.float32(_WHITE) - pixels)
        pixels = pixels.astype(np.float32)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else np.ascontiguousarray(pixels)


def type_limits(dtype: np.dtype[Any]) -> Limits:
    """Lowest and highest value of an integer type; 0 and 1 of others.

    Examples
    --------
    >>> type_limits(np.dtype(np.int16))
    (-32768.0, 32767.0)
    """
    if dtype.kind not in "ui":
        return 0.0, 1.0
    found = np.iinfo(dtype)
    return float(found.min), float(found.max)


def split_alpha(stored: StoredImage, reading: Reading) -> StoredImage:
    """The last of two or four bands as opacity, unless bands are asked for by number.

    Parameters
    ----------
    stored : StoredImage
    reading : Reading
    """
    if reading.bands is not None or stored.values.shape[2] not in (2, 4):
        return stored
    low, high = reading.limits or stored.limits or _default_limits(stored.values.dtype)
    alpha = (stored.values[:, :, -1].astype(np.float64) - low) / (high - low)
    return replace(stored, values=stored.values[:, :, :-1], alpha=alpha.clip(0, 1))


class _Warner:
    """Warnings about one image, each kind once in its data set."""

    def __init__(self, name: str, told: set[str]) -> None:
        self.name = name
        self.told = told

    def of_pages(self, n_pages: int) -> None:
        self._warn(
            "pages",
            f"{n_pages} pages, of which the first is read; pages='max', 'mean' or 'all' "
            "(--pages) takes them all, 'first' says that this is meant.",
            PagesWarning,
        )

    def of_cut(self, values: Array, least: float, most: float, limits: Limits) -> None:
        self._warn(
            "cut",
            f"{values.dtype} values from {least:g} to {most:g}; those outside "
            f"{limits[0]:g} to {limits[1]:g} are cut off: say what is black and white by {_CURE}.",
            ValueRangeWarning,
        )

    def of_depth(self, values: Array, least: float, most: float, limits: Limits) -> None:
        white = 2 ** max(8, int(most).bit_length()) - 1
        low, high = (0, white) if least >= 0 else (int(least), int(most))
        self._warn(
            "depth",
            f"{values.dtype} values from {least:g} to {most:g} fill little of {limits[0]:g} to "
            f"{limits[1]:g}, which are read as black and white. If these are {low} and {high}, "
            f"give value_range=({low}, {high}), on the command line --value-range={low},{high}; "
            "if all is well, 'dtype'.",
            ValueRangeWarning,
        )

    def _warn(self, kind: str, text: str, category: type[Warning]) -> None:
        if kind not in self.told:
            self.told.add(kind)
            warnings.warn(f"{self.name}: {text}", category, stacklevel=6)


def _take_bands(stored: StoredImage, reading: Reading, name: str) -> StoredImage:
    n_bands = stored.values.shape[2]
    if isinstance(reading.bands, tuple):
        if max(reading.bands) > n_bands:
            raise ImageError(
                name, f"expected {max(reading.bands)} bands or more, got {n_bands}; see bands"
            )
        return replace(stored, values=stored.values[:, :, [band - 1 for band in reading.bands]])
    if reading.is_each:
        raise ImageError(name, "every band is an image of its own; expected bands by number")
    if n_bands not in (1, 3):
        raise ImageError(
            name,
            f"{n_bands} bands: take one or three by bands (--bands 4,3,2), each as an image of its "
            "own (--bands each), or all of them for a network (--bands 1,2,…)",
        )
    return stored


def _scale(stored: StoredImage, reading: Reading, warn: _Warner) -> Array:
    values = stored.values
    if values.dtype.kind not in "buif":
        raise ImageError(warn.name, f"expected numbers as pixels; got {values.dtype}")
    if values.dtype.kind == "b":
        values = values.astype(np.uint8) * np.uint8(_WHITE) if reading.limits is None else values
    limits, is_known = _find_limits(replace(stored, values=values), reading)
    if values.dtype.str == "|u1" and limits == _OF_8_BITS:
        return _inverted(values) if stored.is_inverted else values
    least, most = float(values.min()), float(values.max())
    if not np.isfinite([least, most]).all():
        raise ImageError(warn.name, "the image holds NaN or infinity")
    slack = _ROUNDING * (limits[1] - limits[0]) / _WHITE
    if not is_known and not limits[0] - slack <= least <= most <= limits[1] + slack:
        warn.of_cut(values, least, most, limits)
    elif not is_known and limits[1] >= _DEEP and least < most <= limits[1] / _LITTLE:
        warn.of_depth(values, least, most, limits)
    return _between(values, limits, is_inverted=stored.is_inverted)


def _between(values: Array, limits: Limits, *, is_inverted: bool) -> Array:
    """Values between two as 0 to 255, in uint8 if they are whole numbers of just these."""
    if values.dtype.kind in "ui" and limits == _OF_8_BITS:
        pixels: Array = values.clip(0, 255).astype(np.uint8)
        return _inverted(pixels) if is_inverted else pixels
    is_short = values.dtype.itemsize <= 2 or values.dtype.str[1:] == "f4"
    scaled: Any = values.astype(np.float32 if is_short else np.float64)
    scaled -= limits[0]
    scaled *= _WHITE / (limits[1] - limits[0])
    pixels = scaled.clip(0, _WHITE).astype(np.float32, copy=False)
    return _inverted(pixels) if is_inverted else pixels


def _inverted(pixels: Array) -> Array:
    return pixels.dtype.type(_WHITE) - pixels


def _find_limits(stored: StoredImage, reading: Reading) -> tuple[Limits, bool]:
    """Values of black and white, and whether somebody said so."""
    dtype = stored.stored_type or stored.values.dtype
    if reading.limits is not None:
        return reading.limits, True
    if reading.value_range == "dtype" and (stored.limits is None or dtype.kind != "f"):
        return type_limits(dtype), True
    if reading.value_range == "file" and stored.noted_limits is not None:
        return stored.noted_limits, True
    if stored.limits is not None:
        return stored.limits, stored.is_sure or reading.value_range is not None
    return _default_limits(dtype), reading.value_range is not None


def _default_limits(dtype: np.dtype[Any]) -> Limits:
    """Black and white where nothing is said: of 8 and 16 bits without a sign, and of floats.

    Whole numbers of other types mostly hold the values of 8 bits.
    """
    if dtype.kind not in "ui" or dtype == np.uint16:
        return type_limits(dtype)
    return 0.0, _WHITE
