from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from featx import (
    advise,
    compare,
    depth_profile,
    extract,
    finetune,
    load_dataset,
    probe,
    transfer,
)
from featx.analysis.image_map import map_images
from featx.analysis.kernels_and_activations import find_activating_images
from featx.data.datasets import ImageDataset
from featx.data.images import Images
from featx.demo import tell_story
from featx.engine.session import _open_data, open_session
from featx.errors import DatasetError, SpecError
from featx.extractors.color import MeanColor
from featx.finetuning.autoencoder import pretrain
from featx.store.feature_store import FeatureStore
from featx.streaming.progress import ProgressCallback

SPEC = "cnn:featxnet:pool1,pooling=gap"
N_LARGE = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two domains of two classes: eight small images each, and a large one."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for name in ("a/cat", "a/dog", "b/cat", "b/dog"):
        (root / name).mkdir(parents=True)
        for i, side in enumerate([16] * 8 + [40]):
            pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


RUNS: dict[str, Callable[..., Any]] = {
    "extract": lambda data, **known: extract(data, "mean_color", **known),
    "compare": lambda data, **known: compare(data, SPEC, n_splits=2, **known),
    "probe": lambda data, **known: probe(data, SPEC, n_splits=2, **known),
    "transfer": lambda data, **known: transfer(data, SPEC, seeds=2, **known),
    "depth": lambda data, **known: depth_profile(data, layers="pool1", maps="none", **known),
    "umap": lambda data, **known: map_images(data, SPEC, method="pca", **known),
    "filters": lambda data, **known: find_activating_images(
        data, layer="pool1", channels=[1], **known
    )[0],
    "advise": lambda data, **known: advise(data, size=32, **known),
    "finetune": lambda data, **known: finetune(data, size=32, head_epochs=1, **known),
}


def test_groups_of_open_images_come_from_a_pattern() -> None:
    digits = load_dataset("digits").take([0, 1, 100])

    assert open_session(digits, groups=r"re:/(\d\d)").dataset.groups.tolist() == ["00", "00", "01"]
    with pytest.raises(SpecError, match="open already; give re:PATTERN"):
        open_session(digits, groups="patient")


class Notes(ProgressCallback):
    """Remembers notes."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


@pytest.mark.parametrize("name", ["extract", "probe", "transfer", "depth", "filters"])
def test_every_function_says_once_what_it_understood(name: str, folder: Path) -> None:
    notes = Notes()
    RUNS[name](folder, domains=True, store=None, progress=notes)
    said = [text for text in notes.texts if "classes (" in text]
    assert said == [f"{folder}: 2 classes (cat, dog), 36 images, 2 domains (a, b)"]


@pytest.mark.parametrize("name", RUNS)
def test_every_function_takes_splits(name: str, folder: Path) -> None:
    with pytest.raises(DatasetError, match="splits must be one of auto, none"):
        RUNS[name](folder, splits="no", store=None)


def test_nothing_is_said_of_images_that_are_open(folder: Path) -> None:
    notes = Notes()
    open_session(load_dataset(folder), progress=notes)
    open_session([np.zeros((4, 4), np.uint8)], progress=notes)
    assert notes.texts == []


def test_files_left_out_are_counted_in_json_and_provenance(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "data")
    (tmp_path / "data/a/notes.txt").touch()
    result = probe(tmp_path / "data", "mean_color", n_splits=2, store=None)
    assert result.to_dict()["n_ignored"] == result.provenance["n_ignored"] == 1


@pytest.mark.parametrize("name", RUNS)
def test_images_over_max_pixels_are_failures_of_every_function(name: str, folder: Path) -> None:
    result = RUNS[name](folder, domains=True, max_pixels=1000, store=None)
    assert len(result.failures) == N_LARGE
    assert "40x40 px is over max_pixels=1000" in result.failures[0][1]


def test_demo_opens_its_images_with_max_pixels(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(whole: ImageDataset, *_: Any) -> None:
        raise RuntimeError(f"opened with {whole.images.max_pixels}")

    monkeypatch.setattr("featx.demo._sample", stop)  # The whole demo takes minutes.
    with pytest.raises(RuntimeError, match="opened with 1000"):
        tell_story(folder, max_pixels=1000, store=None)


def test_max_pixels_is_the_limit_of_images_that_are_open(folder: Path) -> None:
    opened = load_dataset(folder, max_pixels=10)
    assert _open_data(opened).images.max_pixels == 10
    limited = _open_data(opened, max_pixels=1000)
    assert limited.images.max_pixels == 1000
    assert (limited.names, limited.labels.tolist()) == (opened.names, opened.labels.tolist())
    assert _open_data(opened.images, max_pixels=1000).images.pixels(0).shape == (16, 16, 3)


def test_value_range_and_image_shape_act_on_arrays_given_to_extract() -> None:
    rows = np.array([[0, 4095, 4095, 4095]], np.uint16)
    reading = {"image_shape": (2, 2), "value_range": (0, 4095)}
    features = extract(rows, "pixels,image_size=2", store=None, **reading)
    white = extract([np.uint8([[0, 255], [255, 255]])], "pixels,image_size=2", store=None)
    np.testing.assert_array_equal(features.X, white.X)


def test_open_images_keep_their_value_range() -> None:
    images = Images(np.array([[[0, 4095]]]), value_range=(0, 4095), names=["scan"])
    dataset = _open_data(images, max_pixels=1000)
    assert dataset.names == ["scan"]
    assert dataset.images.pixels(0)[0, :, 0].tolist() == [0, 255]


def test_a_shape_of_arrays_is_refused_where_there_are_none(folder: Path) -> None:
    with pytest.raises(SpecError, match="image_shape says how arrays are read as images; images"):
        compare(folder, "hog", image_shape=(8, 8))
    with pytest.raises(SpecError, match=r"open already: give it to featx\.Images"):
        _open_data(load_dataset(folder), image_shape=(8, 8))


def test_a_value_range_acts_on_files_and_on_what_is_open(folder: Path) -> None:
    for data in (folder, load_dataset(folder)):
        images = _open_data(data, value_range=(0, 510)).images
        half = _open_data(data).images.pixels(0).astype(np.float32) / 2
        np.testing.assert_allclose(images.pixels(0), half, rtol=1e-6)


def test_names_may_come_from_an_iterator(folder: Path) -> None:
    assert len(open_session(folder.glob("*/cat")).dataset) == 18


@pytest.mark.parametrize("data", [[], np.empty((0, 4, 4)), Images([])])
def test_no_images_are_refused(data: Any) -> None:
    with pytest.raises(DatasetError, match=r"No data given|expected at least one image, got none"):
        _open_data(data)


def test_what_does_not_say_how_images_are_read_is_left_to_the_extractors() -> None:
    session = open_session("digits", store="default", max_pixels=9, n_jobs=2)
    assert session.parameters == {"n_jobs": 2}
    assert session.store == FeatureStore()


def test_autoencoder_learns_from_images_in_memory() -> None:
    pixels = np.zeros((24, 28, 28), np.uint8)
    assert pretrain(pixels, epochs=1, n_shown=2).grid.shape[2] == 3


@pytest.fixture
def unusable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own store cannot be opened: a file has its name."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("FEATX_STORE", str(tmp_path / "file"))


@pytest.mark.usefixtures("unusable")
@pytest.mark.parametrize("name", RUNS)
def test_functions_without_a_store_open_none(name: str, folder: Path) -> None:
    assert RUNS[name](folder, domains=True, store=None).failures == []


@pytest.mark.usefixtures("unusable")
@pytest.mark.parametrize("name", RUNS)
def test_functions_with_a_store_open_no_other(name: str, folder: Path, tmp_path: Path) -> None:
    RUNS[name](folder, domains=True, store=tmp_path / "own")
    assert FeatureStore(tmp_path / "own").info().n_rows >= 36


def test_estimator_that_says_how_images_are_read_is_refused(folder: Path) -> None:
    with pytest.raises(SpecError, match="MeanColor: max_pixels describes the images"):
        extract(folder, MeanColor(max_pixels=1000), store=None)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Twelve bits in sixteen; those to test on are darker."""
    rng = np.random.default_rng(0)
    for split, white in (("train", 4096), ("test", 1000)):
        for label in ("a", "b"):
            (tmp_path / split / label).mkdir(parents=True)
            for i in range(3):
                values = rng.integers(0, white, (16, 16)).astype(np.uint16)
                Image.fromarray(values).save(tmp_path / split / label / f"{i}.png")
    return tmp_path


