"""Read PNG, PNM, JPEG 2000, AVIF, HEIF and JPEG XL files of more than 8 bits, and ``.npy`` files.

Pillow silently reduces most of these to 8 bits.
"""

from __future__ import annotations

import io
import re
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from featx._imports import load_opencv
from featx.data.image_formats import open_image, orientation_of
from featx.data.reading import Reading
from featx.data.stored_image import StoredImage, split_alpha
from featx.data.tiff import check_size, upright

Array = npt.NDArray[Any]

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER = ">II2B"  # width, height, bits, kind of color, from byte 16 on
_PNG_GRAY = 0
_NPY_MAGIC = b"\x93NUMPY"
_J2K_START = b"\xff\x4f\xff\x51"
_J2K_BITS_AT = 42
_JXL_MAGIC = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
_JXL_BOXES = ((b"jxlc", 4), (b"jxlp", 8))
_JXL_SIDE_BITS = (9, 13, 18, 30)
_JXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_PNM_NUMBER = re.compile(rb"(?:\s|#[^\n]*\n)+(\d+)")
_PNM_PLAIN, _PNM_COLOR = b"23", b"36"
_HEIF_BRANDS = (b"avif", b"avis")


def is_deep_png(data: bytes) -> bool:
    """Whether a file is a 16-bit PNG."""
    return data.startswith(_PNG_MAGIC) and data[24:25] == b"\x10"


def read_png(data: bytes, reading: Reading, max_pixels: int) -> StoredImage:
    """Values of a 16-bit PNG: Pillow validates the file, OpenCV decodes colors."""
    width, height, _, kind = struct.unpack_from(_PNG_HEADER, data, 16)
    check_size(width, height, 1, max_pixels)
    with open_image(data) as image:
        image.load()
        orientation = orientation_of(image)
        key = image.info.get("transparency")
        values = np.asarray(image) if kind == _PNG_GRAY else _decode_opencv(data)
    values = values.reshape(height, width, -1).astype(np.uint16, copy=False)
    stored = split_alpha(StoredImage(upright(values, orientation)), reading)
    if key is None or isinstance(key, bytes) or reading.bands is not None:
        return stored
    alpha = (stored.values != np.asarray(key)).any(axis=2).astype(np.float64)
    return StoredImage(stored.values, alpha=alpha)


def is_deep_pnm(data: bytes) -> bool:
    """Whether a file is a PGM or PPM with a maximum value above 255."""
    return data[:1] == b"P" and data[1:2] in b"2356" and (_pnm_header(data) or [0])[2:3] > [255]


