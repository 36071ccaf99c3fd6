"""The image formats that featx reads: a closed table, whatever else Pillow could open.

A file's content decides how Pillow reads it, not its name, and some of Pillow's formats are
programs: an EPS file starts Ghostscript, a WMF file Windows' interpreter. These (EPS, PS, PDF,
WMF, EMF), and formats that other packages hook into, are never in the table. Formats without a
signature (TGA) are not either, for anything could pass for them.
"""

from __future__ import annotations

import io
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError


class _ImageFormat(NamedTuple):
    """One format.

    Attributes
    ----------
    name : str
        Pillow's name for it.
    suffixes : tuple of str
        Files so named are images of this format.
    extra : str
        Package that reads it, empty where every Pillow does.
    """

    name: str
    suffixes: tuple[str, ...]
    extra: str = ""


# Those that Pillow loads first come first: the others cost the import of its plug-ins.
_IMAGE_FORMATS = (
    _ImageFormat("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif")),
    _ImageFormat("PNG", (".png",)),
    _ImageFormat("GIF", (".gif",)),
    _ImageFormat("BMP", (".bmp",)),
    _ImageFormat("DIB", (".dib",)),
    _ImageFormat("PPM", (".ppm", ".pgm", ".pbm", ".pnm")),
    _ImageFormat("TIFF", (".tif", ".tiff")),
    _ImageFormat("WEBP", (".webp",)),
    _ImageFormat("JPEG2000", (".jp2", ".j2k", ".jpx")),
    _ImageFormat("AVIF", (".avif",), "pillow>=11.3"),
    _ImageFormat("HEIF", (".heic", ".heif"), "pillow-heif"),
)
"""Every format that is read; README lists it."""

IMAGE_SUFFIXES = frozenset(suffix for it in _IMAGE_FORMATS for suffix in it.suffixes)
"""Files so named are images, even if they turn out to be broken or empty."""

_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})


def open_image(data: bytes) -> Image.Image:
    """Image whose header has been read by one of the formats of the table, and no other.

    Parameters
    ----------
    data : bytes
        A whole file.

    Raises
    ------
    UnidentifiedImageError
        If it is in no format of the table; the message lists them.

    Examples
    --------
    >>> open_image(b"P5 2 1 255 ab").size
    (2, 1)
    """
    if _is_iso_media(data):
        _register_extras()
    names = [it.name for it in _IMAGE_FORMATS if not it.extra or it.name in Image.OPEN]
    try:
        return Image.open(io.BytesIO(data), formats=names)
    except UnidentifiedImageError:
        raise UnidentifiedImageError(_why_unread(data)) from None


def _is_iso_media(data: bytes) -> bool:
    """Whether a file is in the container of AVIF and HEIF."""
    return data[4:8] == b"ftyp"


@lru_cache(maxsize=1)
def _register_extras() -> None:
    """Let Pillow know of the formats that not every installation reads."""
    with suppress(ImportError):
        import PIL.AvifImagePlugin  # noqa: F401
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()


def _why_unread(data: bytes) -> str:
    if _is_iso_media(data) and data[8:12] in _HEIF_BRANDS and "HEIF" not in Image.OPEN:
        return "HEIF images need the package pillow-heif: `pip install featx[heif]`"
    names = ", ".join(it.name for it in _IMAGE_FORMATS)
    return f"not an image in a format that is read ({names})"
