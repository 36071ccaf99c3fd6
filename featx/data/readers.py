"""Choose the reader of a file: for formats that Pillow cannot read or would round, and plug-ins.

A package adds a reader by an entry point in the group ``featx.readers``: an object with the
attributes of `ImageReader`. It is tried only for files that featx itself cannot read.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import entry_points
from typing import NamedTuple

from featx.data import deep_formats as deep
from featx.data.dicom import is_dicom, read_dicom
from featx.data.reading import Reading
from featx.data.stored_image import StoredImage

_GROUP = "featx.readers"
_PACKAGES = {
    "imagecodecs": "science",
    "pydicom": "dicom",
    "gdcm": "dicom",
    "pylibjpeg": "dicom",
    "pi_heif": "heif",
}
"""Packages that readers need -> the extra of featx that installs them."""


class ImageReader(NamedTuple):
    """Reader of one image format.

    Parameters
    ----------
    name : str
        Name of the format.
    accepts : callable
        Takes the bytes of a file and returns whether it is in this format.
    read : callable
        Takes the bytes of a file, a `Reading`, and the maximum number of pixels; returns a
        `StoredImage`. Raises `ValueError` for a damaged file.
    suffixes : tuple of str, default=()
        Suffixes of files in this format.
    """

    name: str
    accepts: Callable[[bytes], bool]
    read: Callable[[bytes, Reading, int], StoredImage]
    suffixes: tuple[str, ...] = ()


_READERS = (
    ImageReader("PNG", deep.is_deep_png, deep.read_png),
    ImageReader("PPM", deep.is_deep_pnm, deep.read_pnm),
    ImageReader("JPEG2000", deep.is_deep_jpeg_2000, deep.read_jpeg_2000),
    ImageReader("AVIF", deep.is_deep_avif, deep.read_avif),
    ImageReader("HEIF", deep.is_deep_heif, deep.read_heif),
    ImageReader("JPEGXL", deep.is_jpeg_xl, deep.read_jpeg_xl),
    ImageReader("NPY", deep.is_npy, deep.read_npy),
    ImageReader("DICOM", is_dicom, read_dicom),
)


def find_reader(data: bytes) -> ImageReader | None:
    r"""Built-in reader of a file that Pillow cannot read or would round; None for other files.

    Examples
    --------
    >>> find_reader(b"\x93NUMPY").name
    'NPY'
    """
    return next((reader for reader in _READERS if reader.accepts(data)), None)


def find_plug_in(data: bytes) -> ImageReader | None:
    """First reader of another package that accepts a file."""
    return next((reader for reader in _plug_ins() if reader.accepts(data)), None)


def plug_in_suffixes() -> frozenset[str]:
    """Suffixes of the formats that readers of other packages support."""
    return frozenset(suffix for reader in _plug_ins() for suffix in reader.suffixes)


def missing_package(error: ImportError, name: str) -> str:
    """One line that tells what to install for a format.

    Parameters
    ----------
    error : ImportError
        Raised for the missing package.
    name : str
        Name of the format.
    """
    package = (error.name or str(error)).partition(".")[0]
    extra = _PACKAGES.get(package)
    cure = f"featx[{extra}]" if extra else package
    return f"this {name} needs the package {package}: pip install '{cure}'"


@lru_cache(maxsize=1)
def _plug_ins() -> tuple[ImageReader, ...]:
    return tuple(point.load() for point in entry_points(group=_GROUP))
