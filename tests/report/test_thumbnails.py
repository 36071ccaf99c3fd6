from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featx.features.results import Result
from featx.report.thumbnails import (
    _THUMBNAILS_FILE,
    _open_thumbnails,
    _read_thumbnails,
    shrink,
    thumbnails_of,
)


def opened(uri: str | None) -> Image.Image:
    assert uri is not None
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1])))


def test_thumbnail_is_the_image_made_small(photos: list[str]) -> None:
    image = opened(_open_thumbnails("").make_all([photos[0]], 10**6, largest_px=64)[0])

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
    generous = _open_thumbnails("").make_all(photos, 10**7)
    tight = _open_thumbnails("").make_all(photos, 12_000)

    assert None not in generous
    assert sum(len(uri or "") for uri in tight) <= 12_000
    assert sum(uri is not None for uri in tight) >= 6


def test_image_that_is_gone_has_no_thumbnail(photos: list[str], tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    names = [photos[0], str(tmp_path / "gone.jpg"), str(tmp_path / "broken.jpg"), "nul\0.jpg"]

    made = _open_thumbnails(str(tmp_path / "gone")).make_all(names, 10**6)

    assert [uri is None for uri in made] == [False, True, True, True]


def test_images_without_files_are_found_by_their_data_set() -> None:
    made = _open_thumbnails("digits").make_all(["digits/0001", "digits/9999"], 10**6)

    assert [uri is None for uri in made] == [False, True]


@pytest.mark.parametrize("data", ["-", "", "gone"])
def test_data_that_cannot_be_read_again_gives_nothing(data: str) -> None:
    thumbnails = _open_thumbnails(data)

    assert thumbnails.make_all(["a.jpg"], 10**6) == [None]
    assert thumbnails.is_empty


def test_saved_thumbnails_are_the_same_without_the_images(
    photos: list[str], tmp_path: Path
) -> None:
    made = _open_thumbnails("")
    large = made.make_all(photos[:2], 10**6, largest_px=144)
    made.make_all(photos[:4], 10**6)  # Smaller ones of two that are there already.
    made.save(tmp_path)

    saved = _read_thumbnails(tmp_path)
    assert saved.make_all(photos[:2], 10**6, largest_px=144) == large
    assert max(opened(saved.make_all(photos[:1], 10**6)[0]).size) == 96
    assert saved.make_all([photos[5]], 10**6) == [None]


def test_a_result_of_a_folder_has_only_the_thumbnails_there(
    photos: list[str], tmp_path: Path
) -> None:
    Result("umap", str(Path(photos[0]).parent), []).save(tmp_path)

    loaded = thumbnails_of(Result.load(tmp_path))
    computed = thumbnails_of(Result("umap", str(Path(photos[0]).parent), []))

    assert loaded.make_all(photos[:1], 10**6) == [None]
    assert computed.make_all(photos[:1], 10**6) != [None]


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"a": 1, "b": null}',
        '{"a": "https://example.com/a.webp"}',
        '{"a": "/etc/hostname"}',
        '{"a": "data:image/svg+xml;base64,PHN2Zy8+"}',
        '{"a": "data:image/webp;base64,PHN2Zy8+"}',
        '{"a": "data:image/webp;base64,UklGRgAAAABXRUJQ"}',
    ],
)
def test_what_is_no_thumbnail_is_left_out(tmp_path: Path, content: str) -> None:
    (tmp_path / _THUMBNAILS_FILE).write_text(content)

    assert _read_thumbnails(tmp_path).make_all(["a", "b"], 10**6) == [None, None]


def test_a_link_out_of_the_folder_is_not_followed(photos: list[str], tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "inside").mkdir()
    made = _open_thumbnails("")
    made.make_all(photos[:1], 10**6)
    made.save(tmp_path / "outside")
    (tmp_path / "inside" / _THUMBNAILS_FILE).symlink_to(tmp_path / "outside" / _THUMBNAILS_FILE)

    assert _read_thumbnails(tmp_path / "inside").make_all(photos[:1], 10**6) == [None]


def test_thumbnail_is_read_as_the_images_were(tmp_path: Path) -> None:
    path = str(tmp_path / "scan.png")
    Image.fromarray(np.full((80, 80), 2047, np.uint16)).save(path)
    result = Result("probe", str(tmp_path), [], provenance={"reading": {"value_range": [0, 4095]}})
    thumbnail = opened(thumbnails_of(result).make_all([path], 10**6)[0])
    assert abs(np.asarray(thumbnail.convert("L")).mean() - 127) < 3


@pytest.mark.parametrize("bands", ["each", [1, 2, 3, 4, 5]])
def test_thumbnail_of_many_bands_is_the_first(tmp_path: Path, bands: object) -> None:
    values = np.zeros((80, 80, 5), np.uint8)
    values[:, :, 0] = 200
    np.save(tmp_path / "a.npy", values)
    path = str(tmp_path / "a.npy")
    thumbnail = opened(_open_thumbnails("", {"bands": bands}).make_all([path], 10**6)[0])
    assert abs(np.asarray(thumbnail.convert("L")).mean() - 200) < 3
