"""JPEGs by libjpeg-turbo without a detour: Pillow's pixels to the last bit, twice as fast.

Whatever is unusual (another colour space, damage of any kind, an image to be turned) is left
to Pillow, so that what can be read and what cannot is the same as if this were not here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from featx.data.decode_budget import reserve_values
from featx.data.image_formats import open_image

_START = b"\xff\xd8\xff"
_PLAIN = ("YCbCr", "Gray")
_MAY_TURN = (b"Exif\0\0", b"http://ns.adobe.com/xap/")
"""Marks of the two kinds of notes in which a camera says how it was held."""

_ORIENTATION = 0x0112
_MAX_NOTED_PIXELS = 89_478_485
"""Above it Pillow warns of an image that it opens, unless told otherwise as it is elsewhere."""


def decode_jpeg(
    data: bytes, max_pixels: int, least_px: int | None = None
) -> npt.NDArray[np.uint8] | None:
    """Pixels of a plain, upright, undamaged JPEG; None of anything else.

    Parameters
    ----------
    data : bytes
        A whole file.
    max_pixels : int
        Images with more pixels are not decoded.
    least_px : int, optional
        Decode at the `reduction` that leaves the short side as long as that.

    Returns
    -------
    ndarray of shape (h, w, 3), uint8, or None
        RGB. None where Pillow is to decide.

    Examples
    --------
    >>> decode_jpeg(b"GIF89a", 100) is None
    True
    """
    if not data.startswith(_START):
        return None
    import simplejpeg

    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
        if space not in _PLAIN or height * width > min(max_pixels, _MAX_NOTED_PIXELS):
            return None
        if not _is_upright(data):
            return None
        factor = reduction(height, width, least_px)
        least = (-(-height // factor), -(-width // factor)) if factor > 1 else (0, 0)
        reserve_values(3 * height * width // factor**2)
        pixels: npt.NDArray[np.uint8]
        pixels = simplejpeg.decode_jpeg(data, min_height=least[0], min_width=least[1])
        return pixels
    except Exception:  # Its errors are many and told in libjpeg's words; Pillow finds better ones.
        return None


def reduction(height: int, width: int, least_px: int | None) -> int:
    """By how much libjpeg may reduce an image while it decodes it: 1, 2, 4 or 8.

    It leaves out the high frequencies of each block of 8 x 8 pixels instead of computing them.

    Examples
    --------
    >>> reduction(3024, 4032, 512), reduction(500, 333, 512), reduction(3024, 4032, None)
    (4, 1, 1)
    """
    if least_px is None:
        return 1
    return next(f for f in (8, 4, 2, 1) if f == 1 or min(height, width) // f >= least_px)


def _is_upright(data: bytes) -> bool:
    """Whether no note says that the image is to be turned."""
    if not any(mark in data for mark in _MAY_TURN):
        return True
    with open_image(data) as image:
        return image.getexif().get(_ORIENTATION, 1) == 1
