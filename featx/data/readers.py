"""Which reader a file takes: those for what Pillow does not read or would round, and plug-ins.

A package adds a reader by an entry point in the group ``featx.readers``: an object that has what
`ImageReader` has. It is asked only about files that featx itself does not know.
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
"""Packages that readers need -> the extra that brings them."""


class ImageReader(NamedTuple):
    """How files of one format are read.

    Parameters
    ----------
    name : str
    accepts : callable
        Takes a whole file, bytes, and returns whether it is in this format.
    read : callable
        Takes a whole file, a `Reading`, and the largest number of pixels; returns a
        `StoredImage`. Raises `ValueError` for a file that is damaged.
    suffixes : tuple of str, default=()
        Files so named are images.
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
    r"""The reader of featx for a file that Pillow does not read or would round; None for others.

    Examples
    --------
    >>> find_reader(b"\x93NUMPY").name
    'NPY'
    """
    return next((reader for reader in _READERS if reader.accepts(data)), None)


def find_plug_in(data: bytes) -> ImageReader | None:
    """The first reader of another package that knows a file."""
    return next((reader for reader in _plug_ins() if reader.accepts(data)), None)


def plug_in_suffixes() -> frozenset[str]:
    """Suffixes of the files that readers of other packages take for images."""
    return frozenset(suffix for reader in _plug_ins() for suffix in reader.suffixes)


def missing_package(error: ImportError, name: str) -> str:
    """What to install for a format, one line.

    Parameters
    ----------
    error : ImportError
        Of the package that is not there.
    name : str
        The format.
    """
    package = (error.name or str(error)).partition(".")[0]
    extra = _PACKAGES.get(package)
    cure = f"featx[{extra}]" if extra else package
    return f"this {name} needs the package {package}: pip install '{cure}'"


@lru_cache(maxsize=1)
def _plug_ins() -> tuple[ImageReader, ...]:
    return tuple(point.load() for point in entry_points(group=_GROUP))
