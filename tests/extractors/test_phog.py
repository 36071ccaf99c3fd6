from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage
from skimage.feature import canny

from featx.extractors.phog import PHOG
from featx.testing import check_extractor

RNG = np.random.default_rng(0)
BLOBS = (ndimage.gaussian_filter(RNG.random((2, 40, 48)), (0, 3, 3)) > 0.5).astype(np.uint8) * 200


def test_laws_of_extractors_hold() -> None:
    check_extractor(PHOG(32, levels=1))


def plain(image: npt.NDArray[np.uint8], levels: int, orientations: int) -> list[float]:
    """The definition, pixel by pixel."""
    scaled = image / 255
    edges = canny(scaled, sigma=1.0)
    down, right = ndimage.sobel(scaled, 0), ndimage.sobel(scaled, 1)
    height, width = image.shape
    row = []
    for n in [2**level for level in range(levels + 1)]:
        cells = np.zeros((n, n, orientations))
        for y, x in zip(*np.nonzero(edges)):
            degrees = np.rad2deg(np.arctan2(down[y, x], right[y, x])) % 180
            i = min(int(degrees / 180 * orientations), orientations - 1)
            cells[y * n // height, x * n // width, i] += np.hypot(down[y, x], right[y, x])
        row.extend(cells.ravel())
    return list(np.array(row) / sum(row))


def test_rows_are_the_definition_s() -> None:
    rows = PHOG((40, 48), levels=2, orientations=7).transform(BLOBS)
    for row, image in zip(rows, BLOBS):
        np.testing.assert_allclose(row, plain(image, 2, 7), atol=1e-6)


def test_an_upright_edge_votes_for_one_orientation() -> None:
    image = np.zeros((1, 32, 32), np.uint8)
    image[:, :, 16:] = 255
    row = PHOG(32, levels=0, orientations=9).transform(image)[0]
    assert row[0] == pytest.approx(1)


def test_each_level_has_all_votes() -> None:
    row = PHOG(48, levels=2).transform(BLOBS)[0]
    whole, quarters, rest = np.split(row, [20, 100])
    assert whole.sum() == pytest.approx(quarters.sum())
    assert rest.sum() == pytest.approx(1 / 3, abs=1e-6)


def test_an_image_without_edges_is_zero() -> None:
    assert not PHOG(32).transform(np.full((1, 32, 32), 7, np.uint8)).any()


def test_an_image_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="PHOG needs images of at least 8x8 px for levels=3; got"):
        PHOG(4).transform(BLOBS)


def test_every_column_has_a_name_of_its_own() -> None:
    extractor = PHOG(32)
    assert len(set(extractor.get_feature_names_out())) == extractor.transform(BLOBS).shape[1]
