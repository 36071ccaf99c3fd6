from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import (
    check_fit_check_is_fitted,
    check_fit_idempotent,
    check_n_features_in,
    parametrize_with_checks,
)

from featx.data.images import Images
from featx.errors import ImageError
from featx.extractors.base import Extractor, reading_of
from featx.extractors.bovw.bag_of_visual_words import BagOfVisualWords
from featx.extractors.cnn import CNNFeatures
from featx.extractors.color import ColorHistogram, HSVHistogram, MeanColor
from featx.extractors.gabor import Gabor
from featx.extractors.gist import Gist
from featx.extractors.hog import HOG
from featx.extractors.phog import PHOG
from featx.extractors.pixels import RawPixels
from featx.extractors.texture import GLCM, LBP
from featx.store.feature_store import FeatureStore

ALL_WHITE = (
    "its images have values around 100, which are all white in the value range that lets the "
    "other checks' images have descriptors; test_bags_keep_the_checks_around_100 runs it"
)
EXEMPTIONS: dict[type[Extractor], dict[str, str]] = {
    BagOfVisualWords: {
        "check_fit_idempotent": ALL_WHITE,
        "check_fit_check_is_fitted": ALL_WHITE,
        "check_n_features_in": ALL_WHITE,
        "check_fit2d_1feature": "images of one pixel have no descriptors to learn words from",
    }
}
"""Checks of scikit-learn that an extractor need not pass -> why."""

EXTRACTORS = [
    RawPixels(8),
    MeanColor(),
    ColorHistogram(8),
    HOG(16),
    LBP(16),
    GLCM(16),
    Gabor(16),
    Gist(16),
    HSVHistogram(),
    PHOG(16, levels=1),
    BagOfVisualWords("dense_sift", n_words=2, patch_px=(8,), value_range=(-3, 3)),
    CNNFeatures("squeezenet1_1", "pool1", weights="random", size=32, pooling="gap"),
]


def exempt(extractor: Any) -> dict[str, str]:
    return EXEMPTIONS.get(type(extractor), {})


@pytest.mark.filterwarnings("ignore::featx.errors.ValueRangeWarning")
@parametrize_with_checks(EXTRACTORS, expected_failed_checks=exempt)
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize(
    "check", [check_fit_idempotent, check_fit_check_is_fitted, check_n_features_in]
)
def test_bags_keep_the_checks_around_100(check: Any) -> None:
    bag = BagOfVisualWords("dense_sift", n_words=2, patch_px=(8,), value_range=(97, 103))
    check("BagOfVisualWords", bag)


@pytest.fixture(scope="module")
def digits() -> tuple[Any, Any]:
    X, y = load_digits(return_X_y=True)
    return X[:200], y[:200]


def small_hog(**parameters: Any) -> HOG:
    return HOG(16, cell_px=4, image_shape=(8, 8), value_range=(0, 16), **parameters)


def test_set_output_gives_named_columns(digits: Any) -> None:
    extractor = ColorHistogram(2, image_shape=(8, 8), value_range=(0, 16))
    table = extractor.set_output(transform="pandas").fit_transform(digits[0])
    assert isinstance(table, pd.DataFrame)
    assert list(table.columns) == list(extractor.get_feature_names_out())


def test_a_frame_of_digits_gives_the_rows_of_its_array(digits: Any) -> None:
    frame = pd.DataFrame(digits[0], columns=[f"pixel{i}" for i in range(64)])
    extractor = small_hog().fit(frame)
    assert extractor.n_features_in_ == 64
    assert (extractor.transform(frame) == small_hog().fit_transform(digits[0])).all()


def test_lists_of_lists_give_the_rows_of_their_array(digits: Any) -> None:
    rows = small_hog().fit_transform(digits[0].tolist())
    assert (rows == small_hog().fit_transform(digits[0])).all()


def test_another_width_than_in_fit_is_refused(digits: Any) -> None:
    extractor = MeanColor().fit(digits[0])
    with pytest.raises(ValueError, match="features"):
        extractor.transform(digits[0][:, :60])


def test_images_after_rows_are_taken(digits: Any) -> None:
    extractor = MeanColor().fit(digits[0])
    extractor.fit(np.zeros((2, 4, 4), np.uint8))
    assert not hasattr(extractor, "n_features_in_")


def test_rows_that_do_not_fit_the_shape_are_refused(digits: Any) -> None:
    with pytest.raises(ValueError, match="image_shape"):
        MeanColor(image_shape=(8, 9)).fit_transform(digits[0])


@pytest.mark.parametrize("copy", [clone, lambda extractor: pickle.loads(pickle.dumps(extractor))])
@pytest.mark.parametrize("extractor", EXTRACTORS, ids=lambda extractor: type(extractor).__name__)
def test_copies_have_the_same_parameters(extractor: Any, copy: Any) -> None:
    assert repr(copy(extractor).get_params()) == repr(extractor.get_params())


