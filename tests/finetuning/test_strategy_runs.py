from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.data.datasets import load_dataset
from featx.evaluation import split_scores
from featx.evaluation.comparison import probe
from featx.finetuning.classifier import FineTunedClassifier
from featx.finetuning.experiment import finetune

SAMPLES = "data/samples/photo"
SMALL: dict[str, Any] = {"size": 32, "head_epochs": 3, "epochs": 2, "batch_size": 8, "store": None}


@pytest.fixture
def tested(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Indices of the test images, each time that something is tested on them."""
    indices: list[list[int]] = []
    predict = split_scores._predict

    def spy(model: Any, X: Any, truth: Any, test: Any) -> Any:
        indices.append(test.tolist())
        return predict(model, X, truth, test)

    monkeypatch.setattr(split_scores, "_predict", spy)
    return indices


@pytest.mark.parametrize(
    ("how", "n_splits"),
    [({}, 5), ({"n_splits": 3}, 3), ({"protocol": "random", "n_splits": 2}, 2)],
)
def test_networks_and_features_are_tested_on_the_same_images(
    tested: list[list[int]], how: dict[str, Any], n_splits: int
) -> None:
    """`finetune` used to hold out a quarter of each class, where `probe` cross-validates."""
    tuned = finetune(SAMPLES, size=32, head_epochs=1, store=None, **how)
    probed = probe(SAMPLES, "mean_color", store=None, **how)

    assert tuned.protocol == probed.protocol
    assert len(tested) == 2 * n_splits
    # Splits of one protocol may be scored side by side, in any order.
    assert sorted(tested[:n_splits]) == sorted(tested[n_splits:])


def test_folders_are_tested_as_features_are(ants_bees: Path, tested: list[list[int]]) -> None:
    how = {**SMALL, "head_epochs": 1}
    tuned, probed = finetune(ants_bees, **how), probe(ants_bees, "mean_color", store=None)

    assert tuned.protocol == probed.protocol
    assert tuned.protocol["name"] == "holdout"
    assert len(tested[0]) == 16
    assert tested[0] == tested[1]
    assert [Path(path).name for path, _ in tuned.failures] == ["broken.jpg"]


@pytest.mark.parametrize("has_val", [False, True])
def test_images_held_out_for_early_stopping_are_training_images(
    photos: list[str], monkeypatch: pytest.MonkeyPatch, has_val: bool
) -> None:
    data = load_dataset(photos).take(range(12))
    splits = np.tile(["train", "train", "val" if has_val else "train", "test"], 3)
    data = replace(data, labels=np.repeat(["a", "b"], 6), splits=splits)
    parts: list[Any] = []
    divide = FineTunedClassifier._divide

    def spy(*arguments: Any) -> Any:
        parts.append(divide(*arguments))
        return parts[-1]

    monkeypatch.setattr(FineTunedClassifier, "_divide", spy)
    finetune(data, **SMALL)

    [(train, valid)] = [[part.images.names for part in pair] for pair in parts]
    names = np.array(data.names)
    assert sorted([*train, *valid]) == sorted(names[splits != "test"])
    if has_val:
        assert sorted(valid) == sorted(names[splits == "val"])


def test_frozen_features_are_those_of_a_probe(tmp_path: Path) -> None:
    (frozen,) = finetune(SAMPLES, size=32, compare=["frozen"], store=tmp_path, n_splits=2).rows
    (row,) = probe(SAMPLES, "cnn:featxnet:-1,size=32", store=tmp_path, n_splits=2).rows

    for name in ("accuracy", "low", "high", "balanced_accuracy", "macro_f1", "log_loss", "C"):
        assert frozen[name] == row[name], name


def test_few_training_images_are_others_with_each_seed_and_tested_on_the_same(
    ants_bees: Path,
) -> None:
    how = {**SMALL, "head_epochs": 1, "train_per_class": 2, "seeds": 3}
    result = finetune(ants_bees, compare=["frozen"], **how)

    assert result.protocol["n_train"] == 4
    assert result.protocol["n_test"] == 16
    assert len(set(result.rows[0]["accuracies"])) > 1


def test_points_of_a_label_curve_stand_where_they_were_measured(ants_bees: Path) -> None:
    result = finetune(
        ants_bees, compare=["head", "frozen"], labels=[1, 2, 2, 4], train_per_class=4, **SMALL
    )

    assert [curve["n_labels"] for curve in result.details["label_curves"]] == [[1, 2, 4]] * 2
    assert "scratch_lr" not in result.protocol
    assert result.protocol["n_train"] == 8


def test_frozen_features_are_measured_on_the_images_that_networks_stop_by(
    ants_bees: Path,
) -> None:
    result = finetune(ants_bees, compare=["frozen"], seeds=3, **SMALL)

    curves = result.details["curves"]
    assert all(curve["is_level"] for curve in curves)
    assert [curve["seed"] for curve in curves] == [0, 1, 2]
    n_valid = 2 * 2  # A fifth of twelve images of each class.
    assert all(4 * curve["valid_accuracy"][0] in range(n_valid + 1) for curve in curves)
