from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from featx import load_dataset
from featx.analysis.depth import depth_profile
from featx.data.datasets import ImageDataset
from featx.errors import DatasetError, LayerError, SpecError
from featx.evaluation.protocols import Protocol
from featx.features.results import Result
from featx.store.feature_store import FeatureStore


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return load_dataset("digits").take(range(150))


@pytest.fixture(scope="module")
def profile(digits: ImageDataset) -> Result:
    layers = ["fc7", "pool1", "pool5"]
    return depth_profile(digits, layers=layers, store=None, method="pca", n_jobs=1)


def test_a_row_for_each_layer_in_order_of_execution(profile: Result) -> None:
    assert [row["layer"] for row in profile.rows] == ["pool1", "pool5", "fc7"]
    assert [row["index"] for row in profile.rows] == sorted(row["index"] for row in profile.rows)
    assert profile.rows[0]["spec"] == "cnn:featxnet:pool1,pooling=gap"


def test_every_number_has_its_name(profile: Result) -> None:
    measures = {"accuracy", "purity", "silhouette"}
    controls = {f"{name}_{control}" for name in measures for control in ("shuffled", "random")}
    controls |= {"nmi_shuffled", "ari_random", "intrinsic_dimension_random"}
    rest = {"low", "high", "purity_low", "purity_high", "nmi", "ari", "intrinsic_dimension"}
    for row in profile.rows:
        assert measures | controls | rest | {"n_features"} <= set(row)
        assert row["low"] <= row["accuracy"] <= row["high"]


def test_shuffled_labels_are_at_chance(profile: Result) -> None:
    for row in profile.rows:
        assert row["accuracy_shuffled"] < 0.25
        assert row["purity_shuffled"] < 0.2 < row["purity"]


def test_maps_cka_and_points_are_of_the_same_images(profile: Result) -> None:
    details = profile.details
    assert [item["layer"] for item in details["maps"]] == ["pool1", "pool5", "fc7"]
    assert {len(item["coordinates"]) for item in details["maps"]} == {150}
    assert len(details["points"]["labels"]) == len(details["points"]["paths"]) == 150
    assert np.diag(details["cka"]["matrix"]) == pytest.approx([1, 1, 1], abs=1e-3)


def test_every_image_of_cross_validation_was_predicted(profile: Result) -> None:
    points = profile.details["points"]
    right = np.mean(np.array(points["predicted"]) == np.array(points["labels"]))
    assert right == pytest.approx(profile.rows[-1]["accuracy"], abs=0.01)


def test_the_profile_survives_a_file(profile: Result, tmp_path: Path) -> None:
    assert Result.load(profile.save(tmp_path)).details == profile.details


def test_sentences_say_first_and_last(profile: Result) -> None:
    text = " ".join(profile.sentences)
    for row in (profile.rows[0], profile.rows[-1]):
        assert f"{row['accuracy']:.3f} at {row['layer']}" in text
    assert "shuffled labels" in text
    assert "random weights" in text


def test_a_sample_is_measured_and_all_are_probed(
    digits: ImageDataset, profile: Result, store: FeatureStore
) -> None:
    found = depth_profile(
        digits, layers="pool1", store=store, method="pca", max_images=100, has_controls=False
    )
    assert len(found.details["points"]["paths"]) == 100
    assert found.rows[0]["accuracy"] == pytest.approx(profile.rows[0]["accuracy"])
    assert "accuracy_random" not in found.rows[0]


def test_images_without_a_class_take_no_part(digits: ImageDataset) -> None:
    some = digits.take(range(60))
    some.labels[:7] = ""  # type: ignore[index]
    found = depth_profile(some, layers="pool1", store=None, maps="none", has_controls=False)
    assert len(found.details["points"]["labels"]) == 53


def test_what_is_wrong_is_said_before_anything_is_computed(digits: ImageDataset) -> None:
    with pytest.raises(LayerError, match="pool1"):
        depth_profile(digits, layers="pol1", store=None)
    with pytest.raises(ValueError, match="layers among pool1; got 'fc7'"):
        depth_profile(digits, layers="pool1", maps="fc7", store=None)
    with pytest.raises(SpecError, match="Expected names separated by commas, got 'pool1,'"):
        depth_profile(digits, layers="pool1", maps="pool1,", store=None)
    with pytest.raises(ValueError, match="one of umap, pca, tsne; got 'mds'"):
        depth_profile(digits, layers="pool1", method="mds", store=None)
    one_class = digits.take(np.flatnonzero(digits.labels == "1"))
    with pytest.raises(DatasetError, match="2 classes or more; got 1"):
        depth_profile(one_class, store=None)


@pytest.mark.slow
def test_flowers_gather_with_depth(shared: Callable[[str], Path]) -> None:
    found = depth_profile(
        shared("data/flowers17"),
        "squeezenet1_0",
        "pool1,fire9",
        weights=shared("weights/squeezenet1_0-imagenet.pth"),
        maps="none",
        has_controls=False,
        protocol=Protocol("one split", splits="random", n_splits=1, train_per_class=20),
    )
    first, last = found.rows
    assert first["purity"] == pytest.approx(0.34, abs=0.02)
    assert last["purity"] == pytest.approx(0.79, abs=0.02)
    assert (first["silhouette"], last["silhouette"]) == pytest.approx((-0.12, 0.14), abs=0.02)
    assert last["accuracy"] - first["accuracy"] > 0.2


def test_groups_and_copies_are_told_of_every_layer() -> None:
    digits = load_dataset("digits").take([*range(60), *range(6)])
    groups = np.array([str(i) for i in range(66)])
    profile = depth_profile(
        replace(digits, groups=groups), layers="pool1,fc7", store=None, maps="none",
        class_weight="balanced",
    )  # fmt: skip
    assert profile.protocol["class_weight"] == "balanced"
    assert "of 66 test images are also among the training images" in profile.sentences[0]
    assert profile.sentences[1] == "No group is on both sides of a split (66 groups)."
