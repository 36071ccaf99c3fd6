from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.engine.persistence import save_extractor
from featx.engine.specs import make_extractor, parse_spec, spec_of
from featx.errors import SpecError
from featx.extractors.bovw.bag_of_visual_words import BagOfVisualWords
from featx.extractors.cnn import CNNFeatures
from featx.extractors.hog import HOG


def test_spec_gives_parameters_their_types() -> None:
    hog = make_extractor("hog,cell_px=16,transform_sqrt=true,block_norm=L1,image_size=64x96")
    assert (hog.cell_px, hog.transform_sqrt, hog.block_norm) == (16, True, "L1")
    assert hog.image_size == (64, 96)


def test_quoted_parts_keep_colons_and_commas() -> None:
    name, indices, named = parse_spec("cnn:\"C:/nets/a,b\":fc7,weights='x=1,y.pth'")
    assert (name, indices) == ("cnn", ["C:/nets/a,b", "fc7"])
    assert named == {"weights": "x=1,y.pth"}


def test_text_parameters_stay_text() -> None:
    assert make_extractor("cnn:alexnet:-1").layer == "-1"


@pytest.mark.parametrize(
    "spec", ["color", "color:8", "hog,cell_px=16", "bovw:sift,encoding=vlad,n_words=20"]
)
def test_spec_of_is_the_inverse_of_make_extractor(spec: str) -> None:
    assert spec_of(make_extractor(spec)) == spec


def test_spec_of_quotes_what_needs_it() -> None:
    spec = spec_of(CNNFeatures("C:/nets/mine", "fc7", weights="a,b.pth"))
    assert parse_spec(spec) == ("cnn", ["C:/nets/mine", "fc7"], {"weights": "a,b.pth"})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("hgo", "Did you mean 'hog'"),
        ("hog,cel_px=3", "Did you mean 'cell_px'"),
        ("hog,cell_px", "where key=value is expected"),
        ("hog:1:2", "arguments by position"),
        ("color,n_bins=0", "must be an int in the range"),
        ('cnn:"a', "not closed"),
        ("hog,max_pixels=1000", "max_pixels describes the images.*Give it to extract"),
        ("color,image_shape=8x8", "or in Python to the estimator"),
        ("cnn:alexnet,value_range=0x9", "would change nothing here"),
        ("", "names no extractor"),
    ],
)
def test_wrong_spec_names_the_cure(spec: str, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        make_extractor(spec)
    assert "\n" not in str(caught.value)


def test_estimator_keeps_what_says_how_images_are_read() -> None:
    assert make_extractor("color", max_pixels=9).max_pixels == 9


def test_more_parameters_reach_only_those_that_have_them() -> None:
    assert make_extractor("color", n_jobs=2, pooling="gap").n_jobs == 2


@pytest.mark.parametrize(
    "extractor",
    [
        CNNFeatures("alexnet", mean=(0.485, 0.456, 0.406), std=(1.0, 2e-3, 1)),
        CNNFeatures("featxnet", "fc7", size=64, crop=(48, 32), reproducible=True),
        HOG(image_size=(64, 96), block_norm="L1"),
    ],
)
def test_make_extractor_is_the_inverse_of_spec_of(extractor: Any) -> None:
    assert make_extractor(spec_of(extractor)).get_params() == extractor.get_params()


def test_empty_positional_arguments_keep_their_defaults() -> None:
    extractor = make_extractor("cnn::fc7")
    assert (extractor.model, extractor.layer) == (CNNFeatures().model, "fc7")


def test_what_says_nothing_of_the_values_is_in_no_spec() -> None:
    extractor = CNNFeatures(n_jobs=2, batch_size=3, device="cpu", store="x", max_pixels=9)
    assert spec_of(extractor) == "cnn"


def test_parameters_win_over_the_spec() -> None:
    assert make_extractor("color:8", n_bins=4).n_bins == 4


def test_a_file_stands_for_its_fitted_extractor(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
    fitted = BagOfVisualWords("dense_sift", n_words=3).fit(images)
    path = save_extractor(fitted, tmp_path / "a,b:c.skops")
    loaded = make_extractor(str(path), n_jobs=2, pooling="gap")
    assert loaded.fingerprint() == fitted.fingerprint()
    assert loaded.n_jobs == 2


@pytest.mark.parametrize(
    "spec", ["hsv,n_bins=12x4x4", "gabor,frequencies=0.1x0.2", "lbp,radii=1x3"]
)
def test_several_numbers_are_joined_by_x(spec: str) -> None:
    assert spec_of(make_extractor(spec)) == spec


def test_how_several_numbers_are_written_is_shown() -> None:
    with pytest.raises(SpecError, match=r"Several numbers are joined by x, as in 8x3x3\."):
        make_extractor("hsv,n_bins='8,3,3'")
