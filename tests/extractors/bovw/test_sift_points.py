import cv2
import numpy as np
import pytest

from featx.extractors.bovw import sift
from featx.extractors.bovw.sift_descriptors import read_gradients
from featx.extractors.bovw.sift_points import N_SCALES, find_angles, find_extrema


def _maps(image: np.ndarray) -> np.ndarray:
    return next(sift._scale_space(image)).copy()


def _blob(y: float, x: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:100, :120]
    bell = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * radius**2))
    return np.rint(40 + 160 * bell).astype(np.uint8)


@pytest.mark.parametrize(("y", "x"), [(50.3, 60.2), (41.8, 73.4)])
@pytest.mark.parametrize("radius", [1.6, 3.0, 6.0])
def test_a_blob_is_one_place_in_its_middle(y: float, x: float, radius: float) -> None:
    points, _ = sift.find(_blob(y, x, radius))

    assert len(np.unique(points[:, :3].round(1), axis=0)) == 1
    np.testing.assert_allclose(points[0, :2], [x, y], atol=0.5)
    assert points[0, 2] == pytest.approx(0.9 * radius, rel=0.15)


def test_places_are_extrema_of_differences_as_numpy_finds_them() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 70), dtype=np.uint8)
    maps = _maps(cv2.GaussianBlur(noise, (0, 0), 1.5))
    differences = np.diff(maps, axis=0)
    windows = np.lib.stride_tricks.sliding_window_view(differences, (3, 3, 3))
    middle = differences[1:-1, 1:-1, 1:-1]
    is_top = (middle == windows.max((3, 4, 5))) & (middle > 1)
    is_top |= (middle == windows.min((3, 4, 5))) & (middle < -1)
    scales, rows, columns = (axis + 1 for axis in np.nonzero(is_top))

    positions = find_extrema(maps)

    assert len(positions) > 20
    found = np.stack([scales, rows, columns], axis=1)
    steps = np.abs(found[:, None] - positions[:, :3]).max(axis=2)
    assert steps.min(axis=0).max() < 2  # Each is refined from one of them.
    is_inner = ((found[:, 1:] >= 6) & (found[:, 1:] < np.array(maps.shape[1:]) - 6)).all(axis=1)
    values = np.abs(differences[scales, rows, columns])
    is_plain = is_inner & (values > 4) & (_curvature(differences, found) < 8)
    assert is_plain.sum() > 10
    # Those with contrast, off edges, are found, but where the way to the top leads out.
    assert (steps[is_plain].min(axis=1) < 1.5).mean() > 0.9


def _curvature(differences: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Square of the trace over the determinant of the Hessian in the plane; 4 for a round one."""
    s, y, x = positions.T
    d = differences
    xx = d[s, y, x + 1] + d[s, y, x - 1] - 2 * d[s, y, x]
    yy = d[s, y + 1, x] + d[s, y - 1, x] - 2 * d[s, y, x]
    xy = (d[s, y + 1, x + 1] - d[s, y + 1, x - 1] - d[s, y - 1, x + 1] + d[s, y - 1, x - 1]) / 4
    determinant = xx * yy - xy**2
    return np.where(determinant > 0, (xx + yy) ** 2 / np.maximum(determinant, 1e-9), np.inf)


def test_no_place_without_contrast_and_none_on_an_edge() -> None:
    edge = np.full((100, 120), 60, np.uint8)
    edge[:, 60:] = 200
    faint = 100 + (_blob(50.3, 60.2, 1.6) - 40) // 16

    assert len(find_extrema(_maps(_blob(50.3, 60.2, 1.6)))) == 1
    assert len(find_extrema(_maps(edge))) == 0
    assert len(find_extrema(_maps(faint))) == 0


@pytest.mark.parametrize("degrees", [0, 30, 90, 135, 260])
def test_angle_is_that_of_the_gradient(degrees: int) -> None:
    rows, columns = np.mgrid[:60, :60].astype(np.float32)
    turn = np.radians(degrees)
    maps = np.broadcast_to(columns * np.cos(turn) - rows * np.sin(turn), (6, 60, 60))
    gradients = read_gradients(
        np.ascontiguousarray(maps, np.float32), np.zeros((2, 6, 60, 60), np.float32)
    )
    positions = np.array([[1, 30, 30, 2.0]], np.float32)

    points = find_angles(gradients, positions)

    assert points.shape == (1, 5)
    assert np.degrees(points[0, 4]) == pytest.approx(degrees, abs=5)
    np.testing.assert_array_equal(points[:, :4], positions)


def test_a_ridge_has_two_angles() -> None:
    rows, _ = np.mgrid[:60, :60].astype(np.float32)
    maps = np.ascontiguousarray(np.broadcast_to(-abs(rows - 30), (6, 60, 60)))
    gradients = read_gradients(maps, np.zeros((2, 6, 60, 60), np.float32))

    points = find_angles(gradients, np.array([[N_SCALES, 30, 30, 2.0]], np.float32))

    np.testing.assert_allclose(np.degrees(points[:, 4]), [90, 270], atol=1e-3)
