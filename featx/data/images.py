"""Decode images: the only decoder, so that every extractor sees the same pixels.

An image may be a path, bytes, a PIL image or an array. It is decoded to an RGB array of shape
(h, w, 3) from 0 (black) to 255 (white): the EXIF orientation is applied, transparent pixels are
composited on white, and gray is repeated in three channels. The array is uint8 if that is lossless,
else float32: images of more than 8 bits are not rounded.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, overload

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from featx._fingerprints import digest_bytes, fingerprint
from featx._imports import load_opencv
from featx.data.blobs import Blob, Identity
from featx.data.decode_budget import decoding
from featx.data.image_formats import open_image, orientation_of, strip_png_metadata
from featx.data.jpeg import decode_jpeg, reduction
from featx.data.readers import find_plug_in, find_reader, missing_package
from featx.data.reading import Reading, make_reading
from featx.data.remote.read_ahead import ReadAhead, identify_all, is_slow
from featx.data.stored_image import StoredImage, split_alpha, to_pixels
from featx.data.tiff import TooLargeError, check_size, is_tiff, join_pages, read_tiff, upright
from featx.errors import FeatxWarning, ImageError, one_line

Pixels: TypeAlias = npt.NDArray[Any]
"""Array of shape (h, w, 3), 0 to 255: uint8, or float32 for images of more than 8 bits."""

ImageLike: TypeAlias = "str | os.PathLike[str] | bytes | Blob | Image.Image | npt.NDArray[Any]"

PIXELS_VERSION = 2
"""Incremented whenever the same image would be decoded to different pixels."""

MAX_PIXELS = 89_478_485
"""Pixels of the largest image decoded by default: 256 MiB as RGB, as in Pillow."""

GRAY_WEIGHTS = (2125, 7154, 721)
"""Weights of red, green and blue in the luminance (ITU-R BT.709), times 10,000."""

_MAX_FILE_BYTES = 2**30
"""Largest file that is read: four times the bytes of the largest image decoded by default."""

_OPEN_FLAGS = (
    getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
)

Value = TypeVar("Value")

_SUBFILE_TYPE, _BITS_PER_SAMPLE, _PHOTOMETRIC, _EXTRA_SAMPLES = 254, 258, 262, 338
_GRAY_16_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")

_pil_image_locks = [threading.Lock() for _ in range(64)]


class Images(Sequence["ImageLike"]):
    """A sequence of images, decoded one at a time on request.

    Parameters
    ----------
    X : sequence of paths, bytes, PIL images or arrays; or array
        The images. A single array has shape (n, h, w) or (n, h, w, 3), or contains flattened
        images of shape (n, p), see `image_shape`.
    names : sequence of str, optional
        Names of the images in results and messages. By default a file is called by its path,
        other images ``image 0``, ``image 1`` and so on.
    image_shape : tuple of int, optional
        Shape (h, w) or (h, w, 3) of a flattened image; by default (p, 1), gray.
    value_range : tuple of float or str, optional
        Stored values of black and white: two numbers; ``"dtype"``, the range of the stored type;
        or ``"file"``, the range that each file records. By default 0 to 65,535 for uint16, 0 to
        255 for other integers, 0 to 1 for floats, the number of used bits if a file records it,
        and the window of a DICOM. Values outside are clipped, by default with a
        `ValueRangeWarning`.
    window : tuple of float, optional
        The center and width of the range from black to white, in place of `value_range`.
    pages : {"first", "all", "max", "mean"}, optional
        Pages that are read of files with several; by default the first, with a `PagesWarning`.
    bands : sequence of int or "each", optional
        Bands that are read, counted from 1; with ``"each"`` every band is an image of its own.
    max_pixels : int, default=89478485
        Images with more pixels are refused before they are decoded.

    Attributes
    ----------
    reading : Reading
        The settings `value_range`, `window`, `pages` and `bands`.

    Raises
    ------
    ValueError
        If `X` is not a sequence of images, its rows do not fit `image_shape`, or a parameter
        is invalid.

    Examples
    --------
    >>> images = Images(np.zeros((2, 8, 8), np.uint8))
    >>> len(images), images.pixels(1).shape, images.names[1]
    (2, (8, 8, 3), 'image 1')
    """

    def __init__(
        self,
        X: Any,
        *,
        names: Sequence[str] | None = None,
        image_shape: tuple[int, ...] | None = None,
        value_range: Any = None,
        window: Any = None,
        pages: str | None = None,
        bands: Any = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.items = _items(X, image_shape)
        self.names = list(names) if names is not None else _Names(self.items)
        reading = make_reading(value_range=value_range, window=window, pages=pages, bands=bands)
        is_images = isinstance(X, Images)
        self.reading = replace(X.reading, **reading.settings()) if is_images else reading
        self.max_pixels = max_pixels
        self._warned: set[str] = set()

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> ImageLike: ...
    @overload
    def __getitem__(self, index: slice) -> Images: ...
    def __getitem__(self, index: int | slice) -> ImageLike | Images:
        if isinstance(index, slice):
            return self.take(range(len(self))[index])
        return self.items[index]

    def take(self, indices: Sequence[int]) -> Images:
        """Images at `indices`, in that order, with the same names."""
        images = Images(
            [self.items[i] for i in indices],
            names=[self.names[i] for i in indices],
            max_pixels=self.max_pixels,
        )
        images.reading, images._warned = self.reading, self._warned
        return images

    def read_as(self, reading: Reading) -> Images:
        """The same images with another conversion of stored values to pixels."""
        images = Images(self.items, names=self.names, max_pixels=self.max_pixels)
        images.reading, images._warned = reading, self._warned
        return images

    def count_bands(self) -> int:
        """Number of bands of the first readable image if each band is an image of its own, else 1.

        Raises
        ------
        ImageError
            If no image can be read.
        """
        if not self.reading.is_each:
            return 1
        errors = []
        for index in range(len(self)):
            try:
                return self.stored(index).values.shape[2]
            except ImageError as error:
                errors.append(error)
        raise errors[0]

    def stored(self, index: int) -> StoredImage:
        """Stored values of one image, not scaled.

        Raises
        ------
        ImageError
            If the image cannot be read.
        """
        name = self.names[index]
        content = _read_content(self.items[index], name)
        return _guarded(lambda: _stored(content, self.reading, name, self.max_pixels), name)

    def path(self, index: int) -> str | None:
        """Path of an image, None if it is not a file."""
        item = self.items[index]
        return os.fspath(item) if isinstance(item, str | os.PathLike) else None

    def identities(self, indices: Sequence[int]) -> list[tuple[bytes, Identity] | None]:
        """Where images' bytes are and what changes when they do; None where nothing says so."""
        return identify_all([self.items[index] for index in indices])

    @contextmanager
    def reading_ahead(self, indices: Iterable[int]) -> Iterator[Images]:
        """Context with the same images, of which slow ones are fetched before they are asked for.

        Parameters
        ----------
        indices : iterable of int
            Those that will be asked for, in about that order.
        """
        order = [index for index in indices if is_slow(self.items[index])]
        if not order:
            yield self
            return
        with ReadAhead(self.items, order, _MAX_FILE_BYTES) as items:
            images = copy(self)
            images.items = items
            yield images

    def pixels(self, index: int, least_px: int | None = None) -> Pixels:
        """Decode one image.

        Parameters
        ----------
        index : int
        least_px : int, optional
            Decode a JPEG at a half, a quarter or an eighth of its size, as long as its short side
            keeps this many pixels; by default at full size. Ignored for other images.

        Returns
        -------
        ndarray of shape (h, w, 3), uint8 or float32
            RGB, 0 to 255; of shape (h, w, n) if two, four or more bands are selected.

        Raises
        ------
        ImageError
            If the image cannot be read; it has the image's name and the reason.
        """
        return self._decode(_read_content(self.items[index], self.names[index]), index, least_px)

    def read(self, index: int, least_px: int | None = None) -> tuple[str, Pixels]:
        """Digest and pixels of one image, both from one reading of the file.

        Parameters
        ----------
        index : int
        least_px : int, optional
            As in `pixels`.

        Raises
        ------
        ImageError
            As `pixels` does.
        """
        content = _read_content(self.items[index], self.names[index])
        pixels = self._decode(content, index, least_px)
        if isinstance(content, bytes):
            return digest_bytes(content), pixels
        return fingerprint(pixels), pixels

    def digest(self, index: int) -> str:
        """Digest of an image's bytes, or of its pixels if it is a PIL image or an array.

        Raises
        ------
        ImageError
            If the image cannot be read.
        """
        content = _read_content(self.items[index], self.names[index])
        if isinstance(content, bytes):
            return digest_bytes(content)
        return self.read(index)[0]

    def _decode(self, content: ImageLike, index: int, least_px: int | None) -> Pixels:
        return decode(
            content,
            name=self.names[index],
            **self.reading.settings(),
            max_pixels=self.max_pixels,
            least_px=least_px,
            warned=self._warned,
        )

    def __iter__(self) -> Iterator[ImageLike]:
        return (self.items[i] for i in range(len(self)))


