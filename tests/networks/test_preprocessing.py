from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F  # noqa: N812
from torchvision.transforms.v2 import functional as v2

from featx.data.images import decode
from featx.errors import ImageError, ModelError
from featx.networks import preprocessing
from featx.networks.preprocessing import Preprocessing, check_values
from featx.networks.sources.timm import timm_preprocessing


@pytest.fixture(autouse=True)
def _by_our_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after many images: the first of a process are Pillow's."""
    monkeypatch.setattr(preprocessing, "_resize_count", count(preprocessing._N_BY_PILLOW))


def torchvisions(image: Image.Image, how: Preprocessing) -> np.ndarray:
    """Resize and crop as torchvision's presets do a PIL image."""
    size = how.resize if isinstance(how.resize, int) else list(how.resize)
    resized = F.resize(image, size, InterpolationMode(how.interpolation), antialias=True)
    return np.asarray(F.center_crop(resized, list(how.crop)))


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (232, 224), ((99, 77), 64), (33, 33)])
def test_pixels_are_torchvisions(
    resize: int, crop: int, interpolation: str, photos: list[str]
) -> None:
    how = Preprocessing(resize=resize, crop=(crop, crop), interpolation=interpolation)
    for path in photos[:3]:
        wanted = torchvisions(Image.open(path).convert("RGB"), how)
        assert np.array_equal(how.prepare(decode(path)), wanted)


def test_torch_resize_is_torchvisions_for_tensors(photos: list[str]) -> None:
    pixels = decode(photos[0])
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    wanted = v2.center_crop(v2.resize(tensor, [256], antialias=True), [224, 224])
    got = Preprocessing().prepare(pixels, by_torch=True)
    assert np.array_equal(got, wanted.permute(1, 2, 0).numpy())


def test_a_size_alone_is_the_crop_too() -> None:
    assert Preprocessing().override(size=(64, 96)).crop == (64, 96)


def test_crop_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="crop=300 is larger"):
        Preprocessing().override(crop=300)


def test_endless_image_is_refused() -> None:
    with pytest.raises(ImageError, match="too elongated"):
        Preprocessing().prepare(np.zeros((1, 5000, 3), np.uint8))


def test_grows_what_is_small() -> None:
    assert Preprocessing().prepare(np.zeros((8, 8, 3), np.uint8)).shape == (224, 224, 3)


def test_sizes_may_be_numbers_of_numpy() -> None:
    changed = Preprocessing().override(size=np.int64(128), crop=np.int64(96))

    assert changed == Preprocessing().override(size=128, crop=96)
    assert type(changed.resize) is int


def test_first_images_of_a_process_are_those_of_later_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether Pillow or our kernel resizes an image does not show, whatever the window."""
    pixels = np.random.default_rng(0).integers(0, 256, (61, 47, 3), dtype=np.uint8)
    for interpolation in ("bilinear", "bicubic", "lanczos"):
        for crop in ((20, 20), (24, 24)):
            how = Preprocessing(resize=24, crop=crop, interpolation=interpolation)
            monkeypatch.setattr(preprocessing, "_resize_count", count())
            first = how.prepare(pixels)
            monkeypatch.setattr(preprocessing, "_resize_count", count(preprocessing._N_BY_PILLOW))
            later = how.prepare(pixels)
            assert np.array_equal(first, later)
            assert first.flags.writeable
            assert first.flags.c_contiguous


def test_a_narrow_image_is_never_resized_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one that becomes far larger than the crop, the crop alone is made from the first on."""
    monkeypatch.setattr(preprocessing, "_resize_count", count())
    monkeypatch.setattr(preprocessing, "_resize_pillow", None)
    pixels = np.full((2, 400, 3), 7, np.uint8)
    assert (Preprocessing().prepare(pixels) == 7).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"crop": 0}, "crop must be 1 to 16,384 px"),
        ({"resize": 10**6}, "resize must be 1 to 16,384 px"),
        ({"resize": None}, "resize must be"),
        ({"crop": (224, [1])}, "crop must be"),
        ({"mean": (0.5, 0.5)}, "mean must be three numbers"),
        ({"std": (0.5, float("nan"), 0.5)}, "std must be three numbers"),
        ({"std": (0.5, 0.0, 0.5)}, "std must not be zero"),
        ({"interpolation": ["bilinear"]}, "interpolation must be one of"),
    ],
)
def test_values_of_a_file_are_checked_before_they_are_used(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        check_values(values)


def test_all_that_networks_need_is_allowed() -> None:
    check_values(Preprocessing(resize=(240, 320), crop=(240, 320)).settings())
    check_values({"resize": 32, "mean": (0, 0, 0), "std": (1, 1, 1)})


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("by_torch", [False, True])
def test_deep_pixels_are_resized_as_shallow_ones_but_for_rounding(
    photos: list[str], interpolation: str, by_torch: bool
) -> None:
    if by_torch and interpolation == "lanczos":
        pytest.skip("torch has none")
    pixels = decode(photos[0])
    how = Preprocessing(resize=64, crop=(48, 48), interpolation=interpolation)
    shallow = how.prepare(pixels, by_torch=by_torch)
    deep = how.prepare(pixels.astype(np.float32), by_torch=by_torch)
    assert deep.dtype == np.float32
    # Cubics have weights below zero, by which they enlarge the rounding between rows and columns.
    assert np.abs(deep - shallow).max() <= (4 if interpolation in ("bicubic", "lanczos") else 1.01)
    assert 0 <= deep.min() <= deep.max() <= 255


def test_any_number_of_bands_is_resized() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 5), dtype=np.uint8)
    how = Preprocessing(resize=16, crop=(16, 16))
    prepared = how.prepare(pixels)
    assert prepared.shape == (16, 16, 5)
    np.testing.assert_array_equal(prepared[..., :3], how.prepare(pixels[..., :3].copy()))


@pytest.mark.parametrize("shape", [(100, 37), (37, 100), (64, 64), (9, 200), (300, 250)])
@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize(
    ("size", "share"), [((32, 32), 0.875), ((40, 24), 0.9), ((32, 32), 1.0), ((31, 45), 1.0)]
)
def test_crop_modes_are_timms(
    mode: str, shape: tuple[int, int], size: tuple[int, int], share: float
) -> None:
    timm = pytest.importorskip("timm")
    config = {"input_size": (3, *size), "crop_pct": share, "crop_mode": mode, "mean": (0.9, 0.4, 0)}
    how = timm_preprocessing({**config, "interpolation": "bicubic", "std": (1, 1, 1)})
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    settings = {**config, "interpolation": "bicubic", "normalize": False}
    expected = timm.data.create_transform(**settings)(Image.fromarray(pixels))
    assert np.array_equal(how.prepare(pixels), np.asarray(expected).transpose(1, 2, 0))


def test_fingerprints_of_an_exact_fit_do_not_name_it() -> None:
    assert "fit" not in Preprocessing().settings()
    assert Preprocessing(fit="border").settings()["fit"] == "border"


def test_a_fit_that_is_none_is_refused() -> None:
    with pytest.raises(ModelError, match="fit must be one of exact, cover, border; got 'x'"):
        check_values({"fit": "x"})
