"""DICOMs by pydicom: rescaled, windowed as they say, upright in black and white."""

from __future__ import annotations

import io
import logging
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.data.image_formats import calmly
from featx.data.reading import Reading
from featx.data.stored_image import Limits, StoredImage
from featx.data.tiff import check_size, join_pages

Array = npt.NDArray[Any]

_MAGIC, _MAGIC_AT = b"DICM", 128
# Values that bend the standard are many. Once, not around each image: filters are the process's,
# and images decode in threads.
warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom\b")
logging.getLogger("pydicom").addHandler(logging.NullHandler())

_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
_WINDOWS = ("WindowCenter", "VOILUTSequence")


def is_dicom(data: bytes) -> bool:
    """Whether a file is a DICOM.

    Examples
    --------
    >>> is_dicom(bytes(128) + b"DICM"), is_dicom(b"GIF89a")
    (True, False)
    """
    return data[_MAGIC_AT : _MAGIC_AT + 4] == _MAGIC


def read_dicom(data: bytes, reading: Reading, max_pixels: int) -> StoredImage:
    """The frame or frames asked for of a DICOM.

    Values are those of the modality (Hounsfield units of a CT). By default the file's own window
    is applied to them, else black and white are the lowest and the highest value that its bits
    can store.

    Parameters
    ----------
    data : bytes
        A whole file.
    reading : Reading
    max_pixels : int
        Above so many pixels, three values each, it is refused.

    Raises
    ------
    ValueError
        If it holds no image.
    ModuleNotFoundError
        If pydicom is not installed, or what its compression takes.
    """
    return calmly(lambda: _read(data, reading, max_pixels))


def _read(data: bytes, reading: Reading, max_pixels: int) -> StoredImage:
    import pydicom

    dataset = pydicom.dcmread(io.BytesIO(data))
    if "Rows" not in dataset or "PixelData" not in dataset:
        raise ValueError("the DICOM file holds no image")
    n_frames = int(dataset.get("NumberOfFrames") or 1)
    n_taken = 1 if reading.pages in (None, "first") else n_frames
    n_bands = int(dataset.get("SamplesPerPixel", 1))
    check_size(dataset.Columns, dataset.Rows, n_bands * n_taken, max_pixels)
    frames = [_frame(dataset, index) for index in range(n_taken)]
    return _interpret(dataset, frames, reading, n_frames)


def _frame(dataset: Any, index: int) -> Array:
    """Stored values of one frame as (h, w, c), in RGB where they are colors."""
    from pydicom.pixels.utils import pixel_array

    if dataset.file_meta.TransferSyntaxUID == _JPEG_EXTENDED and dataset.BitsStored > 8:
        return _twelve_bits(dataset, index)
    try:
        values = pixel_array(dataset, index=index)
    except RuntimeError as error:
        if "missing dependencies" in str(error):
            raise ModuleNotFoundError("gdcm") from error
        raise
    return np.asarray(values).reshape(*values.shape[:2], -1)


def _twelve_bits(dataset: Any, index: int) -> Array:
    """A frame of lossy JPEG in 12 bits, for which pydicom knows only a decoder under the GPL."""
    import imagecodecs
    from pydicom.encaps import get_frame

    n_frames = int(dataset.get("NumberOfFrames") or 1)
    frame = get_frame(dataset.PixelData, index, number_of_frames=n_frames)
    values: Array = imagecodecs.jpeg8_decode(frame)
    return values.reshape(*values.shape[:2], -1)


def _interpret(dataset: Any, frames: list[Array], reading: Reading, n_frames: int) -> StoredImage:
    from pydicom.pixels import processing

    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        colors = [processing.apply_color_lut(frame[:, :, 0], dataset) for frame in frames]
        limits = (0.0, float(np.iinfo(colors[0].dtype).max))
        return StoredImage(join_pages(colors, reading.pages), limits, n_pages=n_frames)
    if frames[0].shape[2] > 1:
        limits = (0.0, float(2**dataset.BitsStored - 1))
        return StoredImage(join_pages(frames, reading.pages), limits, n_pages=n_frames)
    is_inverted = dataset.PhotometricInterpretation == "MONOCHROME1"
    values = [processing.apply_modality_lut(frame, dataset) for frame in frames]
    limits, is_sure = _modality_limits(dataset), dataset.BitsStored < dataset.BitsAllocated
    if reading.value_range in (None, "file") and any(it in dataset for it in _WINDOWS):
        limits, is_sure = _window_limits(dataset, limits), True
        values = [processing.apply_voi_lut(frame, dataset) for frame in values]
    joined = join_pages(values, reading.pages)
    is_sure = is_sure or joined.dtype.itemsize == 1
    return StoredImage(joined, limits, is_inverted=is_inverted, is_sure=is_sure, n_pages=n_frames)


def _stored_limits(dataset: Any) -> Limits:
    """Lowest and highest value that the bits can store."""
    n_bits = int(dataset.BitsStored)
    if dataset.PixelRepresentation:
        return -float(2 ** (n_bits - 1)), float(2 ** (n_bits - 1) - 1)
    return 0.0, float(2**n_bits - 1)


def _modality_limits(dataset: Any) -> Limits:
    """The lowest and the highest stored value, rescaled."""
    if "ModalityLUTSequence" in dataset:
        return 0.0, float(2 ** int(dataset.ModalityLUTSequence[0].LUTDescriptor[2]) - 1)
    slope = float(dataset.get("RescaleSlope", 1))
    intercept = float(dataset.get("RescaleIntercept", 0))
    low, high = (value * slope + intercept for value in _stored_limits(dataset))
    return min(low, high), max(low, high)


def _window_limits(dataset: Any, limits: Limits) -> Limits:
    """Range of what `apply_voi_lut` gives: that of its table, or of the values it was given."""
    table = dataset.get("VOILUTSequence")
    if table and table[0].get("LUTDescriptor") is not None:
        return 0.0, float(2 ** int(table[0].LUTDescriptor[2]) - 1)
    return limits