def decode(
    image: ImageLike,
    *,
    name: str | None = None,
    value_range: Any = None,
    window: Any = None,
    pages: str | None = None,
    bands: Any = None,
    max_pixels: int = MAX_PIXELS,
    least_px: int | None = None,
    warned: set[str] | None = None,
) -> Pixels:
    """Decode one image to upright, opaque RGB pixels.

    Parameters
    ----------
    image : path, bytes, PIL image or array of shape (h, w) or (h, w, n_bands)
        A file in one of the `featx.data.image_formats`; the first frame of a GIF is decoded.
    name : str, optional
        Name of the image in errors; by default its path, or ``image``.
    value_range, window, pages, bands
        As in `Images`.
    max_pixels : int, default=89478485
        Larger images are refused before they are decoded.
    least_px : int, optional
        As in `Images.pixels`.
    warned : set of str, optional
        Kinds of warnings not to be repeated; extended by those issued here.

    Returns
    -------
    ndarray of shape (h, w, 3), uint8 or float32
        RGB, 0 to 255; of shape (h, w, n) if two, four or more bands are selected.

    Raises
    ------
    ImageError
        If the image cannot be decoded.

    Examples
    --------
    >>> decode(np.array([[0.0, 1.0]]))[0, :, 0]
    array([  0., 255.], dtype=float32)
    """
    name = name if name is not None else _name(image, "image")
    reading = make_reading(value_range=value_range, window=window, pages=pages, bands=bands)
    content = _read_content(image, name)

    def read() -> Pixels:
        is_default = reading.limits is None and reading.bands is None and reading.pages is None
        if isinstance(content, bytes) and is_default:
            pixels = decode_jpeg(content, max_pixels, least_px)
            if pixels is not None:
                return pixels
        stored = _stored(content, reading, name, max_pixels, least_px)
        return to_pixels(stored, reading, name, warned)

    return _guarded(read, name)


