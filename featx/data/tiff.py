"""Read TIFF files by tifffile: any depth, any number of bands and pages, planar and tiled."""

from __future__ import annotations

import io
import logging
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.data.decode_budget import reserve_values
from featx.data.reading import Reading
from featx.data.stored_image import Limits, StoredImage, split_alpha, type_limits

Array = npt.NDArray[Any]

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MIN_IS_WHITE, _PALETTE, _SEPARATED, _LAB = 0, 3, 5, (8, 9, 10)
_PREMULTIPLIED, _ALPHA = 1, 2
_RANGE_TAGS = ((280, 281), (340, 341))
"""Tags of the lowest and the highest value: for integers, and for any type."""

logging.getLogger("tifffile").addHandler(logging.NullHandler())


class TooLargeError(ValueError):
    """An image has more values than the limit on pixels allows."""


def is_tiff(data: bytes) -> bool:
    r"""Whether a file is a TIFF or a BigTIFF.

    Examples
    --------
    >>> is_tiff(b"II*\0"), is_tiff(b"GIF89a")
    (True, False)
    """
    return data[:4] in _MAGIC


def read_tiff(data: bytes, reading: Reading, max_pixels: int) -> StoredImage:
    """Stored values of the selected pages of a TIFF.

    Parameters
    ----------
    data : bytes
        A whole file.
    reading : Reading
    max_pixels : int
        Larger images are refused; see `check_size`.

    Returns
    -------
    StoredImage

    Raises
    ------
    ValueError
        If the file is damaged, or its color space is not supported.
    ModuleNotFoundError
        If its compression needs the package imagecodecs, which is not installed.
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        pages = _whole_pages(file)
        first = pages[0]
        n_read = 1 if reading.pages in (None, "first") else len(pages)
        check_size(first.imagewidth, first.imagelength, first.samplesperpixel * n_read, max_pixels)
        arrays = [_page_values(page, len(data)) for page in pages[:n_read]]
        stored = _interpret(first, join_pages(arrays, reading.pages), reading)
        stored_type = arrays[0].dtype if reading.pages == "mean" else None
        return replace(stored, n_pages=len(pages), stored_type=stored_type)


def check_size(width: int, height: int, n_bands: int, max_pixels: int) -> None:
    """Refuse an image that is too large, and reserve memory for any other before it is decoded.

    Parameters
    ----------
    width, height : int
    n_bands : int
        Number of bands of all pages that are read.
    max_pixels : int
        Maximum number of pixels; three bands count as one pixel.

    Raises
    ------
    TooLargeError
        If the image is larger.
    """
    if width * height * max(1, n_bands / 3) > max_pixels:
        bands = "" if n_bands <= 4 else f" of {n_bands} bands"
        raise TooLargeError(
            f"{width}x{height} px{bands} is over max_pixels={max_pixels}; "
            "raise max_pixels if you trust the file"
        )
    reserve_values(width * height * max(3, n_bands))


def join_pages(pages: list[Array], how: str | None) -> Array:
    """Combine pages to one image: their maximum, their mean, or all of them as bands.

    Parameters
    ----------
    pages : list of ndarray of shape (h, w, c)
    how : {"first", "all", "max", "mean"} or None

    Examples
    --------
    >>> join_pages([np.zeros((1, 1, 1)), np.ones((1, 1, 1))], "mean").tolist()
    [[[0.5]]]
    """
    if len(pages) == 1:
        return pages[0]
    if how == "max":
        return np.asarray(np.stack(pages).max(axis=0))
    if how == "mean":
        mean: Array = np.stack(pages).mean(axis=0, dtype=np.float64)
        return mean.astype(np.float32 if pages[0].dtype.itemsize <= 2 else np.float64)
    return np.concatenate(pages, axis=2)


def upright(values: Array, orientation: int) -> Array:
    """Rotate and mirror values of shape (h, w, c) by the orientation tag of TIFF and EXIF."""
    if orientation >= 5:
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values


def _whole_pages(file: Any) -> list[Any]:
    """Pages of the same size as the first, without reduced-resolution copies."""
    pages = [page.aspage() for page in file.pages]
    whole = [page for page in pages if not page.is_reduced] or pages
    if not whole:
        raise ValueError("the file has no pages")
    return [page for page in whole if page.shape == whole[0].shape]


def _page_values(page: Any, n_bytes: int) -> Array:
    """Values of a page, of shape (h, w, c)."""
    if any(o + n > n_bytes for o, n in zip(page.dataoffsets, page.databytecounts)):
        raise ValueError("image file is truncated")
    axes = page.axes
    if not set(axes) <= set("YXS") or not {"Y", "X"} <= set(axes):
        raise ValueError(f"expected rows and columns; got the axes {axes}")
    try:
        values = page.asarray()
    except ValueError as error:
        if "imagecodecs" in str(error):
            raise ModuleNotFoundError("imagecodecs") from error
        raise
    values = np.moveaxis(values, [axes.index("Y"), axes.index("X")], [0, 1])
    values = values.reshape(*values.shape[:2], -1)
    if int(page.photometric) != _PALETTE:
        return values
    colors: Array = np.moveaxis(page.colormap, 0, -1)[values[:, :, 0]]
    return colors


def _interpret(page: Any, values: Array, reading: Reading) -> StoredImage:
    """Values and what the page's tags tell about them."""
    photometric = int(page.photometric)
    if photometric in _LAB:
        raise ValueError("CIE Lab of more than 8 bits is not supported")
    is_palette = photometric == _PALETTE
    limits = (0.0, 65535.0) if is_palette else _limits(page, values.dtype)
    values = upright(values, _orientation(page))
    if photometric == _SEPARATED and values.shape[2] == 4 and reading.bands is None:
        return _cmyk_to_rgb(values, limits or type_limits(values.dtype))
    is_inverted = photometric == _MIN_IS_WHITE
    stored = StoredImage(values, limits, _noted_limits(page), is_inverted=is_inverted)
    alpha_types = {int(sample) for sample in page.extrasamples} & {_PREMULTIPLIED, _ALPHA}
    stored = split_alpha(stored, reading) if alpha_types else stored
    if stored.alpha is None or _PREMULTIPLIED not in alpha_types:
        return stored
    colors = stored.values / np.where(stored.alpha > 0, stored.alpha, 1)[:, :, None]
    return replace(stored, values=colors, limits=limits or type_limits(values.dtype))


def _orientation(page: Any) -> int:
    tag = page.tags.get(274)
    return 1 if tag is None else int(tag.value)


def _limits(page: Any, dtype: np.dtype[Any]) -> Limits | None:
    """Values of black and white, if the file uses fewer bits than the type of its values has."""
    bits = page.bitspersample
    if dtype.kind == "u" and isinstance(bits, int) and bits < 8 * dtype.itemsize:
        return 0.0, float(2**bits - 1)
    return None


def _noted_limits(page: Any) -> Limits | None:
    """Lowest and highest value that the page's tags record."""
    for tags in _RANGE_TAGS:
        if all(tag in page.tags for tag in tags):
            low, high = (float(np.ravel(page.tags[tag].value)[0]) for tag in tags)
            return (low, high) if low < high else None
    return None


def _cmyk_to_rgb(values: Array, limits: Limits) -> StoredImage:
    """Convert cyan, magenta, yellow and black to RGB: each ink absorbs its fraction of light."""
    light = 1 - values.astype(np.float64) / limits[1]
    return StoredImage((light[:, :, :3] * light[:, :, 3:]).astype(np.float32), (0.0, 1.0))
