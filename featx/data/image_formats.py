"""The image formats that featx reads: a fixed table, independent of what Pillow could open.

Pillow chooses the format by a file's content, not by its name, and reading some formats executes a
program: Ghostscript for EPS, an interpreter of Windows for WMF. Such formats (EPS, PS, PDF, WMF,
EMF), and those that other packages register with Pillow, are never in the table. Neither are
formats without a signature (TGA), which any file could claim to be. Readers of other packages
(`featx.data.readers`) are tried only for files in none of these formats.
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
    """An image format.

    Attributes
    ----------
    name : str
        Pillow's name of the format.
    suffixes : tuple of str
        Suffixes of files in this format, in lower case.
    extra : str
        Package that Pillow needs to read it; empty if it needs none.
    is_pillow : bool
        Whether Pillow reads it; otherwise `featx.data.readers` does.
    """

    name: str
    suffixes: tuple[str, ...]
    extra: str = ""
    is_pillow: bool = True


# Formats that Pillow loads by default come first: the others import further plug-ins of Pillow.
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
"""Every format that featx reads, as listed in docs/commands.md."""

IMAGE_SUFFIXES = frozenset(suffix for form in _IMAGE_FORMATS for suffix in form.suffixes)
"""Files with these suffixes count as images, even if they turn out to be broken or empty."""

_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})


Value = TypeVar("Value")
_pixel_limit_lock = threading.Lock()
_ORIENTATION = 0x0112
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNK = ">I4s"
_PNG_NEEDED = (b"tRNS", b"eXIf")
"""Ancillary chunks that change how an image looks."""

for _message in ("Corrupt EXIF data", "Image appears to be a malformed MPO file"):
    # Set once, not around each image: filters are global, and images are decoded in threads.
    warnings.filterwarnings("ignore", _message, UserWarning)


def open_image(data: bytes) -> Image.Image:
    """Open an image by Pillow, in one of the formats of the table only.

    Parameters
    ----------
    data : bytes
        A whole file. Pillow's own limit on the number of pixels is lifted.

    Raises
    ------
    UnidentifiedImageError
        If the file is in no format of the table; the message lists them.

    Examples
    --------
    >>> open_image(b"P5 2 1 255 ab").size
    (2, 1)
    """
    if _is_iso_media(data):
        _register_extras()
    names = [
        form.name
        for form in _IMAGE_FORMATS
        if form.is_pillow and (not form.extra or form.name in Image.OPEN)
    ]
    with _pixel_limit_lock:
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            return without_warnings(lambda: Image.open(io.BytesIO(data), formats=names))
        except UnidentifiedImageError:
            raise UnidentifiedImageError(_why_unread(data)) from None
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def without_warnings(call: Callable[[], Value]) -> Value:
    """Result of `call`; its warnings are ignored where the user's filters turn them into errors."""
    try:
        return call()
    except UserWarning:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return call()


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation of an image, 1 to 8; 1 (upright) if the EXIF data is broken."""
    try:
        orientation = without_warnings(image.getexif).get(_ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error):
        return 1
    return orientation if orientation in range(1, 9) else 1


def strip_png_metadata(data: bytes) -> bytes:
    """PNG without its metadata, such as texts; other files are returned unchanged.

    Pillow refuses a PNG with a long text, or with a damaged metadata chunk.

    Parameters
    ----------
    data : bytes
        A whole file.
    """
    if not data.startswith(_PNG_MAGIC):
        return data
    return _PNG_MAGIC + b"".join(chunk for chunk in _png_chunks(data) if not _is_metadata(chunk))


def _png_chunks(data: bytes) -> Iterator[bytes]:
    start = len(_PNG_MAGIC)
    while start + 8 <= len(data):
        n_bytes = struct.unpack_from(_PNG_CHUNK, data, start)[0] + 12
        yield data[start : start + n_bytes]
        start += n_bytes


def _is_metadata(chunk: bytes) -> bool:
    """Whether a chunk is ancillary, and either does not affect the pixels or is damaged."""
    name = chunk[4:8]
    is_ancillary = bool(name[:1].islower())
    is_intact = zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")
    return is_ancillary and not (name in _PNG_NEEDED and is_intact)


def _is_iso_media(data: bytes) -> bool:
    """Whether a file has the container format of AVIF and HEIF."""
    return data[4:8] == b"ftyp"


@lru_cache(maxsize=1)
def _register_extras() -> None:
    """Register the optional formats with Pillow, as far as their packages are installed."""
    with suppress(ImportError):
        import PIL.AvifImagePlugin  # noqa: F401
    with suppress(ImportError):
        from pi_heif import register_heif_opener

        register_heif_opener()


def _why_unread(data: bytes) -> str:
    if _is_iso_media(data) and data[8:12] in _HEIF_BRANDS and "HEIF" not in Image.OPEN:
        return "HEIF images need the package pi-heif: pip install 'featx[heif]'"
    names = ", ".join(form.name for form in _IMAGE_FORMATS)
    return f"not an image in a supported format ({names})"