def read_pnm(data: bytes, reading: Reading, max_pixels: int) -> StoredImage:
    """Values of a PGM or PPM of more than 8 bits; the header has the value of white."""
    width, height, white, start = _pnm_header(data)
    n_bands = 3 if data[1:2] in _PNM_COLOR else 1
    check_size(width, height, n_bands, max_pixels)
    n_values = width * height * n_bands
    if data[1:2] in _PNM_PLAIN:
        values = np.array(data[start:].split()[:n_values], dtype=np.uint16)
    else:
        values = np.frombuffer(data, ">u2", min(n_values, (len(data) - start) // 2), start)
    if len(values) < n_values:
        raise ValueError("image file is truncated")
    return StoredImage(values.reshape(height, width, n_bands), (0.0, float(white)))


def is_deep_jpeg_2000(data: bytes) -> bool:
    """Whether a file is a JPEG 2000 of more than 8 bits."""
    return _jpeg_2000_bits(data) > 8


def read_jpeg_2000(data: bytes, reading: Reading, max_pixels: int) -> StoredImage:
    """Values of a JPEG 2000 of more than 8 bits, decoded by imagecodecs."""
    with open_image(data) as image:
        check_size(*image.size, len(image.getbands()), max_pixels)
    import imagecodecs

    return _deep(imagecodecs.jpeg2k_decode(data), _jpeg_2000_bits(data), reading)


def is_deep_avif(data: bytes) -> bool:
    """Whether a file is an AVIF of more than 8 bits."""
    return data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS and _heif_bits(data) > 8


def read_avif(data: bytes, reading: Reading, max_pixels: int) -> StoredImage:
    """Values of an AVIF of more than 8 bits, decoded by imagecodecs."""
    with open_image(data) as image:
        check_size(*image.size, len(image.getbands()), max_pixels)
        orientation = orientation_of(image)
    import imagecodecs

    stored = _deep(imagecodecs.avif_decode(data), _heif_bits(data), reading)
    return stored if orientation == 1 else _apply_orientation(stored, orientation)


def is_deep_heif(data: bytes) -> bool:
    """Whether a file is a HEIF of more than 8 bits, and not an AVIF."""
    return data[4:8] == b"ftyp" and data[8:12] not in _HEIF_BRANDS and _heif_bits(data) > 8


def read_heif(data: bytes, reading: Reading, max_pixels: int) -> StoredImage:
    """Values of a HEIF of more than 8 bits, decoded by pi-heif, which applies the orientation."""
    import pi_heif

    image = pi_heif.open_heif(
        io.BytesIO(data), convert_hdr_to_8bit=False, bgr_mode=False, hdr_to_16bit=False
    )
    width, height = image.size
    check_size(width, height, 3, max_pixels)
    values = np.array(image)  # A copy: the image owns its memory.
    return _deep(values, _heif_bits(data), reading)


def is_jpeg_xl(data: bytes) -> bool:
    """Whether a file is a JPEG XL of any depth, which Pillow cannot read."""
    return data.startswith(_JXL_MAGIC)


def read_jpeg_xl(data: bytes, reading: Reading, max_pixels: int) -> StoredImage:
    """Values of a JPEG XL, decoded by imagecodecs, which applies the orientation."""
    check_size(*_jpeg_xl_size(data), 3, max_pixels)
    import imagecodecs

    values = imagecodecs.jpegxl_decode(data)
    values = values.reshape(*values.shape[-3 if values.ndim > 2 else -2 :])
    return _deep(values, 8 * values.dtype.itemsize, reading)


def is_npy(data: bytes) -> bool:
    """Whether a file is a ``.npy`` file of NumPy."""
    return data.startswith(_NPY_MAGIC)


def read_npy(data: bytes, reading: Reading, max_pixels: int) -> StoredImage:
    """Values of a ``.npy`` file: an array of shape (h, w) or (h, w, n_bands)."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read_header = np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read_header(file)
    if len(shape) not in (2, 3) or 0 in shape or dtype.kind not in "buif":
        raise ValueError(f"expected numbers of shape (h, w) or (h, w, n); got {dtype} {shape}")
    check_size(shape[1], shape[0], shape[2] if len(shape) == 3 else 1, max_pixels)
    if len(data) - file.tell() < int(np.prod(shape)) * dtype.itemsize:
        raise ValueError("image file is truncated")
    values = np.frombuffer(data, dtype, int(np.prod(shape)), file.tell())
    values = values.reshape(shape, order="F" if is_fortran else "C")
    values = values.astype(dtype.newbyteorder("="), copy=False)
    return split_alpha(StoredImage(values.reshape(*shape[:2], -1)), reading)


def _decode_opencv(data: bytes) -> Array:
    """Values of a 16-bit file decoded by OpenCV, in the order red, green, blue, alpha."""
    cv2 = load_opencv()
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16:
        raise ValueError("OpenCV cannot read it")
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}
    return values if values.ndim == 2 else values[:, :, order[values.shape[2]]]


def _pnm_header(data: bytes) -> list[int]:
    """Width, height, value of white, and offset of the values; empty if there is no header."""
    numbers, end = [], 2
    for _ in range(3):
        match = _PNM_NUMBER.match(data, end)
        if match is None:
            return []
        numbers.append(int(match[1]))
        end = match.end()
    return [*numbers, end + 1]


def _jpeg_2000_bits(data: bytes) -> int:
    """Bits of the first band; 0 if the file is not a JPEG 2000."""
    if data[:4] != _J2K_START and data[4:8] != b"jP  ":
        return 0
    start = data.find(_J2K_START)
    sizes = data[start + _J2K_BITS_AT : start + _J2K_BITS_AT + 1] if start >= 0 else b""
    return (sizes[0] & 0x7F) + 1 if sizes else 0


def _heif_bits(data: bytes) -> int:
    """Bits of the deepest band, from the first ``pixi`` box; 8 if there is none."""
    start = data.find(b"pixi")
    n_bands = data[start + 8] if 0 <= start < len(data) - 9 else 0
    return max(data[start + 9 : start + 9 + n_bands], default=8) if n_bands else 8


def _jpeg_xl_size(data: bytes) -> tuple[int, int]:
    """Width and height from the first bits of a JPEG XL (ISO/IEC 18181-1, SizeHeader)."""
    starts = [at + skip for box, skip in _JXL_BOXES if (at := data.find(box, 0, 4096)) >= 0]
    start = min(starts, default=0) + 2
    bits = int.from_bytes(data[start : start + 16], "little")

    def take(n: int) -> int:
        nonlocal bits
        value, bits = bits & ((1 << n) - 1), bits >> n
        return value

    def side(*, is_small: int) -> int:
        return 8 * (take(5) + 1) if is_small else take(_JXL_SIDE_BITS[take(2)]) + 1

    is_small = take(1)
    height, ratio = side(is_small=is_small), take(3)
    if not ratio:
        return side(is_small=is_small), height
    across, down = _JXL_RATIOS[ratio - 1]
    return height * across // down, height


def _deep(values: Array, bits: int, reading: Reading) -> StoredImage:
    """Decoded values, with their limits if they have fewer bits than their type."""
    values = values.reshape(*values.shape[:2], -1)
    has_limits = values.dtype.kind == "u" and bits < 8 * values.dtype.itemsize
    limits = (0.0, float(2**bits - 1)) if has_limits else None
    return split_alpha(StoredImage(values, limits), reading)


def _apply_orientation(stored: StoredImage, orientation: int) -> StoredImage:
    values = upright(stored.values, orientation)
    alpha = stored.alpha if stored.alpha is None else upright(stored.alpha, orientation)
    return StoredImage(values, stored.limits, alpha=alpha)
