"""Scale stored values to pixels from 0 (black) to 255 (white), for all formats alike."""

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
_LIMITS_OF_8_BITS: Limits = (0.0, 255.0)
_TOLERANCE = 0.01
"""Rounding error by which values may exceed black and white without a warning, in 1/255 of them."""

_DEEP_WHITE, _UNUSED_FACTOR = 32767, 4
"""If white is at least the first, and the values stay below white by the second, we warn."""

WARNINGS = ("pages", "cut", "depth")
"""Kinds of warnings, each issued once per data set."""

_CURE = "value_range=(LOW, HIGH), on the command line by --value-range LOW,HIGH"


@dataclass(frozen=True)
class StoredImage:
    """An image as it is stored, not yet scaled.

    Parameters
    ----------
    values : ndarray of shape (h, w, n_bands), any numeric type
        The selected page or pages, upright.
    limits : tuple of float, optional
        Values of black and white, if the file determines them, as by its number of bits.
    noted_limits : tuple of float, optional
        Lowest and highest value that the file records; used with ``value_range="file"``.
    is_inverted : bool, default=False
        Whether the lowest value is white.
    is_sure : bool, default=True
        Whether `limits` are certain; False if they are only the range of the stored type.
    alpha : ndarray of shape (h, w), optional
        Opacity from 0 to 1.
    n_pages : int, default=1
        Number of pages in the file.
    stored_type : dtype, optional
        Type in the file if it is not that of `values`, as for the mean of several pages.
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
    stored: StoredImage, reading: Reading, name: str, warned: set[str] | None = None
) -> Array:
    """Convert a stored image to pixels.

    Parameters
    ----------
    stored : StoredImage
    reading : Reading
        The value range and the bands to use.
    name : str
        Name of the image in errors and warnings.
    warned : set of str, optional
        Kinds of warnings not to be repeated; extended by those issued here.

    Returns
    -------
    ndarray of shape (h, w, 3), or (h, w, n) if two, four or more bands are selected
        0 to 255: uint8 if that is lossless, else float32.

    Raises
    ------
    ImageError
        If the values are not finite numbers, or the number of bands is not that of an image.

    Warns
    -----
    ValueRangeWarning
        If the value range is not set, and the values exceed or hardly fill the default range.
    PagesWarning
        If the file has several pages, and `reading.pages` is not set.
    """
    warner = _Warner(name, set() if warned is None else warned)
    if stored.n_pages > 1 and reading.pages is None:
        warner.warn_of_pages(stored.n_pages)
    stored = _take_bands(stored, reading, name)
    pixels = _scale(stored, reading, warner)
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
    info = np.iinfo(dtype)
    return float(info.min), float(info.max)


def split_alpha(stored: StoredImage, reading: Reading) -> StoredImage:
    """Turn the last of two or four bands into `alpha`, unless bands are selected.

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
    """Issues warnings about one image, each kind once per data set."""

    def __init__(self, name: str, warned: set[str]) -> None:
        self.name = name
        self.warned = warned

    def warn_of_pages(self, n_pages: int) -> None:
        self._warn(
            "pages",
            f"the file has {n_pages} pages, and only the first is read. Set pages='max', 'mean' or "
            "'all' (--pages) to read all of them, or 'first' to silence this warning.",
            PagesWarning,
        )

    def warn_of_clipping(self, values: Array, low: float, high: float, limits: Limits) -> None:
        self._warn(
            "cut",
            f"{values.dtype} values from {low:g} to {high:g}; those outside {limits[0]:g} to "
            f"{limits[1]:g} are clipped. Set the values of black and white by {_CURE}.",
            ValueRangeWarning,
        )

    def warn_of_depth(self, values: Array, low: float, high: float, limits: Limits) -> None:
        white = 2 ** max(8, int(high).bit_length()) - 1
        black, white = (0, white) if low >= 0 else (int(low), int(high))
        self._warn(
            "depth",
            f"{values.dtype} values from {low:g} to {high:g} fill little of the range from "
            f"{limits[0]:g} (black) to {limits[1]:g} (white). If black is {black} and white is "
            f"{white}, set value_range=({black}, {white}), on the command line "
            f"--value-range={black},{white}; if the range is right, set 'dtype'.",
            ValueRangeWarning,
        )

    def _warn(self, kind: str, text: str, category: type[Warning]) -> None:
        if kind not in self.warned:
            self.warned.add(kind)
            warnings.warn(f"{self.name}: {text}", category, stacklevel=6)


