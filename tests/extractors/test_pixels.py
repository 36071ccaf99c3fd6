from __future__ import annotations

import numpy as np
import pytest

from featx.data.images import decode, gray, resize
from featx.extractors.pixels import RawPixels


def test_a_row_is_the_resized_image_from_zero_to_one(photos: list[str]) -> None:
    rows = RawPixels((20, 30)).transform(photos)
    wanted = np.stack([resize(decode(path), (20, 30)) for path in photos])
    np.testing.assert_allclose(rows, wanted.reshape(len(photos), -1) / 255, rtol=1e-6)


def test_an_image_of_the_size_is_left_as_it_is() -> None:
    image = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    row = RawPixels(8).transform([image])[0]
    assert (np.rint(row * 255) == image.ravel()).all()


def test_gray_is_luminance(photos: list[str]) -> None:
    row = RawPixels(16, color=False).transform(photos[:1])[0]
    wanted = gray(resize(decode(photos[0]), (16, 16))).ravel() / 255
    np.testing.assert_allclose(row, wanted, rtol=1e-6)


def test_digits_come_back_from_their_rows() -> None:
    digits = np.random.default_rng(0).integers(0, 17, (5, 64)).astype(float)
    extractor = RawPixels(8, color=False, image_shape=(8, 8), value_range=(0, 16))
    np.testing.assert_allclose(extractor.fit_transform(digits) * 16, digits, atol=16 / 255)


def test_a_name_says_row_column_and_channel() -> None:
    assert RawPixels((1, 2)).get_feature_names_out().tolist() == [
        "0_0_red", "0_0_green", "0_0_blue", "0_1_red", "0_1_green", "0_1_blue",
    ]  # fmt: skip
    assert RawPixels((1, 2), color=False).get_feature_names_out().tolist() == ["0_0", "0_1"]


@pytest.mark.parametrize("image_size", [0, (4,), (4, 0), (4, 2.5)])
def test_an_impossible_size_is_refused(image_size: object) -> None:
    with pytest.raises(ValueError, match="image_size"):
        RawPixels(image_size).fit(np.zeros((1, 4, 4), np.uint8))  # type: ignore[arg-type]
