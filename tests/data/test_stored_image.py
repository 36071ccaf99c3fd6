from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from featx.data.reading import make_reading
from featx.data.stored_image import StoredImage, split_alpha, to_pixels, type_limits
from featx.errors import ImageError, PagesWarning, ValueRangeWarning

RAMP = np.arange(4096, dtype=np.uint16)[None, :, None]


def pixels_of(values: Any, warned: set[str] | None = None, **parameters: Any) -> np.ndarray:
    stored = values if isinstance(values, StoredImage) else StoredImage(np.asarray(values))
    return to_pixels(stored, make_reading(**parameters), "scan.tif", warned)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int32, np.float32, np.float64])
def test_4096_values_stay_4096_pixels(dtype: Any) -> None:
    pixels = pixels_of(RAMP.astype(dtype), value_range=(0, 4095))
    assert pixels.dtype == np.float32
    assert len(np.unique(pixels)) == 4096
    np.testing.assert_allclose(pixels[0, :, 0], np.arange(4096) * 255 / 4095, rtol=1e-6)


def test_all_65536_values_of_16_bits_stay_distinct() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    assert len(np.unique(pixels_of(values))) == 65536


def test_eight_bits_stay_as_they_are() -> None:
    values = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    for value_range in (None, "dtype", "file", (0, 255)):
        pixels = pixels_of(values, value_range=value_range)
        assert pixels.dtype == np.uint8
        assert (pixels == values).all()


def test_a_window_cuts_off_what_is_outside() -> None:
    pixels = pixels_of(
        np.array([[[-1000], [-160], [40], [240], [3000]]], np.int16), window=(40, 400)
    )
    assert pixels[0, :, 0].tolist() == [0, 0, 127.5, 255, 255]


def test_two_images_of_a_series_keep_their_ratio() -> None:
    one, two = np.full((2, 2, 1), 0.25, np.float32), np.full((2, 2, 1), 0.5, np.float32)
    assert pixels_of(two).mean() == 2 * pixels_of(one).mean()


@pytest.mark.parametrize("is_inverted", [False, True])
def test_inverted_images_are_dark_where_others_are_light(is_inverted: bool) -> None:
    stored = StoredImage(np.array([[[0], [65535]]], np.uint16), is_inverted=is_inverted)
    assert pixels_of(stored)[0, :, 0].tolist() == ([255, 0] if is_inverted else [0, 255])


def test_what_the_file_says_of_its_bits_is_white() -> None:
    stored = StoredImage(RAMP, limits=(0, 4095))
    assert pixels_of(stored).max() == 255
    assert pixels_of(stored, value_range="dtype").max() < 16


def test_noted_values_are_taken_where_that_is_asked_for() -> None:
    stored = StoredImage(RAMP, limits=(0, 4095), noted_limits=(1000, 2000))
    assert pixels_of(stored, value_range="file")[0, [1000, 1500, 2000], 0].tolist() == [
        0,
        127.5,
        255,
    ]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (
            RAMP,
            r"from 0 to 4095 fill little of .* 65535 .white.*--value-range=0,4095",
        ),
        (np.array([[[0.0], [255.0]]]), r"float64 values from 0 to 255; those outside 0 to 1"),
        (np.array([[[-5], [9]]], np.int16), "outside 0 to 255 are clipped"),
        (np.array([[[0], [2**32 - 1]]], np.uint32), "outside 0 to 255 are clipped"),
    ],
)
def test_a_range_that_nobody_said_is_named_with_the_option(values: Any, kind: str) -> None:
    with pytest.warns(ValueRangeWarning, match=rf"scan\.tif: .*{kind}"):
        pixels_of(values)


@pytest.mark.parametrize("value_range", ["dtype", "file", (0, 65535)])
def test_a_range_that_somebody_said_warns_nobody(value_range: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels_of(RAMP, value_range=value_range)


def test_each_kind_of_warning_is_given_once_for_a_data_set() -> None:
    warned: set[str] = set()
    with pytest.warns(ValueRangeWarning):
        pixels_of(RAMP, warned)
    pixels_of(RAMP, warned)  # A second warning would be an error here.


def test_one_page_of_several_is_said_unless_it_is_meant() -> None:
    stored = StoredImage(np.zeros((2, 2, 1), np.uint8), n_pages=7)
    with pytest.warns(PagesWarning, match="the file has 7 pages, and only the first"):
        pixels_of(stored)
    pixels_of(stored, pages="first")


def test_bands_are_taken_in_the_order_asked_for() -> None:
    values = np.arange(5, dtype=np.uint8).reshape(1, 1, 5)
    assert pixels_of(values, bands=(4, 3, 2))[0, 0].tolist() == [3, 2, 1]
    assert pixels_of(values, bands=(5,))[0, 0].tolist() == [4, 4, 4]
    assert pixels_of(values, bands=(1, 2, 3, 4, 5)).shape == (1, 1, 5)


def test_bands_that_are_no_image_name_the_options() -> None:
    with pytest.raises(ImageError, match=r"scan\.tif: 5 bands: .*--bands 4,3,2.*--bands each"):
        pixels_of(np.zeros((2, 2, 5), np.uint8))
    with pytest.raises(ImageError, match="expected at least 7 bands, got 5"):
        pixels_of(np.zeros((2, 2, 5), np.uint8), bands=(7,))


def test_alpha_is_composited_on_white_at_full_depth() -> None:
    values = np.array([[[65535, 0, 0, 0], [65535, 0, 0, 65535], [0, 0, 0, 13107]]], np.uint16)
    stored = split_alpha(StoredImage(values), make_reading())
    np.testing.assert_allclose(
        pixels_of(stored)[0], [[255, 255, 255], [255, 0, 0], [204, 204, 204]], rtol=1e-5
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ImageError, match="NaN or infinity"):
        pixels_of(np.array([[[0.5], [value]]]))


def test_limits_of_types_are_those_of_numpy() -> None:
    assert type_limits(np.dtype(np.uint16)) == (0, 65535)
    assert type_limits(np.dtype(np.float64)) == type_limits(np.dtype(bool)) == (0, 1)
