"""Read DICOM files by pydicom: rescaled to modality units and windowed as the file says."""

from __future__ import annotations

import io
import logging
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.data.image_formats import without_warnings
from featx.data.reading import Reading
from featx.data.stored_image import Limits, StoredImage
from featx.data.tiff import check_size, join_pages

Array = npt.NDArray[Any]

_MAGIC, _MAGIC_AT = b"DICM", 128
# Many files violate the standard in harmless ways. Set once, not around each image: warning
# filters are global, and images are decoded in threads.
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
    """Selected frames of a DICOM file.

    Values are in the units of the modality (Hounsfield units of a CT). By default the file's own
    window is applied to them. If it has none, black and white are the lowest and the highest
    value that its bits can store.

    Parameters
    ----------
    data : bytes
        A whole file.
    reading : Reading
    max_pixels : int
        Larger images are refused; see `featx.data.tiff.check_size`.

    Returns
    -------
    StoredImage

    Raises
    ------
    ValueError
        If the file holds no image.
    ModuleNotFoundError
        If pydicom, or the decoder of the file's compression, is not installed.
    """
    return without_warnings(lambda: _read(data, reading, max_pixels))


def _read(data: bytes, reading: Reading, max_pixels: int) -> StoredImage:
    import pydicom

    dataset = pydicom.dcmread(io.BytesIO(data))
    if "Rows" not in dataset or "PixelData" not in dataset:
        raise ValueError("the DICOM file holds no image")
    n_frames = int(dataset.get("NumberOfFrames") or 1)
    n_read = 1 if reading.pages in (None, "first") else n_frames
    n_bands = int(dataset.get("SamplesPerPixel", 1))
    check_size(dataset.Columns, dataset.Rows, n_bands * n_read, max_pixels)
    frames = [_frame(dataset, index) for index in range(n_read)]
    return _interpret(dataset, frames, reading, n_frames)


def _frame(dataset: Any, index: int) -> Array:
    """Stored values of one frame of shape (h, w, c); colors are in RGB."""
    from pydicom.pixels.utils import pixel_array

    if dataset.file_meta.TransferSyntaxUID == _JPEG_EXTENDED and dataset.BitsStored > 8:
        return _decode_12_bit_jpeg(dataset, index)
    try:
        values = pixel_array(dataset, index=index)
    except RuntimeError as error:
        if "missing dependencies" in str(error):
            raise ModuleNotFoundError("gdcm") from error
        raise
    return np.asarray(values).reshape(*values.shape[:2], -1)


def _decode_12_bit_jpeg(dataset: Any, index: int) -> Array:
    """Frame of a lossy 12-bit JPEG, for which pydicom only supports a decoder under the GPL."""
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
    """Lowest and highest value that the stored bits can represent."""
    n_bits = int(dataset.BitsStored)
    if dataset.PixelRepresentation:
        return -float(2 ** (n_bits - 1)), float(2 ** (n_bits - 1) - 1)
    return 0.0, float(2**n_bits - 1)


def _modality_limits(dataset: Any) -> Limits:
    """Lowest and highest value after rescaling to modality units."""
    if "ModalityLUTSequence" in dataset:
        return 0.0, float(2 ** int(dataset.ModalityLUTSequence[0].LUTDescriptor[2]) - 1)
    slope = float(dataset.get("RescaleSlope", 1))
    intercept = float(dataset.get("RescaleIntercept", 0))
    low, high = (value * slope + intercept for value in _stored_limits(dataset))
    return min(low, high), max(low, high)


def _window_limits(dataset: Any, limits: Limits) -> Limits:
    """Range of the output of `apply_voi_lut`: that of its lookup table, else that of its input."""
    table = dataset.get("VOILUTSequence")
    if table and table[0].get("LUTDescriptor") is not None:
        return 0.0, float(2 ** int(table[0].LUTDescriptor[2]) - 1)
    return limits
