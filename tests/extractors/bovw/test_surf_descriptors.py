from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from mahotas.features import surf

from featx.data.images import decode
from featx.extractors.bovw.descriptors import SurfDescriptors
from featx.extractors.bovw.surf_descriptors import (
    _BORDER,
    describe,
    keep_inner,
    orient,
)

CENTRE = np.array([[79.5, 79.5, 3.0]])


@pytest.fixture(scope="module")
def gray(shared: Callable[[str], Path]) -> np.ndarray:
    photo = decode(shared("data/ants_bees/val/ants/10308379_1b6c72e180.jpg"))
    return SurfDescriptors()._prepare(photo)


@pytest.fixture(scope="module")
def patch(gray: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(gray[40:200, 60:220], (0, 0), 2)


def test_descriptors_are_mahotass_where_its_wavelets_are_even(gray: np.ndarray) -> None:
    theirs = surf.surf(gray)
    sides = (2 * theirs[:, 2] + 0.5).astype(int)
    theirs = theirs[sides == 2 * (theirs[:, 2] + 0.5).astype(int)]
    ours = describe(gray, theirs[:, :3], theirs[:, 5].copy())
    assert len(theirs) > 100
    np.testing.assert_allclose(ours, theirs[:, 6:], atol=1e-6)


def test_most_angles_are_near_mahotass(gray: np.ndarray) -> None:
    theirs = surf.surf(gray)
    turns = np.exp(1j * (orient(gray, theirs[:, :3]) - theirs[:, 5]))
    assert np.median(np.abs(np.angle(turns))) < np.deg2rad(5)


def test_angles_turn_with_the_image(patch: np.ndarray) -> None:
    upright, turned = (orient(np.rot90(patch, turns), CENTRE)[0] for turns in (0, 1))
    assert np.cos(turned - upright) == pytest.approx(0, abs=0.1)


def test_descriptors_do_not_turn_with_the_image(patch: np.ndarray) -> None:
    values = [
        describe(image, CENTRE, orient(image, CENTRE))[0]
        for image in (patch, np.ascontiguousarray(np.rot90(patch)), patch.T[::-1, ::-1].T)
    ]
    assert values[0] @ values[1] > 0.9
    assert values[0] @ values[2] > 0.9


def test_descriptors_do_not_depend_on_brightness_and_contrast(patch: np.ndarray) -> None:
    dim = (patch // 2 + 20).astype(np.uint8)
    angle = orient(patch, CENTRE)
    assert describe(patch, CENTRE, angle)[0] @ describe(dim, CENTRE, angle)[0] > 0.999


def test_flat_surroundings_give_zeros() -> None:
    flat = np.full((160, 160), 7, np.uint8)
    assert not describe(flat, CENTRE, orient(flat, CENTRE)).any()


def test_points_near_the_border_are_left_out() -> None:
    margin = _BORDER * 3.0 / 2
    points = np.array([[margin, 80, 3], [margin - 1, 80, 3], [80, 160 - margin, 3]])
    np.testing.assert_array_equal(keep_inner(points, (160, 160)), points[:1])
