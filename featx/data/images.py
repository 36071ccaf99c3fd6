"""Name, read and decode pictures: the only decoder, so that every extractor sees the same pixels.

Whatever a picture comes as (a path, bytes, a PIL image, an array), it leaves here as one
``(h, w, 3)`` uint8 array in RGB: upright (EXIF orientation applied), composited on white
where it was transparent, grey repeated in three channels, 16 bits scaled to 8.
"""

from __future__ import annotations

import os
import stat
import struct
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from featx._fingerprints import digest_bytes, fingerprint
from featx._imports import load_opencv
from featx.data.image_formats import open_image
from featx.data.jpeg import decode_jpeg, reduction
from featx.errors import ImageError, ValueRangeWarning, one_line

Pixels: TypeAlias = npt.NDArray[np.uint8]
ImageLike: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[Any]"

PIXELS_VERSION = 1
"""Raised whenever the same picture would decode to other pixels."""

MAX_PIXELS = 89_478_485
"""Largest picture decoded by default: 256 MiB as RGB, the size at which Pillow warns too."""

GRAY_WEIGHTS = (2125, 7154, 721)
"""Red, green and blue in the luminance of a pixel (ITU-R BT.709), in parts of 10,000."""

_ROUNDING = 0.01
"""By which computed values may leave black and white, in 1/255 of the range."""

_MAX_FILE_BYTES = 2**30
"""Largest file that is read: four times as many bytes as the largest image decoded by default."""

_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

_GRAY_16_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")


for _message in ("Corrupt EXIF data", "Image appears to be a malformed MPO file"):
    # Once, not around each picture: filters are the process's, and pictures decode in threads.
    warnings.filterwarnings("ignore", _message, UserWarning)

_OPENING = threading.Lock()
_READING = [threading.Lock() for _ in range(64)]


class Images(Sequence["ImageLike"]):
    """A sequence of pictures, decoded one at a time on request.

    Parameters
    ----------
    X : sequence of paths, bytes, PIL images or arrays; or array
        The pictures. One array is ``(n, h, w)``, ``(n, h, w, 3)``, or flattened rows
        ``(n, p)`` read through `image_shape`.
    names : sequence of str, optional
        What to call each picture in results and messages. By default a path names itself and
        anything else is called ``image 0``, ``image 1`` and so on.
    image_shape : tuple of int, optional
        Shape ``(h, w)`` or ``(h, w, 3)`` of a flattened row; by default a row is a grey
        ``(p, 1)`` picture.
    value_range : tuple of float, optional
        The values of black and white in arrays. By default 0 to 65,535 for uint16, 0 to 255 for
        other integers, 0 to 1 for floats and booleans. Values outside are clipped, by default
        with a `ValueRangeWarning`.
    max_pixels : int, default=89478485
        Pictures with more pixels are refused before they are decoded.

    Raises
    ------
    ValueError
        If `X` is not a sequence of pictures or its rows do not fit `image_shape`.

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
        value_range: tuple[float, float] | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.items = _items(X, image_shape)
        self.names = list(names) if names is not None else _Names(self.items)
        self.value_range = value_range
        self.max_pixels = max_pixels

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
        """Pictures at `indices`, in that order, under the names they have here."""
        return Images(
            [self.items[i] for i in indices],
            names=[self.names[i] for i in indices],
            value_range=self.value_range,
            max_pixels=self.max_pixels,
        )

    def path(self, index: int) -> str | None:
        """Path of a picture that is a file, None of one that is not."""
        item = self.items[index]
        return os.fspath(item) if isinstance(item, str | os.PathLike) else None

    def pixels(self, index: int, least_px: int | None = None) -> Pixels:
        """Decode one picture.

        Parameters
        ----------
        index : int
        least_px : int, optional
            Of a JPEG that is a file or bytes: a half, a quarter or an eighth of its side will
            do, as long as its short side is left with so many pixels.

        Returns
        -------
        ndarray of shape (h, w, 3), uint8
            RGB, 0 to 255.

        Raises
        ------
        ImageError
            If the picture cannot be read; it carries the picture's name and the reason.
        """
        return self._decode(_read_content(self.items[index], self.names[index]), index, least_px)

    def read(self, index: int, least_px: int | None = None) -> tuple[str, Pixels]:
        """Digest and pixels of one picture, both from the same bytes.

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
        """Digest of one picture's content: of its bytes, or of its pixels where it has none.

        Raises
        ------
        ImageError
            If the picture cannot be read.
        """
        content = _read_content(self.items[index], self.names[index])
        if isinstance(content, bytes):
            return digest_bytes(content)
        return self.read(index)[0]

    def _decode(self, content: ImageLike, index: int, least_px: int | None) -> Pixels:
        return decode(
            content,
            name=self.names[index],
            value_range=self.value_range,
            max_pixels=self.max_pixels,
            least_px=least_px,
        )

    def __iter__(self) -> Iterator[ImageLike]:
        return (self.items[i] for i in range(len(self)))