def _guarded(read: Callable[[], Value], name: str) -> Value:
    """Call `read` within the memory budget of images; its errors become `ImageError`."""
    try:
        with decoding():
            return read()
    except (ImageError, FeatxWarning):
        raise
    except MemoryError as error:
        raise ImageError(name, "does not fit in memory; lower max_pixels") from error
    except Exception as error:  # On a broken file a codec may raise anything.
        raise ImageError(name, _reason(error)) from error


def _stored(
    content: ImageLike,
    reading: Reading,
    name: str,
    max_pixels: int,
    least_px: int | None = None,
) -> StoredImage:
    """Stored values of an image: an array, a PIL image, or the bytes of a file."""
    if isinstance(content, np.ndarray):
        return _stored_array(content, name, reading)
    if isinstance(content, Image.Image):
        # Pillow loads an image at first use, which is not thread-safe, and it may occur twice.
        with _pil_image_locks[id(content) // 64 % len(_pil_image_locks)]:
            return _stored_by_pillow(content, reading, max_pixels)
    assert isinstance(content, bytes)
    try:
        return _stored_file(content, reading, max_pixels, least_px)
    except (TooLargeError, MemoryError):
        raise
    except Exception:
        stripped = strip_png_metadata(content)
        if len(stripped) == len(content):
            raise
        return _stored_file(stripped, reading, max_pixels, least_px)


def _read_content(image: Any, name: str) -> bytes | Image.Image | npt.NDArray[Any]:
    """Content of a file if `image` is a path, else `image` itself.

    Raises
    ------
    ImageError
        If the file cannot be read or is empty.
    """
    if isinstance(image, str | os.PathLike):
        image = _file_bytes(Path(image), name)
    elif isinstance(image, Blob):
        image = _blob_bytes(image, name)
    if isinstance(image, bytes | bytearray | memoryview):
        if not len(image):
            raise ImageError(name, "the file is empty")
        return bytes(image)
    if isinstance(image, Image.Image | np.ndarray):
        return image
    reason = f"expected a path, bytes, PIL image or array; got {type(image).__name__}"
    # A data set that decodes its own images yields an error instead of a broken image.
    raise image if isinstance(image, ImageError) else ImageError(name, reason)


def _file_bytes(path: Path, name: str) -> bytes:
    """Content of a regular file; pipes and devices are refused unread, as they may never end.

    The opened file is checked, as the path may change meanwhile. Reading does not block: some
    files in ``/proc`` have no content until an event occurs.
    """
    try:
        handle = os.open(path, os.O_RDONLY | _OPEN_FLAGS)
        with open(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(name, "is a pipe or device; expected a file")
            if status.st_size > _MAX_FILE_BYTES:
                raise ImageError(name, _too_large(status.st_size))
            content = file.read(_MAX_FILE_BYTES + 1)  # The file may be larger than its status says.
        if content is None:
            raise ImageError(name, "has no content yet; expected a file")
        if len(content) > _MAX_FILE_BYTES:
            raise ImageError(name, _too_large(len(content)))
        return content
    except ImageError:
        raise
    except (OSError, ValueError) as error:
        raise ImageError(name, _reason(error)) from error


def _blob_bytes(blob: Blob, name: str) -> bytes:
    try:
        return blob.read(_MAX_FILE_BYTES)
    except Exception as error:  # A broken archive may raise anything inside a parser; it is data.
        raise ImageError(name, _reason(error)) from error


def _too_large(n_bytes: int) -> str:
    return f"the file has {n_bytes:,} bytes; expected at most {_MAX_FILE_BYTES:,}"


def resize(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Resize an image for the classical extractors.

    Sides are shrunk by area averaging, which avoids aliasing, and enlarged bilinearly (OpenCV). If
    one side shrinks and the other grows, shrinking comes first.

    Parameters
    ----------
    pixels : ndarray of shape (h, w, 3), uint8 or float32
    size : tuple of int
        Height and width in pixels.

    Returns
    -------
    ndarray of shape (size[0], size[1], 3), of the same type
    """
    cv2 = load_opencv()
    height, width = size
    least = min(height, pixels.shape[0]), min(width, pixels.shape[1])
    if least != pixels.shape[:2]:  # OpenCV's area averaging aliases as soon as one side grows.
        pixels = cv2.resize(pixels, least[::-1], interpolation=cv2.INTER_AREA)
    if least != (height, width):
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
    return pixels


def gray(pixels: Pixels) -> npt.NDArray[np.float64]:
    """Luminance of each pixel: ``0.2125 red + 0.7154 green + 0.0721 blue``.

    Parameters
    ----------
    pixels : ndarray of shape (h, w, 3), uint8 or float32

    Returns
    -------
    ndarray of shape (h, w), float64
        0 to 255; exactly the intensity where the three channels are equal.

    Examples
    --------
    >>> gray(np.array([[[255, 0, 0], [7, 7, 7]]], np.uint8))
    array([[54.1875, 7. ]])
    """
    # Integer weights, divided last, keep the gray of equal channels exact.
    dtype = np.int32 if pixels.dtype == np.uint8 else np.float64
    bands: Any = pixels.astype(dtype)
    red, green, blue = (bands[:, :, c] * GRAY_WEIGHTS[c] for c in range(3))
    return (red + green + blue) / sum(GRAY_WEIGHTS)


def round_pixels(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """Pixels rounded to 8 bits, for key point detectors and for display.

    Examples
    --------
    >>> round_pixels(np.array([[0.2, 127.6]], np.float32))
    array([[  0, 128]], dtype=uint8)
    """
    return pixels if pixels.dtype == np.uint8 else np.rint(pixels).clip(0, 255).astype(np.uint8)


def size_pair(image_size: Any) -> tuple[int, int]:
    """Height and width from a parameter `image_size`; a single number is the side of a square.

    Raises
    ------
    ValueError
        If it is neither a positive integer nor a pair of them.

    Examples
    --------
    >>> size_pair(32), size_pair((32, 48))
    ((32, 32), (32, 48))
    """
    pair = (image_size, image_size) if isinstance(image_size, Integral) else tuple(image_size)
    if len(pair) == 2 and all(isinstance(side, Integral) and int(side) > 0 for side in pair):
        return int(pair[0]), int(pair[1])
    raise ValueError(
        f"image_size must be a number of pixels or (height, width); got {image_size!r}."
    )


class _Names(Sequence[str]):
    """Default names of images, made on request."""

    def __init__(self, items: Sequence[Any]) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        return _name(self._items[index], f"image {index}")


def _name(image: Any, default: str) -> str:
    """Printable path of a file, `default` for other images."""
    if isinstance(image, str | os.PathLike):
        return printable(os.fspath(image))
    return default


def printable(path: str) -> str:
    r"""Path as valid Unicode, with undecodable bytes as ``\xNN``.

    Examples
    --------
    >>> printable("caf\udce9.jpg")
    'caf\\xe9.jpg'
    """
    return path if path.isascii() else os.fsencode(path).decode("utf-8", "backslashreplace")


def _items(X: Any, image_shape: tuple[int, ...] | None) -> Sequence[Any]:
    """Convert `X` to an indexable sequence of images."""
    if isinstance(X, Images):
        return X.items
    if isinstance(X, str | bytes | os.PathLike | Image.Image):
        raise ValueError(
            f"Expected a sequence of images, got one {type(X).__name__}; put it in a list."
        )
    if not isinstance(X, np.ndarray):
        is_indexable = hasattr(X, "__len__") and hasattr(X, "__getitem__")
        return X if is_indexable and not hasattr(X, "iloc") else list(X)
    if X.dtype.kind in "OUS" and X.ndim == 1:
        return X.tolist()
    return _array_items(X, image_shape)


def _array_items(X: npt.NDArray[Any], image_shape: tuple[int, ...] | None) -> Any:
    """Array of images, flattened ones in their shape."""
    if X.ndim in (3, 4):
        return X
    if X.ndim != 2:
        raise ValueError(
            f"Expected images (n, h, w[, 3]) or flattened rows (n, p); got an array of shape "
            f"{X.shape}."
        )
    shape = image_shape or (X.shape[1], 1)
    if int(np.prod(shape)) != X.shape[1]:
        raise ValueError(
            f"Rows of {X.shape[1]} values do not fit images of shape {tuple(shape)} "
            f"({int(np.prod(shape))} values); set image_shape to the shape of one image."
        )
    return X.reshape(len(X), *shape)


def _stored_array(array: npt.NDArray[Any], name: str, reading: Reading) -> StoredImage:
    """Stored values of an array of any numeric type, with one or several bands."""
    if array.ndim not in (2, 3):
        raise ImageError(name, f"expected an array of shape (h, w) or (h, w, n); got {array.shape}")
    if not array.size:
        raise ImageError(name, f"the array has no pixels; its shape is {array.shape}")
    if array.ndim == 2:
        array = array[:, :, None]
    is_rgba = array.shape[2] == 4 and reading.bands is None
    if is_rgba and array.dtype == np.uint8 and reading.limits is None:
        return StoredImage(_on_white(Image.fromarray(array)))
    stored = StoredImage(array)
    return split_alpha(stored, reading) if is_rgba else stored


def _stored_file(
    data: bytes, reading: Reading, max_pixels: int, least_px: int | None
) -> StoredImage:
    """Stored values of a file; formats that Pillow would round or refuse have other readers."""
    reader = find_reader(data)
    try:
        if reader is not None:
            return reader.read(data, reading, max_pixels)
        if is_tiff(data):
            return _stored_tiff(data, reading, max_pixels)
        with open_image(data) as image:
            width, height = image.size
            if width * height <= max_pixels and (f := reduction(height, width, least_px)) > 1:
                image.draft(None, (width // f, height // f))  # Has an effect on JPEGs only.
            return _stored_by_pillow(image, reading, max_pixels)
    except ImportError as error:
        raise ValueError(missing_package(error, reader.name if reader else "TIFF")) from error
    except UnidentifiedImageError:
        plug_in = find_plug_in(data)
        if plug_in is None:
            raise
        return plug_in.read(data, reading, max_pixels)


def _stored_tiff(data: bytes, reading: Reading, max_pixels: int) -> StoredImage:
    """Values of a TIFF: by Pillow for the first page in 8 bits and all bands, else by tifffile."""
    image = None
    with suppress(UnidentifiedImageError):  # Bands or types that Pillow does not support.
        image = open_image(data)
    is_default = reading.pages in (None, "first") and reading.bands is None
    if image is not None and is_default and not _loses_values(image):
        return _first_page_by_pillow(image, reading, max_pixels)
    try:
        return read_tiff(data, reading, max_pixels)
    except ModuleNotFoundError:  # Pillow supports more compressions than tifffile alone.
        if image is None or not is_default or not _is_gray_by_pillow(image):
            raise
        return _first_page_by_pillow(image, reading, max_pixels)


def _first_page_by_pillow(image: Any, reading: Reading, max_pixels: int) -> StoredImage:
    """First page of a TIFF; reduced-resolution copies do not count as pages."""
    n_pages = 0
    for index in range(getattr(image, "n_frames", 1)):
        image.seek(index)
        n_pages += not image.tag_v2.get(_SUBFILE_TYPE, 0) & 1
    image.seek(0)
    return replace(_stored_by_pillow(image, reading, max_pixels), n_pages=n_pages)


def _loses_values(image: Any) -> bool:
    """Whether Pillow would round the values of a TIFF, or drop bands."""
    bits, extra = image.tag_v2.get(_BITS_PER_SAMPLE, (1,)), image.tag_v2.get(_EXTRA_SAMPLES, ())
    is_deep = image.mode in (*_GRAY_16_BIT_MODES, "I", "F") or max(bits) > 8
    return is_deep or 0 in extra


def _is_gray_by_pillow(image: Any) -> bool:
    """Whether Pillow reads a deep TIFF correctly: it inverts some, and misreads planar ones."""
    is_min_white = image.tag_v2.get(_PHOTOMETRIC) == 0
    return image.mode in (*_GRAY_16_BIT_MODES, "F") and not is_min_white


def _stored_by_pillow(image: Image.Image, reading: Reading, max_pixels: int) -> StoredImage:
    """Values of a PIL image: 8-bit RGB, or unconverted values of more than 8 bits."""
    n_frames = getattr(image, "n_frames", 1) if reading.pages not in (None, "first") else 1
    check_size(*image.size, 3 * n_frames, max_pixels)
    if n_frames == 1:
        return _stored_frame(image, reading)
    position, frames = image.tell(), []
    for index in range(n_frames):
        image.seek(index)
        frames.append(_stored_frame(image, reading).values)
    image.seek(position)
    joined = join_pages(frames, reading.pages)
    return StoredImage(joined, n_pages=n_frames, stored_type=frames[0].dtype)


def _stored_frame(image: Image.Image, reading: Reading) -> StoredImage:
    image.load()  # Before its EXIF is read, so that a broken image fails here.
    is_16_bit = image.mode in _GRAY_16_BIT_MODES or (image.mode, image.format) == ("I", "PNG")
    if is_16_bit or image.mode in ("I", "F"):
        values = np.asarray(image).astype(np.uint16) if is_16_bit else np.asarray(image)
        return StoredImage(upright(values[:, :, None], orientation_of(image)))
    return StoredImage(upright(_rgb(image, reading), orientation_of(image)))


def _rgb(image: Image.Image, reading: Reading) -> npt.NDArray[np.uint8]:
    """RGB pixels of an image in any of Pillow's modes, composited on white.

    If bands are selected, the unconverted bands, such as gray and alpha.
    """
    if reading.bands is not None or reading.pages == "all":
        image = image if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK") else image.convert("RGB")
        return np.array(image).reshape(image.height, image.width, -1)
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        return _on_white(image)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _on_white(image: Image.Image) -> npt.NDArray[np.uint8]:
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return np.array(Image.alpha_composite(white, image).convert("RGB"))


def _reason(error: BaseException) -> str:
    """Reason of an error on one line, without the path, which is the image's name."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    return one_line(error)
