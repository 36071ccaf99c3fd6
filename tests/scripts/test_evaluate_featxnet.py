"""The measurements on the model card: protocol, and that they come out again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from featx.data.datasets import load_dataset
from featx.extractors.cnn import CNNFeatures
from featx.networks.featxnet import load_card

SAMPLES = Path(__file__).parents[2] / "data" / "samples"


@pytest.fixture
def script(load_script) -> ModuleType:
    return load_script("evaluate_featxnet")


def test_folder_without_splits_is_halved_within_each_class(script: ModuleType) -> None:
    dataset = load_dataset(SAMPLES / "photo")

    (train, test), other = script.splits(dataset, 2)

    assert set(np.unique(dataset.labels[train], return_counts=True)[1]) == {8}
    assert sorted([*train, *test]) == list(range(len(dataset)))
    assert not np.array_equal(train, other[0])


def test_purity_counts_neighbors_of_the_same_class(script: ModuleType) -> None:
    X = np.repeat(np.eye(2), 20, axis=0) + np.linspace(0, 0.1, 40)[:, None]

    assert script.purity(X, np.repeat(["a", "b"], 20)) == 1.0
    assert script.purity(X, np.tile(["a", "b"], 20)) < 0.6


def test_layers_take_the_columns_they_are_wide(script: ModuleType) -> None:
    extractor = CNNFeatures("featxnet", ["pool1", "pool5"], weights="random", pooling="gap")

    found = script.columns("net", extractor, ["pool1", "pool5"])

    assert found == {"net pool1": slice(0, 32), "net pool5": slice(32, 288)}


def test_rows_measured_again_replace_the_old_ones_in_place(script: ModuleType) -> None:
    old = [{"name": "HOG", "is_new": 0}, {"name": "teacher pool1", "is_new": 0}]
    new = [{"name": "featxnet pool5", "is_new": 1}, {"name": "HOG", "is_new": 1}]

    joined = script.merge(old, new)

    assert [row["name"] for row in joined] == ["HOG", "featxnet pool5", "teacher pool1"]
    assert [row["is_new"] for row in joined] == [1, 1, 0]


def row(name: str) -> dict[str, dict[str, float]]:
    return next(row for row in load_card()["table"] if row["name"] == name)


@pytest.mark.slow
def test_card_tells_the_accuracy_that_is_measured(
    script: ModuleType, shared: Callable[[str], Path]
) -> None:
    dataset = load_dataset(shared("data/flowers17"))
    extractor = CNNFeatures("featxnet", ["pool5"], pooling="gap")

    found = script.measure({"pool5": slice(None)}, extractor, dataset, 5)["pool5"]

    assert found[0] == pytest.approx(row("featxnet pool5")["accuracy"]["flowers17"], abs=0.01)


def best(kind: str, task: str) -> float:
    rows = [row for row in load_card()["table"] if row["name"].startswith(kind)]
    return max(row["accuracy"][task] for row in rows)


@pytest.mark.parametrize("task", ["flowers17", "ants_bees"])
def test_best_layer_comes_near_the_teacher(task: str) -> None:
    assert best("featxnet", task) >= 0.8 * best("teacher", task)


@pytest.mark.parametrize("kind", ["mean color", "raw pixels", "HOG", "SURF", "SIFT"])
def test_best_layer_beats_hand_crafted_features_on_flowers(kind: str) -> None:
    assert best("featxnet", "flowers17") >= best(kind, "flowers17") + 0.25


def test_accuracy_and_purity_rise_with_depth() -> None:
    layers = [row(f"featxnet {name}") for name in ("pool1", "pool2", "pool5")]

    for measure in ("accuracy", "purity"):
        values = [layer[measure]["flowers17"] for layer in layers]
        assert values == sorted(values)


def test_fc6_is_no_worse_than_pool5_within_the_interval() -> None:
    pool5, fc6 = row("featxnet pool5"), row("featxnet fc6")

    assert fc6["accuracy"]["flowers17"] >= (
        pool5["accuracy"]["flowers17"] - pool5["interval"]["flowers17"]
    )