def test_a_grid_searches_over_a_parameter(digits: Any) -> None:
    pipeline = make_pipeline(small_hog(), LogisticRegression(max_iter=1000))
    search = GridSearchCV(pipeline, {"hog__orientations": [1, 8]}, cv=3).fit(*digits)
    assert search.best_params_ == {"hog__orientations": 8}


def test_a_pipeline_is_cross_validated(digits: Any) -> None:
    pipeline = make_pipeline(small_hog(), LogisticRegression(max_iter=1000))
    assert cross_val_score(pipeline, *digits, cv=4).mean() > 0.8


def test_a_pipeline_takes_paths(photos: list[str]) -> None:
    pipeline = make_pipeline(HOG(32), LogisticRegression(max_iter=1000))
    labels = [0] * 6 + [1] * 6
    assert pipeline.fit(photos, labels).score(photos, labels) == 1


@pytest.fixture
def images(tmp_path: Path) -> list[Any]:
    """An image, a broken one and a missing one."""
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    return [np.full((8, 8, 3), 9, np.uint8), broken, tmp_path / "missing.png"]


@pytest.mark.parametrize("method", ["transform", "fit_transform"])
def test_a_broken_image_is_named(images: list[Any], method: str) -> None:
    with pytest.raises(ImageError, match=r"broken\.png") as caught:
        getattr(MeanColor(), method)(images)
    assert caught.value.name == str(images[1])


def test_broken_images_become_rows_of_nan_on_request(images: list[Any]) -> None:
    rows = MeanColor(on_error="nan").fit_transform(images)
    assert rows[0].tolist() == [9, 9, 9]
    assert np.isnan(rows[1:]).all()


def test_fit_learns_from_the_images_that_can_be_read(images: list[Any], photos: list[str]) -> None:
    bag = BagOfVisualWords("orb", n_words=8, on_error="nan")
    rows = bag.fit_transform([*photos[:3], images[1]])
    assert np.isnan(rows[3]).all()
    assert (rows[:3] == clone(bag).fit_transform(photos[:3])).all()


@pytest.mark.parametrize(
    "parameters",
    [{"on_error": "ignore"}, {"n_jobs": "two"}, {"max_pixels": 0}, {"store": 3}, {"n_bins": 0}],
)
def test_wrong_parameters_are_refused_without_fit_too(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(parameters))):
        ColorHistogram(**parameters).transform(np.zeros((1, 2, 2), np.uint8))


def test_one_image_alone_is_refused_with_the_cure() -> None:
    with pytest.raises(ValueError, match="put it in a list"):
        MeanColor().transform("photo.jpg")


def test_a_class_without_any_way_to_extract_says_so() -> None:
    with pytest.raises(NotImplementedError):
        Extractor().transform(np.zeros((1, 2, 2), np.uint8))


def columns_of(paths: list[str]) -> dict[str, Any]:
    frame = pd.DataFrame({"path": paths})
    return {
        "frame": frame,
        "texts": np.array(paths)[:, None],
        "objects": np.array(paths, object)[:, None],
        "column of a transformer": frame[["path"]],
    }


@pytest.mark.parametrize("kind", columns_of([]))
def test_one_column_of_paths_is_images(photos: list[str], kind: str) -> None:
    expected = MeanColor().fit_transform(photos)

    assert np.array_equal(MeanColor().fit_transform(columns_of(photos)[kind]), expected)


def test_a_column_transformer_puts_features_beside_numbers(photos: list[str]) -> None:
    frame = pd.DataFrame({"path": photos, "weight": np.arange(len(photos), dtype=float)})
    both = ColumnTransformer([("color", MeanColor(), ["path"]), ("own", "passthrough", ["weight"])])

    rows = both.fit_transform(frame)

    assert np.array_equal(rows[:, :3], MeanColor().fit_transform(photos))
    assert np.array_equal(rows[:, 3], frame["weight"])


def test_several_columns_with_paths_are_refused_by_name(photos: list[str]) -> None:
    frame = pd.DataFrame({"path": photos, "label": "a"})
    with pytest.raises(ValueError, match="one column of paths or images; got 2: path, label"):
        MeanColor().fit_transform(frame)


DEEP = [
    RawPixels(8),
    MeanColor(),
    ColorHistogram(8),
    HOG(32),
    HOG(32, color=False, transform_sqrt=True),
    CNNFeatures("squeezenet1_1", "pool1", weights="random", size=32, pooling="gap"),
]


