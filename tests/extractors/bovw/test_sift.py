from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from featx.data.images import decode
from featx.extractors.bovw import sift
from featx.extractors.bovw.descriptors import SiftDescriptors


@pytest.fixture(scope="module")
def gray(shared: Callable[[str], Path]) -> np.ndarray:
    photo = decode(shared("data/ants_bees/val/ants/10308379_1b6c72e180.jpg"))
    return SiftDescriptors()._prepare(photo)


def _by_opencv(gray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    points, values = cv2.SIFT_create(0).detectAndCompute(gray, None)
    rows = [(*p.pt, p.size / 2, np.radians(-p.angle) % (2 * np.pi)) for p in points]
    return np.array(rows), values


def _nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each point the one of the others that is nearest in place, scale and angle."""
    steps = points[:, None] - others
    steps[..., 3] = (steps[..., 3] + np.pi) % (2 * np.pi) - np.pi
    return np.abs(steps).max(axis=2).argmin(axis=1)


def test_points_and_values_are_opencvs_but_for_roundings(gray: np.ndarray) -> None:
    points, values = sift.find(gray)
    theirs, their_values = _by_opencv(gray)

    assert len(points) == pytest.approx(len(theirs), rel=0.01)
    assert len(np.unique(points, axis=0)) == len(points)
    near = _nearest(theirs, points)
    steps = np.abs(points[near] - theirs)
    steps[:, 3] = np.minimum(steps[:, 3], 2 * np.pi - steps[:, 3])
    is_found = (steps[:, :3] < 0.02).all(axis=1) & (steps[:, 3] < 0.01)
    assert is_found.mean() > 0.99
    far = np.abs(values[near].astype(int) - their_values)[is_found].max(axis=1)
    assert (far <= 1).mean() > 0.98
    assert far.max() <= 16


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_image_has_the_same_points_turned(gray: np.ndarray, turns: int) -> None:
    turned = np.ascontiguousarray(np.rot90(gray, turns))
    points, values = sift.find(gray)
    theirs, their_values = sift.find(turned)

    xy = points[:, :2] - np.array(gray.shape[::-1]) / 2
    for _ in range(turns):
        xy = np.stack([xy[:, 1], -xy[:, 0]], axis=1)
    expected = points.copy()
    expected[:, :2] = xy + np.array(turned.shape[::-1]) / 2
    expected[:, 3] = (expected[:, 3] + turns * np.pi / 2) % (2 * np.pi)
    near = _nearest(expected, theirs)
    # Halving a picture keeps the pixel at one corner: coarse octaves lie a little differently.
    is_near = np.abs(expected[:, :2] - theirs[near, :2]).max(axis=1) < points[:, 2]
    assert is_near.mean() > 0.9
    unit, other = (v / np.linalg.norm(v.astype(float), axis=1, keepdims=True)
                   for v in (values, their_values[near]))  # fmt: skip
    assert np.median((unit * other).sum(axis=1)[is_near]) > 0.97


def test_each_gaussian_is_that_of_its_whole_width(gray: np.ndarray) -> None:
    maps = next(sift._scale_space(gray)).copy()

    base = cv2.resize(gray.astype(np.float32), None, fx=2, fy=2)
    for scale, found in enumerate(maps):
        sigma = np.sqrt((1.6 * 2 ** (scale / 3)) ** 2 - 1)
        expected = cv2.GaussianBlur(base, (0, 0), sigma)
        np.testing.assert_allclose(found, expected, atol=0.5)


def test_octaves_halve(gray: np.ndarray) -> None:
    shapes = [maps.shape for maps in sift._scale_space(gray)]

    height, width = gray.shape
    assert shapes[:3] == [(6, 2 * height >> i, 2 * width >> i) for i in range(3)]
    assert min(shapes[-1][1:]) < 8


def test_memory_of_another_image_does_not_matter(gray: np.ndarray) -> None:
    expected = sift.find(gray)
    sift.find(np.random.default_rng(0).integers(0, 256, (200, 400), dtype=np.uint8))

    for found, wanted in zip(sift.find(gray), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_large_images_take_memory_of_their_own(
    gray: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = sift.find(gray)
    monkeypatch.setattr(sift, "_KEPT_VALUES", 1000)
    monkeypatch.setattr(sift, "_room", sift._Room())

    found = sift.find(gray)

    assert (
        sift._room.kept.keys() == {"maps", "gradients"}
        or max(kept.size for kept in sift._room.kept.values()) <= 1000
    )
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("shape", [(16, 16), (16, 300), (301, 17), (45, 46)])
def test_small_images_are_no_failure(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    points, values = sift.find(noise)

    assert len(points) == len(values)
    assert len(points) or max(shape) == 16
    assert ((points[:, :2] >= 0) & (points[:, :2] < shape[::-1])).all()
    assert np.isfinite(points).all()
