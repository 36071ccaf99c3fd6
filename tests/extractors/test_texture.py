from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from skimage.feature import graycomatrix, graycoprops, local_binary_pattern

from featx.errors import ImageError
from featx.extractors.texture import GLCM, LBP
from featx.testing import check_extractor

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (3, 40, 48), np.uint8)
STRIPES = np.tile(np.repeat([0, 200], 4).astype(np.uint8), (1, 64, 8))


@pytest.mark.parametrize(
    "extractor", [LBP(32), LBP(32, radii=2, grid=3), GLCM(32), GLCM(16, levels=8)]
)
def test_laws_of_extractors_hold(extractor: LBP | GLCM) -> None:
    check_extractor(extractor)


def test_patterns_are_scikit_images() -> None:
    rows = LBP((40, 48), radii=(1, 3)).transform(NOISE)
    for row, image in zip(rows, NOISE):
        expected = [
            np.bincount(
                local_binary_pattern(image, 8 * r, r, "uniform").astype(int).ravel(),
                minlength=8 * r + 2,
            )
            for r in (1, 3)
        ]
        np.testing.assert_allclose(row * image.size, np.concatenate(expected), atol=1e-3)


def test_patterns_by_hand() -> None:
    """A bright point has no brighter neighbor; all others are counted from the definition."""
    image = np.zeros((1, 3, 3), np.uint8)
    image[0, 1, 1] = 255
    row = LBP(3, radii=1).transform(image)[0] * 9
    assert row[0] == pytest.approx(1)  # The center: none of eight points is as bright.


def test_cells_of_the_grid_are_those_of_the_image() -> None:
    halves = np.concatenate([np.zeros((20, 48), np.uint8), NOISE[0, :20]])[None]
    row = LBP((40, 48), radii=1, grid=2).transform(halves)[0].reshape(2, 2, 10)
    assert row[0, :, 8].min() > 0.9  # Flat: all points are as bright.
    assert row[1, :, 8].max() < 0.5


def test_contrast_does_not_change_patterns() -> None:
    image = NOISE // 2
    extractor = LBP((40, 48))
    np.testing.assert_array_equal(extractor.transform(image), extractor.transform(image * 2))


def test_patterns_of_deep_images_keep_their_depth() -> None:
    shallow = np.full((1, 32, 32), 1000, np.uint16)
    deep = shallow + RNG.integers(0, 4, shallow.shape, np.uint16)
    extractor = LBP(32, radii=1, value_range="dtype")
    assert not np.array_equal(extractor.transform(shallow), extractor.transform(deep))


def test_properties_are_scikit_images() -> None:
    row = GLCM((40, 48), distances=(1, 3), levels=16).transform(NOISE[:1])[0].reshape(5, 2, 2)
    angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
    matrices = graycomatrix(NOISE[0] // 16, (1, 3), angles, 16, symmetric=True, normed=True)
    for i, name in enumerate(("contrast", "dissimilarity", "homogeneity", "energy", "correlation")):
        values = graycoprops(matrices, name)
        np.testing.assert_allclose(row[i, :, 0], values.mean(1), rtol=1e-6)
        np.testing.assert_allclose(row[i, :, 1], np.ptp(values, 1), rtol=1e-5, atol=1e-7)


def test_stripes_differ_by_direction() -> None:
    row = dict(zip(GLCM(64).get_feature_names_out(), GLCM(64).transform(STRIPES)[0]))
    assert row["contrast_4px_range"] > row["contrast_1px_range"] > 0


@pytest.mark.parametrize(
    ("extractor", "message"),
    [
        (
            LBP(4),
            r"LBP needs images of at least 7x7 px for radii=\(1, 2, 3\), grid=1; got",
        ),
        (LBP(radii=()), r"radii=\(\): expected integers of 1 or more"),
        (LBP(radii=(1, 0)), "expected integers of 1 or more"),
        (LBP(radii=(1.5,)), "expected integers of 1 or more"),
        (GLCM(4), r"GLCM needs images of at least 5x5 px for distances=\(1, 2, 4\); got"),
        (GLCM(distances=(0,)), "expected integers of 1 or more"),
    ],
)
def test_impossible_settings_are_refused(extractor: LBP | GLCM, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        extractor.transform(NOISE)


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(ImageError, match=r"a\.png"):
        LBP().transform([str(tmp_path / "a.png")])


def names_of(extractor: LBP | GLCM) -> npt.NDArray[np.object_]:
    return extractor.get_feature_names_out()


def test_every_column_has_a_name_of_its_own() -> None:
    for extractor in (LBP(32, grid=2), GLCM(32)):
        assert len(set(names_of(extractor))) == extractor.transform(NOISE).shape[1]
