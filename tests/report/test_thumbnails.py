from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featx.report.thumbnails import Thumbnails, _find_images, shrink


def opened(uri: str | None) -> Image.Image:
    assert uri is not None
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1])))


def test_thumbnail_is_the_image_made_small(photos: list[str]) -> None:
    image = opened(Thumbnails("", photos).make(photos[0], side_px=64))

    with Image.open(photos[0]) as photo:
        large = photo.convert("RGB").resize(image.size)
    assert max(image.size) == 64
    assert np.abs(np.asarray(large, float) - np.asarray(image.convert("RGB"), float)).mean() < 12


def test_image_of_a_strange_shape_keeps_a_pixel() -> None:
    assert opened(shrink(np.zeros((1, 4000, 3), np.uint8), 64)).size == (64, 1)


def test_tiny_image_is_enlarged_without_blur() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, 4:] = 255

    image = np.asarray(opened(shrink(pixels, 64)).convert("L"), int)

    assert image.shape == (64, 64)
    assert ((image < 40) | (image > 215)).mean() > 0.95


def test_thumbnails_keep_within_the_budget(photos: list[str]) -> None:
    generous = Thumbnails("", photos).make_all(photos, 10**7)
    tight = Thumbnails("", photos).make_all(photos, 12_000)

    assert None not in generous
    assert sum(len(uri or "") for uri in tight) <= 12_000
    assert sum(uri is not None for uri in tight) >= 6


def test_image_that_is_gone_has_no_thumbnail(photos: list[str], tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    names = [photos[0], str(tmp_path / "gone.jpg"), str(tmp_path / "broken.jpg"), "nul\0.jpg"]

    made = Thumbnails(str(tmp_path / "gone"), names).make_all(names, 10**6)

    assert [uri is None for uri in made] == [False, True, True, True]


def test_images_without_files_are_found_by_their_data_set() -> None:
    found = _find_images("digits", ["digits/0001", "digits/9999"])

    assert list(found) == ["digits/0001"]


@pytest.mark.parametrize("data", ["-", "", "gone"])
def test_data_that_cannot_be_read_again_gives_nothing(data: str) -> None:
    assert _find_images(data, ["a.jpg"]) == {}
