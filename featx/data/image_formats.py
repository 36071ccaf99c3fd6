"""The image formats that featx reads: a closed table, whatever else Pillow could open.

A file's content decides how Pillow reads it, not its name, and some of Pillow's formats are
programs: an EPS file starts Ghostscript, a WMF file Windows' interpreter. These (EPS, PS, PDF,
WMF, EMF), and formats that other packages hook into, are never in the table. Formats without a
signature (TGA) are not either, for anything could pass for them. Readers of other packages
(`featx.data.readers`) are asked about files that are in no format of the table, and no others.
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple, TypeVar

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
        Package that Pillow reads it by, empty where every Pillow does by itself.
    is_pillow : bool
        Whether Pillow reads it; `featx.data.readers` do otherwise.
    """

    name: str
    suffixes: tuple[str, ...]
    extra: str = ""
    is_pillow: bool = True


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
    _ImageFormat("HEIF", (".heic", ".heif"), "pi-heif"),
    _ImageFormat("JPEGXL", (".jxl",), is_pillow=False),
    _ImageFormat("DICOM", (".dcm", ".dicom"), is_pillow=False),
    _ImageFormat("NPY", (".npy",), is_pillow=False),
)
"""Every format that is read; README lists it."""

IMAGE_SUFFIXES = frozenset(suffix for it in _IMAGE_FORMATS for suffix in it.suffixes)
"""Files so named are images, even if they turn out to be broken or empty."""

_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})


Made = TypeVar("Made")
_OPENING = threading.Lock()
_ORIENTATION = 0x0112
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNK = ">I4s"
_PNG_NEEDED = (b"tRNS", b"eXIf")
"""Chunks that say how an image looks, though a reader may do without them."""

for _message in ("Corrupt EXIF data", "Image appears to be a malformed MPO file"):
    # Once, not around each image: filters are the process's, and images decode in threads.
    warnings.filterwarnings("ignore", _message, UserWarning)


def open_image(data: bytes) -> Image.Image:
    """Image whose header has been read by one of the formats of the table, and no other.

    Parameters
    ----------
    data : bytes
        A whole file, of any size: Pillow's own limit is lifted.

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
    names = [
        it.name for it in _IMAGE_FORMATS if it.is_pillow and (not it.extra or it.name in Image.OPEN)
    ]
    with _OPENING:
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            return calmly(lambda: Image.open(io.BytesIO(data), formats=names))
        except UnidentifiedImageError:
            raise UnidentifiedImageError(_why_unread(data)) from None
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def calmly(call: Callable[[], Made]) -> Made:
    """Result of `call`, even where the user has made an error of every warning."""
    try:
        return call()
    except UserWarning:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return call()


def orientation_of(image: Image.Image) -> int:
    """How an image is to be turned, 1 to 8; 1, upright, where its EXIF is broken."""
    try:
        orientation = calmly(image.getexif).get(_ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error):
        return 1
    return orientation if orientation in range(1, 9) else 1


def without_notes(data: bytes) -> bytes:
    """A PNG without texts and other notes, which are no part of its pixels; others as they are.

    Pillow refuses one with a long text, or a note whose checksum is wrong.

    Parameters
    ----------
    data : bytes
        A whole file.
    """
    if not data.startswith(_PNG_MAGIC):
        return data
    return _PNG_MAGIC + b"".join(chunk for chunk in _png_chunks(data) if not _is_note(chunk))


def _png_chunks(data: bytes) -> Iterator[bytes]:
    start = len(_PNG_MAGIC)
    while start + 8 <= len(data):
        n_bytes = struct.unpack_from(_PNG_CHUNK, data, start)[0] + 12
        yield data[start : start + n_bytes]
        start += n_bytes


def _is_note(chunk: bytes) -> bool:
    """Whether a chunk may be left out, and says nothing of the pixels or is damaged."""
    kind = chunk[4:8]
    is_whole = zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")
    return bool(kind[:1].islower()) and not (kind in _PNG_NEEDED and is_whole)


def _is_iso_media(data: bytes) -> bool:
    """Whether a file is in the container of AVIF and HEIF."""
    return data[4:8] == b"ftyp"


@lru_cache(maxsize=1)
def _register_extras() -> None:
    """Let Pillow know of the formats that not every installation reads."""
    with suppress(ImportError):
        import PIL.AvifImagePlugin  # noqa: F401
    with suppress(ImportError):
        from pi_heif import register_heif_opener

        register_heif_opener()


def _why_unread(data: bytes) -> str:
    if _is_iso_media(data) and data[8:12] in _HEIF_BRANDS and "HEIF" not in Image.OPEN:
        return "HEIF images need the package pi-heif: pip install 'featx[heif]'"
    names = ", ".join(it.name for it in _IMAGE_FORMATS)
    return f"not an image in a format that is read ({names})"
