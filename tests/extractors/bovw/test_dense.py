from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from featx.data.images import decode
from featx.extractors.bovw.dense import DenseSiftDescriptors, DenseSurfDescriptors, _grid_points


@pytest.fixture(scope="module")
def gray(shared: Callable[[str], Path]) -> np.ndarray:
    photo = decode(shared("data/ants_bees/val/ants/10308379_1b6c72e180.jpg"))
    return DenseSiftDescriptors()._prepare(photo)


def _by_opencv(gray: np.ndarray, points: np.ndarray, patch_px: float) -> np.ndarray:
    """OpenCV's SIFT of upright key points in the image that is blurred by 1.6 px."""
    size = patch_px / 6  # A bin is 1.5 sizes wide there.
    keys = [cv2.KeyPoint(float(x), float(y), size, 0, 1, 0, 0) for x, y in points]
    return cv2.SIFT_create(0).compute(gray, keys)[1]


def test_dense_sift_is_opencvs_where_both_blur_alike(gray: np.ndarray) -> None:
    points, values = DenseSiftDescriptors()._find_at(gray, 19.2)
    difference = np.abs(values - _by_opencv(gray, points, 19.2))
    assert len(points) > 500
    assert difference.max() <= 2
    assert difference.mean() < 0.01


@pytest.mark.parametrize("patch_px", [16, 24])
def test_dense_sift_is_near_opencvs_at_other_scales(gray: np.ndarray, patch_px: int) -> None:
    points, values = DenseSiftDescriptors()._find_at(gray, patch_px)
    theirs = _by_opencv(gray, points, patch_px)
    correlations = [np.corrcoef(a, b)[0, 1] for a, b in zip(values, theirs, strict=True)]
    assert np.median(correlations) > 0.95


@pytest.mark.parametrize("descriptor_class", [DenseSiftDescriptors, DenseSurfDescriptors])
def test_flat_images_have_no_rows(descriptor_class: type[DenseSiftDescriptors]) -> None:
    assert descriptor_class()._describe(np.full((64, 64), 9, np.uint8)).shape == (0, 132)


@pytest.mark.parametrize("descriptor_class", [DenseSiftDescriptors, DenseSurfDescriptors])
def test_images_smaller_than_a_patch_have_no_rows(
    descriptor_class: type[DenseSiftDescriptors],
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 320), dtype=np.uint8)
    assert descriptor_class(patch_px=(24,))._describe(noise).shape == (0, 132)


@pytest.mark.parametrize("descriptor_class", [DenseSiftDescriptors, DenseSurfDescriptors])
def test_every_scale_and_a_smaller_step_add_rows(
    descriptor_class: type[DenseSiftDescriptors], gray: np.ndarray
) -> None:
    n_rows = [
        len(descriptor_class(step_px=step_px, patch_px=patch_px)._describe(gray))
        for step_px, patch_px in [(16, (16,)), (16, (16, 32)), (8, (16, 32))]
    ]
    assert n_rows == sorted(set(n_rows))


def test_the_grid_lies_within_the_image_and_leaves_equal_margins() -> None:
    points = _grid_points((100, 75), step_px=8, patch_px=16)
    low, high = points.min(axis=0), points.max(axis=0)
    assert (low >= 8).all()
    assert (high <= [67, 92]).all()
    assert (np.abs(low - ([75, 100] - high)) <= 1).all()


def test_settings_that_change_descriptors_change_the_fingerprint() -> None:
    extractors = [
        DenseSiftDescriptors(),
        DenseSurfDescriptors(),
        DenseSiftDescriptors(step_px=4),
        DenseSiftDescriptors(patch_px=(16,)),
        DenseSiftDescriptors(image_size=100),
    ]
    assert len({extractor.fingerprint() for extractor in extractors}) == 5