@pytest.mark.parametrize("extractor", DEEP)
def test_an_image_in_16_bits_has_the_rows_of_the_same_in_8(extractor: Any) -> None:
    shallow = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    deep = shallow.astype(np.uint16) * 257
    expected = extractor.fit_transform(list(shallow))
    rows = extractor.fit_transform(list(deep))
    assert np.linalg.norm(rows - expected) < 0.02 * np.linalg.norm(expected)


@pytest.mark.parametrize("extractor", [*DEEP[:4], DEEP[-1]])
def test_what_eight_bits_would_round_away_is_seen(extractor: Any) -> None:
    low = np.random.default_rng(0).integers(0, 60, (1, 32, 32)).astype(np.uint16)
    images = np.concatenate([low, low[:, ::-1, ::-1]]) + 1000  # One gray level of 8 bits.
    rows = extractor.fit_transform(Images(images, value_range="dtype"))
    flat = extractor.fit_transform(np.full((2, 32, 32), 4, np.uint8))
    is_histogram = isinstance(extractor, ColorHistogram)  # Its bins are wider than that.
    assert np.allclose(rows, flat) == is_histogram


@pytest.fixture
def scans(tmp_path: Path) -> list[str]:
    """Scans of 12 bits in files of 16."""
    values = np.random.default_rng(0).integers(0, 4096, (4, 20, 20)).astype(np.uint16)
    paths = [str(tmp_path / f"{index}.png") for index in range(4)]
    for path, scan in zip(paths, values):
        Image.fromarray(scan).save(path)
    return paths


def test_a_range_is_honoured_for_files_as_for_arrays(scans: list[str]) -> None:
    arrays = [np.asarray(Image.open(path)) for path in scans]
    for parameters in ({"value_range": (0, 4095)}, {"window": (2047.5, 4095)}):
        rows = RawPixels(8, **parameters).transform(scans)
        np.testing.assert_array_equal(rows, RawPixels(8, **parameters).transform(arrays))
        assert rows.max() > 0.5


def test_percentiles_are_those_of_the_images_that_fit_gets(scans: list[str]) -> None:
    extractor = RawPixels(8, value_range="p1,p99")
    with pytest.raises(NotFittedError):
        extractor.transform(scans)
    extractor.fit(scans[:2])
    low, high = extractor.value_range_
    wanted = RawPixels(8, value_range=(low, high)).transform(scans)
    np.testing.assert_array_equal(extractor.transform(scans), wanted)
    assert clone(extractor).fit(scans[2:]).value_range_ != (low, high)


def test_every_band_goes_through_as_a_gray_image(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (3, 20, 20, 5)).astype(np.uint16)
    extractor = HOG(16, bands="each").set_output(transform="pandas")
    rows = extractor.fit_transform(values)
    alone = [HOG(16).transform(values[..., band]) for band in range(5)]
    np.testing.assert_array_equal(rows.to_numpy(), np.concatenate(alone, axis=1))
    assert rows.columns[0].startswith("band1_")
    assert rows.columns[-1].startswith("band5_")
    with pytest.raises(ValueError, match="Expected images of 5 bands; got 4"):
        extractor.transform(values[..., :4])


def test_bands_of_several_layers_stand_by_layer(store: FeatureStore) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (2, 32, 32, 2)).astype(np.uint16)
    common = {"model": "squeezenet1_1", "weights": "random", "size": 32, "pooling": "gap"}
    network = CNNFeatures(layer=["pool1", "pool3"], bands="each", store=store, **common)
    names = network.fit(values).get_feature_names_out()
    rows = network.transform(values)
    band = [CNNFeatures(layer="pool3", **common).transform(values[..., b]) for b in range(2)]
    at = [list(names).index(f"band{b + 1}_pool3_0") for b in range(2)]
    for start, wanted in zip(at, band):
        np.testing.assert_allclose(
            rows[:, start : start + wanted.shape[1]], wanted, rtol=1e-3, atol=1e-5
        )


def test_a_codebook_is_learned_from_every_band(store: FeatureStore) -> None:
    values = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 2), dtype=np.uint8)
    bag = BagOfVisualWords("dense_sift", n_words=3, patch_px=(16,), bands="each", store=store)
    grays = [image[..., band] for band in range(2) for image in values]
    both = BagOfVisualWords("dense_sift", n_words=3, patch_px=(16,)).fit(grays)
    rows = bag.fit_transform(values)
    np.testing.assert_allclose(bag.codebook_, both.codebook_)
    np.testing.assert_allclose(
        rows, np.hstack([both.transform(grays[:3]), both.transform(grays[3:])])
    )


def test_the_range_of_a_fitted_extractor_is_known() -> None:
    assert reading_of(HOG(window=(1, 2), pages="max")) == {"window": (1, 2), "pages": "max"}
    fitted = RawPixels(2, value_range="p0,p100").fit(np.array([[[0, 7]]]))
    assert reading_of(fitted) == {"value_range": (0, 7)}
