from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featx.data.images import Images
from featx.data.percentiles import measure_range
from featx.errors import DatasetError


def test_percentiles_are_numpys_over_images_of_one_size() -> None:
    values = np.random.default_rng(0).integers(0, 4096, (6, 30, 30)).astype(np.uint16)
    reading = measure_range(Images(values, value_range="p1,p99"))
    expected = np.percentile(values, [1, 99], method="inverted_cdf")
    np.testing.assert_array_equal(reading.limits, expected)
    assert reading.measured == "p1,p99 of 6 images"


def test_every_image_weighs_the_same() -> None:
    images = [np.zeros((2, 2), np.uint16), np.full((60, 60), 100, np.uint16)]
    assert measure_range(Images(images, value_range="p40,p60")).limits == (0, 100)


def test_only_the_images_named_are_measured() -> None:
    values = np.stack([np.full((4, 4), value) for value in (0, 10, 1000)])
    assert measure_range(Images(values, value_range="p0,p100"), [0, 1]).limits == (0, 10)


def test_images_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(b"x")
    Image.fromarray(np.arange(100, dtype=np.uint16)[None]).save(tmp_path / "a.png")
    images = Images([tmp_path / "a.png", tmp_path / "b.png"], value_range="p0,p100")
    assert measure_range(images).limits == (0, 99)
    with pytest.raises(DatasetError, match="No image can be read"):
        measure_range(images, [1])


def test_images_of_one_value_are_refused() -> None:
    with pytest.raises(DatasetError, match="both percentiles are 7; give numbers"):
        measure_range(Images(np.full((2, 4, 4), 7), value_range="p1,p99"))


def test_large_images_and_sets_are_sampled_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featx.data.percentiles._MAX_IMAGES", 3)
    monkeypatch.setattr("featx.data.percentiles._MAX_VALUES", 5)
    values = np.arange(9 * 64).reshape(9, 8, 8)
    reading = measure_range(Images(values, value_range="p0,p100"))
    assert reading.limits == (0, 9 * 64 - 1)
    assert reading.measured == "p0,p100 of 3 images"