def _take_bands(stored: StoredImage, reading: Reading, name: str) -> StoredImage:
    n_bands = stored.values.shape[2]
    if isinstance(reading.bands, tuple):
        if max(reading.bands) > n_bands:
            raise ImageError(
                name, f"expected at least {max(reading.bands)} bands, got {n_bands}; see bands"
            )
        return replace(stored, values=stored.values[:, :, [band - 1 for band in reading.bands]])
    if reading.is_each:
        raise ImageError(name, "every band is an image of its own; expected bands by number")
    if n_bands not in (1, 3):
        raise ImageError(
            name,
            f"{n_bands} bands: select one or three (--bands 4,3,2), read each as an image of its "
            "own (--bands each), or all of them for a network (--bands 1,2,…)",
        )
    return stored


def _scale(stored: StoredImage, reading: Reading, warner: _Warner) -> Array:
    values = stored.values
    if values.dtype.kind not in "buif":
        raise ImageError(warner.name, f"expected numbers as pixels; got {values.dtype}")
    if values.dtype.kind == "b":
        values = values.astype(np.uint8) * np.uint8(_WHITE) if reading.limits is None else values
    limits, is_certain = _find_limits(replace(stored, values=values), reading)
    if values.dtype.str == "|u1" and limits == _LIMITS_OF_8_BITS:
        return _invert(values) if stored.is_inverted else values
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise ImageError(warner.name, "the image contains NaN or infinity")
    tolerance = _TOLERANCE * (limits[1] - limits[0]) / _WHITE
    if not is_certain and not limits[0] - tolerance <= low <= high <= limits[1] + tolerance:
        warner.warn_of_clipping(values, low, high, limits)
    elif not is_certain and limits[1] >= _DEEP_WHITE and low < high <= limits[1] / _UNUSED_FACTOR:
        warner.warn_of_depth(values, low, high, limits)
    return _rescale(values, limits, is_inverted=stored.is_inverted)


def _rescale(values: Array, limits: Limits, *, is_inverted: bool) -> Array:
    """Map `limits` to 0 and 255 and clip; uint8 for integers whose limits are 0 and 255."""
    if values.dtype.kind in "ui" and limits == _LIMITS_OF_8_BITS:
        pixels: Array = values.clip(0, 255).astype(np.uint8)
        return _invert(pixels) if is_inverted else pixels
    is_short = values.dtype.itemsize <= 2 or values.dtype.str[1:] == "f4"
    scaled: Any = values.astype(np.float32 if is_short else np.float64)
    scaled -= limits[0]
    scaled *= _WHITE / (limits[1] - limits[0])
    pixels = scaled.clip(0, _WHITE).astype(np.float32, copy=False)
    return _invert(pixels) if is_inverted else pixels


def _invert(pixels: Array) -> Array:
    return pixels.dtype.type(_WHITE) - pixels


def _find_limits(stored: StoredImage, reading: Reading) -> tuple[Limits, bool]:
    """Values of black and white, and whether they are certain: set by the user or the file."""
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
    """Default values of black and white: the range of uint8, uint16 and floats (0 to 1).

    Other integer types usually contain 8-bit values, so their default is 0 to 255.
    """
    if dtype.kind not in "ui" or dtype == np.uint16:
        return type_limits(dtype)
    return 0.0, _WHITE
