from __future__ import annotations

import numpy as np
import pytest
from skimage.color import rgb2hsv

from featx.data.images import Pixels, decode
from featx.extractors.color import ColorHistogram, HSVHistogram, MeanColor


@pytest.fixture(scope="module")
def images(photos: list[str]) -> list[Pixels]:
    return [decode(path) for path in photos]


@pytest.mark.parametrize("n_bins", [1, 2, 32, 256])
def test_histogram_equals_numpys(images: list[Pixels], n_bins: int) -> None:
    rows = ColorHistogram(n_bins).transform(images).reshape(len(images), 3, n_bins)
    for image, row in zip(images, rows, strict=True):
        for channel in range(3):
            counts = np.histogram(image[:, :, channel], n_bins, (0, 256))[0]
            np.testing.assert_allclose(row[channel], counts / counts.sum(), rtol=1e-6)


def test_each_channel_sums_to_one(images: list[Pixels]) -> None:
    rows = ColorHistogram(7).transform(images).reshape(-1, 7)
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-6)


def test_a_histogram_does_not_see_where_pixels_are(images: list[Pixels]) -> None:
    turned = [np.rot90(image) for image in images]
    extractor = ColorHistogram()
    assert (extractor.transform(turned) == extractor.transform(images)).all()


def test_bins_are_equal_in_width() -> None:
    row = ColorHistogram(4).transform([np.array([[0, 63, 64, 255]], np.uint8)])[0]
    assert row[:4].tolist() == [0.5, 0.25, 0, 0.25]


def test_mean_equals_numpys(images: list[Pixels]) -> None:
    wanted = [image.reshape(-1, 3).mean(axis=0) for image in images]
    np.testing.assert_allclose(MeanColor().transform(images), wanted, rtol=1e-6)


def test_names_tell_channel_and_bin() -> None:
    assert MeanColor().get_feature_names_out().tolist() == ["red", "green", "blue"]
    assert ColorHistogram(2).get_feature_names_out().tolist() == [
        "red_0", "red_1", "green_0", "green_1", "blue_0", "blue_1",
    ]  # fmt: skip


@pytest.mark.parametrize("n_bins", [0, 257, 2.5])
def test_an_impossible_number_of_bins_is_refused(n_bins: float) -> None:
    with pytest.raises(ValueError, match="n_bins"):
        ColorHistogram(n_bins).fit(np.zeros((1, 2, 2), np.uint8))  # type: ignore[arg-type]


def test_joint_histogram_equals_numpys(images: list[Pixels]) -> None:
    rows = HSVHistogram(n_bins=(8, 2, 4)).transform(images).reshape(len(images), 2, 2, 64)
    for image, row in zip(images, rows, strict=True):
        lower = np.array_split(rgb2hsv(image / 255.0), 2)[1]
        cell = np.array_split(lower, 2, axis=1)[0].reshape(-1, 3)
        wanted = np.histogramdd(cell, (8, 2, 4), [(0, 1)] * 3)[0].ravel() / len(cell)
        np.testing.assert_allclose(row[1, 0], wanted, atol=1e-6)


def test_joint_bins_are_named() -> None:
    row = HSVHistogram(1).transform([np.full((2, 2, 3), (0, 255, 0), np.uint8)])[0]
    assert HSVHistogram(1).get_feature_names_out()[row.argmax()] == "cell0_0_h2_s2_v2"
    assert len(HSVHistogram().get_feature_names_out()) == HSVHistogram().n_features() == 288


def test_an_image_smaller_than_the_grid_has_empty_cells() -> None:
    row = HSVHistogram(3).transform([np.zeros((2, 2, 3), np.uint8)]).reshape(9, -1)
    assert row.sum(axis=1).tolist() == [1, 1, 0, 1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("n_bins", [(8, 3), (8, 3, 0), (8, 3, 2.5)])
def test_impossible_joint_bins_are_refused(n_bins: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="expected three integers from 1 to 256"):
        HSVHistogram(n_bins=n_bins).fit(np.zeros((1, 2, 2), np.uint8))  # type: ignore[arg-type]