def test_percentiles_are_measured_on_the_training_images_and_said(scans: Path) -> None:
    notes: list[str] = []
    progress = type("Listener", (ProgressCallback,), {"note": lambda _, text: notes.append(text)})()
    features = extract(scans, "pixels", value_range="p1,p99", store=None, progress=progress)
    dataset = load_dataset(scans)
    train = dataset.images.take(dataset.split("train").tolist())
    values = np.concatenate([train.stored(i).values.ravel() for i in range(len(train))])
    low, high = np.percentile(values, [1, 99], method="inverted_cdf")
    reading = features.provenance["reading"]
    assert reading["value_range"] == [low, high]
    assert reading["measured"] == "p1,p99 of 6 images of the train split"
    assert notes[1] == f"value range {reading['measured']}: {low:g} to {high:g}"


@pytest.mark.filterwarnings("ignore::featx.errors.ValueRangeWarning")
def test_the_range_is_part_of_the_fingerprint(scans: Path) -> None:
    prints = {
        extract(scans, "mean_color", store=None, **given).provenance["extractors"][0]["fingerprint"]
        for given in ({"value_range": "dtype"}, {"window": (1, 2)}, {"value_range": (0, 3)}, {})
    }
    assert len(prints) == 4


def test_saved_extractors_read_as_they_learned(scans: Path, tmp_path: Path) -> None:
    file = tmp_path / "words.skops"
    spec = "bovw:dense_sift,n_words=2,image_size=64"
    given = {"value_range": (0, 4095), "store": None}
    rows = extract(scans, spec, save_extractor=file, **given).X
    np.testing.assert_array_equal(extract(scans, str(file), **given).X, rows)
    with pytest.raises(SpecError, match=r"value_range=.*--value-range.*so that these images"):
        extract(scans, str(file), value_range=(0, 100), store=None)


def test_all_bands_go_to_a_network_and_three_to_others(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (4, 24, 24, 5)).astype(np.uint16)
    labels = np.array(["a", "b"] * 2)
    dataset = ImageDataset(Images(values), [str(i) for i in range(4)], labels=labels)
    bands = {"bands": (1, 2, 3, 4, 5), "store": None}
    found = extract(dataset, SPEC, **bands)
    assert found.X.shape == (4, 32)
    assert not found.failures
    with pytest.raises(DatasetError, match="5 bands; expected 3"):
        extract(dataset, "color", **bands)
    assert extract(dataset, "color", bands="each", store=None).X.shape == (4, 5 * 96)
    result = compare(dataset, SPEC, n_splits=2, **bands)
    assert {row["spec"] for row in result.rows} >= {SPEC, "shuffled labels"}
