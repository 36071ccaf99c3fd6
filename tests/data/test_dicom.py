"""DICOMs against pydicom's own steps, on the files in its wheel."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.data.dicom import is_dicom, read_dicom
from featx.data.images import decode
from featx.data.reading import make_reading
from featx.errors import ImageError, PagesWarning

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
FILES = Path(pydicom.__file__).parent / "data" / "test_files"

WINDOWED = [
    "693_J2KI.dcm",  # JPEG 2000
    "J2K_pixelrep_mismatch.dcm",
    "MR_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "examples_overlay.dcm",
    "dicomdirtests/77654033/CR1/6154",  # MONOCHROME1
    "dicomdirtests/77654033/CR2/6247",
    "dicomdirtests/77654033/CT2/17106",
    "dicomdirtests/98892001/CT5N/2062",
    "dicomdirtests/98892003/MR1/15820",
    "dicomdirtests/98892003/MR700/4467",
]
COLORED = [
    "ExplVR_BigEnd.dcm",
    "SC_rgb_dcmtk_+eb+cy+np.dcm",  # YBR_FULL_422
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_rgb_rle_16bit.dcm",
    "examples_jpeg2k.dcm",
    "examples_ybr_color.dcm",
]


def by_pydicom(path: Path) -> tuple[np.ndarray, Any]:
    """Values after modality and VOI, and the data set."""
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path)
        values = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    return values.astype(np.float64), dataset


def full_range(dataset: Any) -> tuple[float, float]:
    """Lowest and highest value that the stored bits stand for, by hand."""
    n = dataset.BitsStored
    stored = (-(2 ** (n - 1)), 2 ** (n - 1) - 1) if dataset.PixelRepresentation else (0, 2**n - 1)
    slope, intercept = dataset.get("RescaleSlope", 1), dataset.get("RescaleIntercept", 0)
    low, high = (float(value * slope + intercept) for value in stored)
    return low, high


@pytest.mark.parametrize("name", WINDOWED)
def test_windows_are_those_of_apply_voi_lut(name: str) -> None:
    values, dataset = by_pydicom(FILES / name)
    low, high = full_range(dataset)
    expected = (values - low) * 255 / (high - low)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        expected = 255 - expected
    np.testing.assert_allclose(decode(FILES / name)[:, :, 0], expected, atol=1e-3)


@pytest.mark.parametrize("name", COLORED)
def test_colors_are_pydicoms(name: str) -> None:
    dataset = pydicom.dcmread(FILES / name)
    values = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns, 3)[0]
    expected = values * (255 / (2**dataset.BitsStored - 1))
    np.testing.assert_allclose(decode(FILES / name, pages="first"), expected, atol=1e-4)


def test_a_palette_gives_its_colors() -> None:
    from pydicom.pixels import apply_color_lut

    dataset = pydicom.dcmread(FILES / "examples_palette.dcm")
    expected = apply_color_lut(dataset.pixel_array, dataset) / 257
    pixels = decode(FILES / "examples_palette.dcm")
    np.testing.assert_allclose(pixels, expected, atol=1e-4)


def test_lossy_jpeg_of_12_bits_is_read() -> None:
    pytest.importorskip("imagecodecs", reason="the extra science is not installed")
    lossless, lossy = (
        decode(FILES / name, window=(132, 264)).ravel()  # The same image.
        for name in ("JPEG2000.dcm", "JPEG-lossy.dcm")
    )
    assert np.corrcoef(lossy, lossless)[0, 1] > 0.95


def test_a_window_of_ones_own_is_in_hounsfield_units() -> None:
    values, _ = by_pydicom(FILES / "CT_small.dcm")  # It has no window.
    expected = ((values - 200) / 400).clip(0, 1) * 255
    np.testing.assert_allclose(
        decode(FILES / "CT_small.dcm", window=(400, 400))[:, :, 0], expected, atol=1e-3
    )


def test_4096_values_stay_4096(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(FILES / "MR_small.dcm")
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    dataset.PixelData, dataset.PixelRepresentation = values.tobytes(), 0
    dataset.BitsStored, dataset.HighBit = 12, 11
    del dataset.WindowCenter, dataset.WindowWidth
    dataset.save_as(tmp_path / "a.dcm")
    pixels = decode(tmp_path / "a.dcm")
    assert len(np.unique(pixels)) == 4096
    assert (pixels.min(), pixels.max()) == (0, 255)


@pytest.mark.parametrize("name", ["rtdose.dcm", "SC_rgb_rle_2frame.dcm"])
def test_frames_are_pages(name: str) -> None:
    dataset = pydicom.dcmread(FILES / name)
    n_frames = int(dataset.NumberOfFrames)
    data = (FILES / name).read_bytes()
    with pytest.warns(PagesWarning, match=f"{n_frames} pages"):
        decode(data, value_range="dtype")
    highest = read_dicom(data, make_reading(pages="max", value_range=(0, 1)), 10**7).values
    np.testing.assert_allclose(np.squeeze(highest), dataset.pixel_array.max(0))


def test_what_cannot_be_decoded_says_why() -> None:
    with pytest.raises(ImageError, match="pixel data is less than expected"):
        decode(FILES / "MR_truncated.dcm")
    with pytest.raises(ImageError, match="holds no image"):
        decode(FILES / "rtplan.dcm")


def test_without_the_extra_one_line_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ImageError, match=r"DICOM needs the package pydicom: pip install 'featx\[d"):
        decode(bytes(128) + b"DICM" + bytes(100))


def test_the_limit_on_pixels_holds() -> None:
    with pytest.raises(ImageError, match="64x64 px is over max_pixels=9"):
        decode(FILES / "MR_small.dcm", max_pixels=9)


def test_the_signature_is_behind_the_preamble() -> None:
    assert is_dicom(bytes(128) + b"DICM")
    assert not is_dicom(b"DICM")
