import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from featx.data.images import decode
from featx.extractors.bovw.descriptors import (
    LocalDescriptors,
    OrbDescriptors,
    SiftDescriptors,
    SurfDescriptors,
    _pack,
    _take_root,
    _unpack,
)

DESCRIPTORS = [SurfDescriptors, SiftDescriptors, OrbDescriptors]


@pytest.fixture(scope="module")
def photo(shared: Callable[[str], Path]) -> np.ndarray:
    return decode(shared("data/ants_bees/val/ants/10308379_1b6c72e180.jpg"))


@pytest.mark.parametrize("descriptor_class", DESCRIPTORS)
def test_a_photograph_has_hundreds_of_points(
    descriptor_class: type[LocalDescriptors], photo: np.ndarray
) -> None:
    extractor = descriptor_class()
    rows = extractor._describe(extractor._prepare(photo))
    positions, values = extractor.unpack(rows)
    assert len(rows) > 100
    assert rows.dtype == np.uint8
    assert values.shape == (len(rows), extractor.n_values)
    assert np.ptp(positions, axis=0).min() > 30000


@pytest.mark.parametrize("descriptor_class", DESCRIPTORS)
@pytest.mark.parametrize("shape", [(1, 320), (320, 1), (15, 320), (320, 16), (64, 64)])
def test_images_without_points_give_no_rows_of_the_usual_width(
    descriptor_class: type[LocalDescriptors], shape: tuple[int, int]
) -> None:
    extractor = descriptor_class()
    width = 4 + extractor.n_values * np.dtype(extractor.dtype).itemsize
    assert extractor._describe(np.full(shape, 9, np.uint8)).shape == (0, width)


@pytest.mark.parametrize("descriptor_class", DESCRIPTORS)
def test_rows_are_the_same_in_threads_and_after_pickling(
    descriptor_class: type[LocalDescriptors], photo: np.ndarray
) -> None:
    extractor = pickle.loads(pickle.dumps(descriptor_class()))
    gray = extractor._prepare(photo)
    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(extractor._describe, [gray] * 4))
    assert {row.tobytes() for row in rows} == {descriptor_class()._describe(gray).tobytes()}


def test_images_are_brought_to_size_upwards_and_downwards() -> None:
    extractor = SurfDescriptors(image_size=100)
    assert extractor._prepare(np.zeros((20, 10, 3), np.uint8)).shape == (100, 50)
    assert extractor._prepare(np.zeros((300, 400, 3), np.uint8)).shape == (75, 100)
    assert extractor._prepare(np.zeros((1, 1000, 3), np.uint8)).shape == (1, 100)


def test_sift_equals_opencv_to_the_bit(photo: np.ndarray) -> None:
    extractor = SiftDescriptors()
    gray = extractor._prepare(photo)

    positions, values = extractor.unpack(extractor._describe(gray))

    points, expected = cv2.SIFT_create().detectAndCompute(gray, None)
    np.testing.assert_array_equal(values, expected)
    xy = cv2.KeyPoint_convert(points) / gray.shape[::-1]
    np.testing.assert_allclose(positions / 65536, xy, atol=2e-5)


def test_surf_places_are_x_before_y() -> None:
    wide = np.full((200, 320), 40, np.uint8)
    cv2.circle(wide, (220, 90), 8, 255, -1)
    positions, values = SurfDescriptors().unpack(SurfDescriptors()._describe(wide))
    strongest = positions[0] / 65536 * [320, 200]
    np.testing.assert_allclose(strongest, [220, 90], atol=4)
    np.testing.assert_allclose((values.astype(float) ** 2).sum(axis=1), 1, atol=5e-3)


def test_packing_keeps_every_bit_of_the_values() -> None:
    values = np.random.default_rng(0).normal(size=(5, 3)).astype("<f2")
    positions, unpacked = _unpack(_pack(np.full((5, 2), 0.25), values), "<f2")
    assert unpacked.tobytes() == values.tobytes()
    assert (positions == 16384).all()


def test_a_place_on_the_far_edge_stays_inside() -> None:
    positions, _ = _unpack(_pack(np.array([[1.0, -0.1]]), np.zeros((1, 1), np.uint8)), "u1")
    assert positions.tolist() == [[65535, 0]]


def test_root_sift_distances_are_those_of_the_hellinger_kernel() -> None:
    x, y = np.random.default_rng(0).integers(0, 256, (2, 128)).astype(np.float32)
    roots = _take_root(np.stack([x, y])).astype(float)
    hellinger = np.sqrt((x / x.sum()) * (y / y.sum())).sum()
    assert ((roots[0] - roots[1]) ** 2).sum() == pytest.approx(2 - 2 * hellinger, abs=1e-6)


def test_root_sift_of_nothing_is_nothing() -> None:
    assert _take_root(np.zeros((1, 4), np.float32)).tolist() == [[0, 0, 0, 0]]


def test_another_decoder_changes_the_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    before = SurfDescriptors().fingerprint()
    monkeypatch.setattr("featx.extractors.bovw.descriptors.PIXELS_VERSION", -1)
    assert SurfDescriptors().fingerprint() != before


def test_settings_that_change_descriptors_change_the_fingerprint() -> None:
    fingerprints = {extractor().fingerprint() for extractor in DESCRIPTORS}
    fingerprints.add(SurfDescriptors(image_size=200).fingerprint())
    assert len(fingerprints) == 4
    assert SurfDescriptors(n_jobs=2).fingerprint() in fingerprints
