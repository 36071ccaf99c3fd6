from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from mahotas.features import _surf, surf

from featx.data.images import decode
from featx.extractors.bovw.descriptors import SurfDescriptors
from featx.extractors.bovw.surf_points import _hessian_maps, _octave_margin, find_points


@pytest.fixture(scope="module")
def gray(shared: Callable[[str], Path]) -> np.ndarray:
    photo = decode(shared("data/ants_bees/val/ants/10308379_1b6c72e180.jpg"))
    return SurfDescriptors()._prepare(photo)


def _blob(y: int, x: int, radius: int) -> np.ndarray:
    image = np.full((240, 260), 40, np.uint8)
    cv2.circle(image, (x, y), radius, 200, -1)
    return cv2.GaussianBlur(image, (0, 0), 2)


@pytest.mark.parametrize(("octave", "margin"), [(0, 23), (1, 88)])
def test_hessian_is_mahotass(gray: np.ndarray, octave: int, margin: int) -> None:
    theirs = np.abs(_surf.pyramid(surf.integral(gray), 4, 6, 1)[octave])
    ours, step = _hessian_maps(gray, octave), 2**octave
    positions = [
        np.arange(_octave_margin(octave), side - _octave_margin(octave), step)
        for side in gray.shape
    ]
    inner = [
        (position >= margin) & (position < side - margin)
        for position, side in zip(positions, gray.shape)
    ]
    rows, columns = (position[keep] // step for position, keep in zip(positions, inner))
    np.testing.assert_array_equal(ours[:, inner[0]][:, :, inner[1]], theirs[:, rows][:, :, columns])


def test_most_of_mahotass_points_are_found(gray: np.ndarray) -> None:
    theirs = surf.interest_points(gray, 4, 6, 1, 0.1)
    ours = find_points(gray, 0.1, 10_000)
    distances = np.linalg.norm(ours[:, None, :2] - theirs[:, :2], axis=2).min(axis=0)
    assert (distances < 1.5).mean() > 0.9


@pytest.mark.parametrize(("y", "x", "radius"), [(120, 130, 6), (110, 126, 10), (121, 137, 14)])
def test_the_strongest_point_of_a_blob_is_its_middle(y: int, x: int, radius: int) -> None:
    strongest = find_points(_blob(y, x, radius), 0.1, 1)[0]
    np.testing.assert_allclose(strongest[:2], [y, x], atol=0.75)


def test_larger_blobs_have_larger_scales() -> None:
    scales = [find_points(_blob(120, 130, radius), 0.1, 1)[0, 2] for radius in (6, 10, 14)]
    assert scales == sorted(scales)
    assert scales[2] / scales[0] == pytest.approx(14 / 6, rel=0.3)


def test_points_come_strongest_first_and_no_more_than_asked(gray: np.ndarray) -> None:
    points = find_points(gray, 0.1, 50)
    assert len(points) == 50
    assert (np.diff(points[:, 3]) <= 0).all()
    np.testing.assert_array_equal(points, find_points(gray, 0.1, 10_000)[:50])


@pytest.mark.parametrize("shape", [(16, 16), (44, 300), (300, 16), (45, 45), (46, 47)])
def test_small_images_are_no_failure(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    points = find_points(noise, 0.1, 100)
    assert points.shape[1] == 4
    assert ((points[:, :2] >= 0) & (points[:, :2] < shape)).all()
