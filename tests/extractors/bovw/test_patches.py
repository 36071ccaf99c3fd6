import numpy as np
import pytest

from featx.extractors.bovw.patches import (
    bin_weights,
    haar_maps,
    orientation_maps,
    pool_patches,
    to_bytes,
)


@pytest.mark.parametrize(
    ("turns", "direction"), [(0, 0), (1, 2), (2, 4), (3, 6)], ids=["right", "up", "left", "down"]
)
def test_directions_go_round_by_way_of_the_top(turns: int, direction: int) -> None:
    ramp = np.rot90(np.tile(np.arange(9, dtype=np.float32), (9, 1)), turns)
    maps = orientation_maps(ramp)
    assert maps.sum(axis=(0, 1)).argmax() == direction
    assert maps[4, 4, direction] == pytest.approx(2)


def test_strength_is_shared_between_two_directions() -> None:
    x, y = np.meshgrid(np.arange(9), np.arange(9))
    angle = np.deg2rad(30)
    maps = orientation_maps((np.cos(angle) * x - np.sin(angle) * y).astype(np.float32))
    np.testing.assert_allclose(maps[4, 4, :3], [2 / 3, 4 / 3, 0], atol=1e-5)


def test_bins_share_the_middle_of_a_patch_evenly() -> None:
    weights = bin_weights(4.0)
    middle = weights.shape[1] // 2
    np.testing.assert_allclose(weights[:, middle], [0, 0.5, 0.5, 0])
    np.testing.assert_allclose(weights, weights[::-1, ::-1])


def test_patches_equal_the_sums_by_hand() -> None:
    maps = np.random.default_rng(0).uniform(size=(30, 40, 8)).astype(np.float32)
    weights = bin_weights(2.0)
    pooled = pool_patches(maps, np.array([15]), np.array([12, 20]), weights)
    window = maps[10:21, 15:26]  # (11, 11, 8), around row 15 and column 20
    by_hand = np.einsum("by,cx,yxo->bco", weights, weights, window)
    np.testing.assert_allclose(pooled[1], by_hand.ravel(), rtol=1e-5)


def test_pixels_beyond_the_border_count_nothing() -> None:
    maps = np.ones((8, 8, 8), np.float32)
    center, corner = pool_patches(maps, np.array([4]), np.array([0, 4]), bin_weights(2.0))[::-1]
    assert 0 < corner.sum() < center.sum()


def test_values_do_not_depend_on_contrast() -> None:
    histograms = np.random.default_rng(0).uniform(size=(3, 128)).astype(np.float32)
    np.testing.assert_array_equal(to_bytes(histograms), to_bytes(4 * histograms))


def test_wavelets_measure_the_slope_to_the_right_and_upwards() -> None:
    x, y = np.meshgrid(np.arange(20), np.arange(20))
    maps = haar_maps((3 * x + 2 * y).astype(np.uint8), side_px=4)
    np.testing.assert_allclose(maps[10, 10], [6, 6, -4, 4])
    assert not maps[:2].any()
    assert not maps[:, :2].any()


def test_wavelets_equal_the_sums_by_hand() -> None:
    gray = np.random.default_rng(0).integers(0, 256, (12, 14), dtype=np.uint8)
    window = gray[5:9, 6:10].astype(float)  # the four pixels around row 7 and column 8
    along_x = window[:, 2:].mean() - window[:, :2].mean()
    along_y = window[:2].mean() - window[2:].mean()
    by_hand = [along_x, abs(along_x), along_y, abs(along_y)]
    np.testing.assert_allclose(haar_maps(gray, side_px=4)[7, 8], by_hand, rtol=1e-6)


def test_wavelets_that_do_not_fit_give_zeros() -> None:
    assert not haar_maps(np.full((3, 9), 7, np.uint8), side_px=6).any()
