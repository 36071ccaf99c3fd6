from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage.color import rgb2gray
from skimage.feature import hog

from featx.data.images import (
    Pixels,
    decode,
    gray,
    resize,
)
from featx.errors import ImageError
from featx.extractors.hog import _BLOCK_NORMS, HOG


@pytest.fixture(scope="module")
def images(photos: list[str]) -> list[Pixels]:
    return [resize(decode(path), (128, 128)) for path in photos]


def by_skimage(image: Any, extractor: HOG) -> Any:
    cell, block = extractor.cell_px, extractor.block_cells
    return hog(
        image,
        orientations=extractor.orientations,
        pixels_per_cell=(cell, cell),
        cells_per_block=(block, block),
        block_norm=extractor.block_norm,
        transform_sqrt=extractor.transform_sqrt,
        channel_axis=-1 if image.ndim == 3 else None,
    )


def assert_equals_skimage(extractor: HOG, arrays: list[Any], images: list[Pixels]) -> None:
    """Rows of `images` are those of scikit-image for the same images as `arrays`."""
    expected = np.stack([by_skimage(array, extractor) for array in arrays])
    np.testing.assert_allclose(extractor.transform(images), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("transform_sqrt", [False, True])
@pytest.mark.parametrize("block_norm", _BLOCK_NORMS)
def test_color_equals_skimage(images: list[Pixels], block_norm: str, transform_sqrt: bool) -> None:
    extractor = HOG(block_norm=block_norm, transform_sqrt=transform_sqrt)
    assert_equals_skimage(extractor, images, images)


@pytest.mark.parametrize("transform_sqrt", [False, True])
@pytest.mark.parametrize("block_norm", _BLOCK_NORMS)
def test_gray_equals_skimage(images: list[Pixels], block_norm: str, transform_sqrt: bool) -> None:
    extractor = HOG(block_norm=block_norm, transform_sqrt=transform_sqrt, color=False)
    assert_equals_skimage(extractor, [255 * rgb2gray(image) for image in images], images)


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("transform_sqrt", [False, True])
@pytest.mark.parametrize("orientations", [1, 7, 8, 12, 18])
def test_any_number_of_orientations_equals_skimage(
    images: list[Pixels], orientations: int, transform_sqrt: bool, color: bool
) -> None:
    extractor = HOG(orientations=orientations, transform_sqrt=transform_sqrt, color=color)
    arrays = images if color else [gray(image) for image in images]
    assert_equals_skimage(extractor, arrays, images)


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize(
    ("size", "cell_px", "block_cells"),
    [((70, 101), 8, 3), ((64, 50), 5, 2), ((33, 20), 7, 1), ((2, 2), 1, 2), ((9, 40), 9, 1)],
)
def test_any_size_equals_skimage(
    photos: list[str], size: tuple[int, int], cell_px: int, block_cells: int, color: bool
) -> None:
    images = [resize(decode(path), size) for path in photos]
    extractor = HOG(size, cell_px=cell_px, block_cells=block_cells, color=color)
    arrays = images if color else [gray(image) for image in images]
    assert_equals_skimage(extractor, arrays, images)


@pytest.mark.parametrize("color", [False, True])
def test_gray_arrays_equal_skimage_on_the_same_array(images: list[Pixels], color: bool) -> None:
    arrays = [np.rint(gray(image)).astype(np.uint8) for image in images]
    extractor = HOG(orientations=8, color=color)
    expected = np.stack([by_skimage(array, extractor) for array in arrays])
    np.testing.assert_allclose(extractor.transform(arrays), expected, rtol=0, atol=1e-5)


def test_an_upright_edge_votes_for_level_gradients_only() -> None:
    image = np.zeros((16, 16), np.uint8)
    image[:, 8:] = 255
    rows = HOG(16, block_cells=1).transform(image[None]).reshape(4, 9)
    assert (rows[:, 0] > 0.99).all()
    assert (rows[:, 1:] == 0).all()


def test_a_flat_image_has_zeros() -> None:
    assert not HOG(32).transform(np.full((1, 32, 32), 90, np.uint8)).any()


def test_contrast_does_not_matter(images: list[Pixels]) -> None:
    halves = [image // 2 for image in images]
    doubles = [half * 2 for half in halves]
    extractor = HOG(block_norm="L2")
    np.testing.assert_allclose(
        extractor.transform(halves), extractor.transform(doubles), rtol=0, atol=1e-3
    )


def test_names_say_where_each_column_stands() -> None:
    extractor = HOG((16, 24), orientations=2)
    names = list(extractor.get_feature_names_out())
    assert len(names) == extractor.n_features() == 16
    assert names[0] == "block0_0_cell0_0_bin0"
    assert names[-1] == "block0_1_cell1_1_bin1"


def test_a_size_without_room_for_a_block_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match="HOG needs images of at least 16x16 px") as caught:
        HOG((12, 40)).transform(np.zeros((1, 12, 40), np.uint8))
    assert "cell_px=8, block_cells=2; got image_size=12x40" in str(caught.value)


@pytest.mark.parametrize(
    "parameters",
    [
        {"image_size": 0},
        {"image_size": (8, 8, 3)},
        {"image_size": (8.5, 8)},
        {"cell_px": 0},
        {"orientations": 256},
        {"block_norm": "L3"},
    ],
)
def test_wrong_parameters_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(parameters))):
        HOG(**parameters).fit(np.zeros((1, 128, 128), np.uint8))


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        HOG().transform([str(path)])


def test_importing_the_module_imports_no_numba() -> None:
    code = "import sys, featx.extractors.hog; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