def decode(
    image: ImageLike,
    *,
    name: str | None = None,
    value_range: tuple[float, float] | None = None,
    max_pixels: int = MAX_PIXELS,
    least_px: int | None = None,
) -> Pixels:
    """Pixels of one picture, upright, opaque and in RGB.

    Parameters
    ----------
    image : path, bytes, PIL image or array of shape (h, w), (h, w, 1), (h, w, 3), (h, w, 4)
        A file in one of the `featx.data.image_formats`; of a GIF, its first frame.
    name : str, optional
        The picture's name in an error; by default its path, or ``image``.
    value_range : tuple of float, optional
        The values of black and white in an array; see `Images`.
    max_pixels : int, default=89478485
        Larger pictures are refused before they are decoded.
    least_px : int, optional
        As in `Images.pixels`.

    Returns
    -------
    ndarray of shape (h, w, 3), uint8
        RGB, 0 to 255.

    Raises
    ------
    ImageError
        If the picture cannot be decoded.

    Examples
    --------
    >>> decode(np.array([[0.0, 1.0]]))[0, :, 0]
    array([  0, 255], dtype=uint8)
    """
    name = name if name is not None else _name(image, "image")
    content = _read_content(image, name)
    if isinstance(content, np.ndarray):
        return _array_pixels(content, name, value_range)
    try:
        if isinstance(content, Image.Image):
            # The same image may be given twice, and Pillow loads it when it is first looked at.
            with _READING[id(content) // 64 % len(_READING)]:
                return _pil_pixels(content, name, max_pixels)
        return _file_pixels(content, name, max_pixels, least_px)
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(name, "does not fit in memory; lower max_pixels") from error
    except Exception as error:  # A broken file may raise anything inside a codec; it is data.
        raise ImageError(name, _reason(error)) from error


def _read_content(image: Any, name: str) -> bytes | Image.Image | npt.NDArray[Any]:
    """Bytes of a path, anything else as it is.

    Raises
    ------
    ImageError
        If the file cannot be read or is empty.
    """
    if isinstance(image, str | os.PathLike):
        image = _file_bytes(Path(image), name)
    if isinstance(image, bytes | bytearray | memoryview):
        if not len(image):
            raise ImageError(name, "the file is empty")
        return bytes(image)
    if isinstance(image, Image.Image | np.ndarray):
        return image
    reason = f"expected a path, bytes, PIL image or array; got {type(image).__name__}"
    # A data set that decodes its own pictures has the error in the place of a broken one.
    raise image if isinstance(image, ImageError) else ImageError(name, reason)


def _file_bytes(path: Path, name: str) -> bytes:
    """Content of a file; a pipe or device, which may never end, is refused unread.

    What was opened is checked, not what the path named before, and nothing is waited for: some
    files of /proc have content only once something happens.
    """
    try:
        handle = os.open(path, os.O_RDONLY | _AT_ONCE)
        with open(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(name, "is a pipe or device; expected a file")
            if status.st_size > _MAX_FILE_BYTES:
                raise ImageError(name, _too_large(status.st_size))
            content = file.read(_MAX_FILE_BYTES + 1)  # It may have grown, or not know its size.
        if len(content) > _MAX_FILE_BYTES:
            raise ImageError(name, _too_large(len(content)))
        return content
    except ImageError:
        raise
    except (OSError, ValueError) as error:
        raise ImageError(name, _reason(error)) from error


def _too_large(n_bytes: int) -> str:
    return f"the file has {n_bytes:,} bytes; expected at most {_MAX_FILE_BYTES:,}"


def resize(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Picture brought to `size` for the classical extractors.

    Shrinks by area averaging, which does not alias, and grows bilinearly (OpenCV).

    Parameters
    ----------
    pixels : ndarray of shape (h, w, 3), uint8
    size : tuple of int
        Height and width in pixels.

    Returns
    -------
    ndarray of shape (size[0], size[1], 3), uint8
    """
    cv2 = load_opencv()
    height, width = size
    if pixels.shape[:2] == (height, width):
        return pixels
    is_shrunk = height * width < pixels.shape[0] * pixels.shape[1]
    how = cv2.INTER_AREA if is_shrunk else cv2.INTER_LINEAR
    return cv2.resize(pixels, (width, height), interpolation=how)


def gray(pixels: Pixels) -> npt.NDArray[np.float64]:
    """Luminance of each pixel: ``0.2125 red + 0.7154 green + 0.0721 blue``.

    Parameters
    ----------
    pixels : ndarray of shape (h, w, 3), uint8

    Returns
    -------
    ndarray of shape (h, w), float64
        0 to 255; exactly the intensity where the three channels are equal.

    Examples
    --------
    >>> gray(np.array([[[255, 0, 0], [7, 7, 7]]], np.uint8))
    array([[54.1875, 7. ]])
    """
    # Whole numbers until the end, so that equal greys stay exactly equal.
    red, green, blue = (pixels[:, :, c].astype(np.int32) * GRAY_WEIGHTS[c] for c in range(3))
    return (red + green + blue) / sum(GRAY_WEIGHTS)


def size_pair(image_size: Any) -> tuple[int, int]:
    """Height and width that a parameter `image_size` means: a number is a square.

    Raises
    ------
    ValueError
        If it is neither one whole number above 0 nor a pair of them.

    Examples
    --------
    >>> size_pair(32), size_pair((32, 48))
    ((32, 32), (32, 48))
    """
    pair = (image_size, image_size) if isinstance(image_size, Integral) else tuple(image_size)
    if len(pair) == 2 and all(isinstance(side, Integral) and int(side) > 0 for side in pair):
        return int(pair[0]), int(pair[1])
    raise ValueError(f"image_size is one number of pixels or (height, width); got {image_size!r}.")


class _Names(Sequence[str]):
    """Names of pictures that were given none, made when asked for."""

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


def _name(image: Any, otherwise: str) -> str:
    """Path as text that can always be printed and stored, whatever bytes are in it."""
    if isinstance(image, str | os.PathLike):
        return printable(os.fspath(image))
    return otherwise


def printable(path: str) -> str:
    r"""Path as valid Unicode; bytes that are none stand as ``\xNN``.

    Examples
    --------
    >>> printable("caf\udce9.jpg")
    'caf\\xe9.jpg'
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _items(X: Any, image_shape: tuple[int, ...] | None) -> Sequence[Any]:
    """One indexable sequence of pictures from whatever was given."""
    if isinstance(X, Images):
        return X.items
    if isinstance(X, str | bytes | os.PathLike | Image.Image):
        raise ValueError(
            f"Expected a sequence of pictures, got one {type(X).__name__}; put it in a list."
        )
    if not isinstance(X, np.ndarray):
        is_indexable = hasattr(X, "__len__") and hasattr(X, "__getitem__")
        return X if is_indexable and not hasattr(X, "iloc") else list(X)
    if X.dtype.kind in "OUS" and X.ndim == 1:
        return X.tolist()
    return _array_items(X, image_shape)


def _array_items(X: npt.NDArray[Any], image_shape: tuple[int, ...] | None) -> Any:
    """Array of pictures, flattened rows brought into shape."""
    if X.ndim in (3, 4):
        return X
    if X.ndim != 2:
        raise ValueError(
            f"Expected pictures (n, h, w[, 3]) or flattened rows (n, p); got an array of shape "
            f"{X.shape}."
        )
    shape = image_shape or (X.shape[1], 1)
    if int(np.prod(shape)) != X.shape[1]:
        raise ValueError(
            f"Rows of {X.shape[1]} values are no pictures of shape {tuple(shape)} "
            f"({int(np.prod(shape))} values); set image_shape to the shape of one picture."
        )
    return X.reshape(len(X), *shape)


def _array_pixels(
    array: npt.NDArray[Any], name: str, value_range: tuple[float, float] | None
) -> Pixels:
    """Pixels of an array, grey or colour, in any number type."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ImageError(name, f"expected an array of shape (h, w) or (h, w, 3); got {array.shape}")
    if not array.size:
        raise ImageError(name, f"the array has no pixels; its shape is {array.shape}")
    array = array if array.ndim == 3 else array[:, :, None]
    pixels = _to_uint8(array, name, value_range)
    if pixels.shape[2] == 4:
        return _rgb(Image.fromarray(pixels))
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return np.ascontiguousarray(pixels)


def _to_uint8(
    array: npt.NDArray[Any], name: str, value_range: tuple[float, float] | None
) -> Pixels:
    """Values between black and white as 0 to 255, rounded to the nearest."""
    if array.dtype == np.uint8 and value_range is None:
        return array
    if array.dtype.kind not in "buif":
        raise ImageError(name, f"expected an array of numbers; got {array.dtype}")
    low, high = value_range or _default_range(array.dtype)
    scaled = (array.astype(np.float64) - low) * (255 / (high - low))
    if not np.isfinite(scaled).all():
        raise ImageError(name, "the array holds NaN or infinity")
    if value_range is None and not -_ROUNDING <= scaled.min() <= scaled.max() <= 255 + _ROUNDING:
        warnings.warn(
            f"{array.dtype} values outside {low:g} to {high:g} are cut off: say what is black and "
            "white by value_range=(LOW, HIGH).",
            ValueRangeWarning,
            stacklevel=2,
        )
    return np.rint(scaled.clip(0, 255)).astype(np.uint8)


def _default_range(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Black and white where nothing is said: as files of this depth have them."""
    if dtype.kind not in "ui":
        return 0, 1
    return (0, 65_535) if dtype == np.uint16 else (0, 255)


def _file_pixels(data: bytes, name: str, max_pixels: int, least_px: int | None) -> Pixels:
    pixels = decode_jpeg(data, max_pixels, least_px)
    if pixels is not None:
        return pixels
    try:
        with _open(data) as image:
            width, height = image.size
            if width * height <= max_pixels and (f := reduction(height, width, least_px)) > 1:
                image.draft(None, (width // f, height // f))  # Of a JPEG; others stay as they are.
            return _pil_pixels(image, name, max_pixels)
    except UnidentifiedImageError as error:
        raise ImageError(name, str(error)) from error


def _open(data: bytes) -> Image.Image:
    """Picture whose header has been read, whatever its size: `max_pixels` is the limit here."""
    with _OPENING:
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            return _calmly(lambda: open_image(data))
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _calmly(call: Callable[[], Image.Image]) -> Image.Image:
    """Result of `call`, even where the user has made an error of every warning."""
    try:
        return call()
    except UserWarning:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return call()


def _pil_pixels(image: Image.Image, name: str, max_pixels: int) -> Pixels:
    if image.width * image.height > max_pixels:
        raise ImageError(
            name,
            f"{image.width}x{image.height} px is over max_pixels={max_pixels}; "
            "raise max_pixels if you trust the file",
        )
    image.load()  # First of all: what fails from here on is its EXIF, not the picture.
    return _rgb(_upright(image))


def _upright(image: Image.Image) -> Image.Image:
    """Picture turned as its EXIF says; one whose EXIF is broken stays as it is."""
    try:
        return _calmly(lambda: ImageOps.exif_transpose(image))
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error):
        return image


def _rgb(image: Image.Image) -> Pixels:
    """RGB pixels of any of Pillow's modes, composited on white where transparent."""
    if image.mode in (*_GRAY_16_BIT_MODES, "I", "F"):
        return _deep_gray(image)
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        return _on_white(image)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _on_white(image: Image.Image) -> Pixels:
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return np.array(Image.alpha_composite(white, image).convert("RGB"))


def _deep_gray(image: Image.Image) -> Pixels:
    """Grey of more than 8 bits: 16 bits scaled by 257, floats of 0 to 1 by 255."""
    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("the picture holds NaN or infinity")
    # Pillow reads 16-bit PNG and TIFF as "I" in some versions: both have 65,535 as white.
    scale = 255.0 if image.mode == "F" and values.max(initial=0) <= 1 else 1.0
    if image.mode != "F":
        scale = 1 / 257
    gray = np.rint((values * scale).clip(0, 255)).astype(np.uint8)
    return np.repeat(gray[:, :, None], 3, axis=2)


def _reason(error: BaseException) -> str:
    """One line of why, without the path that the name already gives."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    return one_line(error)
