import numpy as np
import pytest

from featx.extractors.bovw.sift_descriptors import _angle_of, describe, read_gradients


def _gradients(image: np.ndarray) -> np.ndarray:
    maps = np.ascontiguousarray(np.broadcast_to(image, (6, *image.shape)), np.float32)
    return read_gradients(maps, np.zeros((2, *maps.shape), np.float32))


def test_angles_are_those_of_the_arc_tangent() -> None:
    dy, dx = np.random.default_rng(0).normal(size=(2, 10_000)).astype(np.float32)
    dy[:4], dx[:4] = [0, 0, 1, -1], [1, -1, 0, 0]

    found = np.array([_angle_of(*pair) for pair in zip(dy, dx, strict=True)])

    assert ((found >= 0) & (found <= np.float32(2 * np.pi))).all()
    steps = found - np.arctan2(dy, dx)
    np.testing.assert_allclose(np.cos(steps), 1, atol=1e-6)
    np.testing.assert_allclose(np.sin(steps), 0, atol=2e-5)


def test_gradients_are_differences_over_two_pixels() -> None:
    image = np.random.default_rng(0).random((20, 30), np.float32) * 255
    turns, sizes = _gradients(image)[:, 2, 1:-1, 1:-1]

    dx, dy = image[1:-1, 2:] - image[1:-1, :-2], image[:-2, 1:-1] - image[2:, 1:-1]
    np.testing.assert_allclose(sizes, np.hypot(dx, dy), rtol=1e-5)
    np.testing.assert_allclose(sizes * np.cos(turns), dx, atol=0.02)
    np.testing.assert_allclose(sizes * np.sin(turns), dy, atol=0.02)


def _by_the_book(image: np.ndarray, point: np.ndarray) -> np.ndarray:
    """A descriptor pixel by pixel, in double precision."""
    _, y, x, sigma, angle = point.astype(float)
    side, sums = 3 * sigma, np.zeros((6, 6, 8))
    for row in range(1, image.shape[0] - 1):
        for column in range(1, image.shape[1] - 1):
            down, right = row - round(y), column - round(x)
            v = (right * np.sin(angle) + down * np.cos(angle)) / side
            u = (right * np.cos(angle) - down * np.sin(angle)) / side
            if max(abs(v), abs(u)) >= 2.5:
                continue
            dx = float(image[row, column + 1]) - image[row, column - 1]
            dy = float(image[row - 1, column]) - image[row + 1, column]
            size = np.hypot(dx, dy) * np.exp(-(v * v + u * u) / 8)
            position = [v + 2.5, u + 2.5, (np.arctan2(dy, dx) - angle) / (2 * np.pi) * 8 % 8]
            first = np.floor(position).astype(int)
            for step in np.ndindex(2, 2, 2):
                near = 1 - np.abs(np.array(position) - first - step)
                i, j, k = first + step
                sums[i, j, k % 8] += size * near.prod()
    row = sums[1:-1, 1:-1].ravel()
    row = np.minimum(row, 0.2 * np.linalg.norm(row))
    return np.rint(512 * row / np.linalg.norm(row)).clip(0, 255)


@pytest.mark.parametrize("angle", [0.0, np.pi / 2, 0.7, 3.9, 6.2])
@pytest.mark.parametrize("position", [(40.2, 44.9), (3.0, 70.0)])
def test_values_are_those_of_the_definition(angle: float, position: tuple[float, float]) -> None:
    image = np.random.default_rng(1).random((80, 90), np.float32) * 255
    point = np.array([1, *position, 2.1, angle], np.float32)

    found = describe(_gradients(image), point[None])[0]

    assert np.abs(found.astype(int) - _by_the_book(image, point)).max() <= 1
