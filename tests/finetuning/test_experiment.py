from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import nn

from featx.data.datasets import ImageDataset, load_dataset
from featx.data.images import Images
from featx.errors import (
    DatasetError,
    FeatxError,
    ModelError,
    SpecError,
)
from featx.evaluation.comparison import compare
from featx.evaluation.prediction import predict
from featx.finetuning.classifier import FineTunedClassifier, hold_out
from featx.finetuning.experiment import (
    _check_parameters,
    _scratch_notes,
    _settings,
    _unused_notes,
    finetune,
    parse_networks,
    summarize_training,
)
from featx.networks.configs import find_config
from featx.streaming.progress import ProgressCallback

SAMPLES = "data/samples/photo"
SMALL: dict[str, Any] = {"size": 32, "head_epochs": 3, "epochs": 2, "batch_size": 8, "store": None}


@pytest.mark.slow
def test_strategies_are_compared_in_one_table(ants_bees: Path) -> None:
    result = finetune(
        ants_bees, compare=["scratch", "frozen", "head", "full"], seeds=2, labels=[4], **SMALL
    )

    assert {row["spec"].split()[1] for row in result.rows} == {"scratch", "frozen", "head", "full"}
    assert all(0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1 for row in result.rows)
    assert len(result.failures) == 1
    lengths = {curve["name"]: len(curve["epoch"]) for curve in result.details["curves"]}
    assert lengths == {"scratch": 5, "frozen": 1, "head": 3, "full": 5}
    assert [row["n_seeds"] for row in result.rows] == [2] * 4
    assert len(result.details["label_curves"]) == 8
    gains = {(row["name"], row["gain"]) for row in result.details["gains"]}
    assert gains == {(n, g) for n in ("head", "full") for g in ("start", "slope", "asymptote")} | {
        ("frozen", "start"),
        ("frozen", "asymptote"),
    }
    assert all(0 <= row["balanced_low"] <= row["balanced_high"] <= 1 for row in result.rows)
    matrix = np.array(result.details["confusion"]["featxnet head"]["matrix"])
    assert matrix.sum() == 2 * 16


def test_network_is_saved_and_its_freeze_check_reported(ants_bees: Path, tmp_path: Path) -> None:
    result = finetune(ants_bees, output=tmp_path / "mine", train="fc7", **SMALL)

    card = json.loads((tmp_path / "mine" / "model.json").read_text())
    assert card["weights"]["digest"] == find_config("featxnet").weights.digest
    assert card["provenance"]["result"]["accuracy"] == result.rows[0]["accuracy"]
    assert "2 new (fc8.weight, fc8.bias)" in " ".join(result.sentences)
    assert sum("bit for bit" in sentence for sentence in result.sentences) == 2
    assert result.details["tensors"]["new"] == {
        "fc8.weight": "the new head",
        "fc8.bias": "the new head",
    }


def test_own_source_network_is_fine_tuned_on_the_target(
    shared: Callable[[str], Path], tmp_path: Path
) -> None:
    data = load_dataset(shared("data/pacs_mini"), domains=True)
    assert data.labels is not None
    assert data.domains is not None
    is_chosen = np.isin(data.labels, ["dog", "house"])
    photo, cartoon = (
        data.take(np.flatnonzero(is_chosen & (data.domains == name)))
        for name in ("photo", "cartoon")
    )
    source = {**SMALL, "weights": "random", "train": "all"}
    finetune(photo, output=tmp_path / "photo", **source)

    result = finetune(cartoon, str(tmp_path / "photo"), output=tmp_path / "cartoon", **SMALL)

    assert len(result.rows) == 1
    assert (tmp_path / "cartoon" / "weights.safetensors").is_file()


def test_unknown_parameters_and_strategies_are_refused(ants_bees: Path) -> None:
    with pytest.raises(SpecError, match="no parameter 'epoch'"):
        finetune(ants_bees, epoch=1, store=None)
    with pytest.raises(SpecError, match="Strategy 'none'"):
        finetune(ants_bees, compare=["none"], **SMALL)


def test_summary_counts_what_each_stage_trains(photos: list[str]) -> None:
    head, tune = summarize_training(photos, train="all", size=32, epochs=7)
    counts = [{row["layer"]: row["parameters"] for row in s.rows[-3:]} for s in (head, tune)]
    assert (head.name, tune.name, tune.n_epochs) == ("head", "tune", 7)
    assert 0 < counts[0]["trainable"] < counts[0]["total"] == counts[1]["trainable"]


def test_summary_refuses_wrong_parameters_before_any_image_is_read() -> None:
    with pytest.raises(SpecError, match="'optimizer' parameter"):
        summarize_training("no/such/folder", optimizer="foo", compare=["head"])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"optimizer": "foo"}, "'optimizer' parameter of FineTunedClassifier must be"),
        ({"schedule": "cosin"}, "'schedule' parameter"),
        ({"validation": 2}, "'validation' parameter"),
        ({"augment": "none,flip=2"}, "Augmentation 'none,flip=2' is invalid: `p` should be"),
        ({"augment": "none,mixup=-1"}, "mixup must be 0 or more"),
        ({"augment": "none,rotation=nan"}, "rotation must be 0 or more"),
        ({"hidden": "abc"}, "sizes of dense layers"),
        ({"augment": "nono"}, "'nono' is not one of none"),
    ],
)
def test_wrong_parameters_are_one_line_before_any_image_is_read(
    parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises((SpecError, ModelError), match=message) as error:
        finetune("no/such/folder", **parameters)
    assert "\n" not in str(error.value)


def test_without_early_stopping_there_are_no_gains_by_epoch(ants_bees: Path) -> None:
    how = {**SMALL, "head_epochs": 1, "epochs": 1, "validation": 0}
    result = finetune(ants_bees, compare=["scratch", "frozen"], **how)

    assert result.details["gains"] == []
    assert "No gains over scratch by epoch" in " ".join(result.sentences)


def test_network_trained_in_a_comparison_is_that_of_finetune(tmp_path: Path) -> None:
    how: dict[str, Any] = {"n_splits": 2, "store": tmp_path}
    networks = parse_networks(["featxnet:full,size=32,head_epochs=2,epochs=1"])
    (name,) = networks
    small = {"size": 32, "head_epochs": 2, "epochs": 1}

    result = compare(SAMPLES, "mean_color", finetune=networks, **how)
    (tuned,) = finetune(SAMPLES, compare=["full"], **small, **how).rows

    row = next(row for row in result.rows if row["spec"] == name)
    assert row["accuracy"] == tuned["accuracy"]
    assert row["log_loss"] == pytest.approx(tuned["log_loss"])
    assert row["ms_per_image"] > 0
    assert not row["is_control"]


def test_groups_and_class_weights_reach_every_strategy(tmp_path: Path) -> None:
    for index in range(24):
        path = tmp_path / ("cat" if index % 3 else "dog") / f"p{index // 4}_{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (16, 16), (10 * index, 0, 90)).save(path)

    result = finetune(
        tmp_path, "lenet", compare=["frozen", "scratch"], groups=r"re:p\d_", n_splits=2,
        class_weight="balanced", weights="random", store=None, epochs=1, head_epochs=1,
    )  # fmt: skip

    assert "No group is on both sides of a split (6 groups)." in result.sentences
    assert result.protocol["class_weight"] == "balanced"
    trained = {row["name"]: row["settings"] for row in result.provenance["extractors"]}
    assert trained["lenet scratch"]["class_weight"] == "balanced"


def test_networks_to_compare_have_the_syntax_of_specs() -> None:
    texts = ["lenet", "lenet:scratch,epochs=2", "lenet,train=fc1"]
    networks = parse_networks(texts, 7)

    assert list(networks) == ["lenet head", "lenet scratch,epochs=2", "lenet from fc1"]
    head, scratch, part = networks.values()
    assert (head.train, scratch.weights, part.train) == ("head", "random", "fc1")
    assert scratch.epochs == 2 + FineTunedClassifier().head_epochs
    assert head.random_state == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lenet:frozen", "compare its features: -e cnn:lenet"),
        ("lenet:all", "Strategy 'all' is not one of"),
        ("lenet,epoch=2", "no parameter 'epoch'"),
        ("lenet,epochs=-2", "'epochs' parameter"),
    ],
)
def test_networks_that_cannot_be_trained_are_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_networks([text])


def test_more_images_than_there_are_are_refused(ants_bees: Path) -> None:
    with pytest.raises(DatasetError, match="1 to 12 training images per class"):
        finetune(ants_bees, compare=["head"], labels=[4, 13], **SMALL)


def test_more_labels_than_are_trained_on_are_refused(ants_bees: Path) -> None:
    with pytest.raises(DatasetError, match=r"labels 2, 6 exceed train_per_class=4"):
        finetune(ants_bees, labels=[2, 6], train_per_class=4, **SMALL)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"compare": ["head", "foo"]}, "'foo' is not one of"),
        ({"compare": ["head", "partial"], "partial": "conv99"}, "conv99"),
        ({"compare": ["frozen"], "output": "there"}, "frozen trains no network to save"),
        ({"model": nn.Linear(3, 2), "output": "there"}, "cannot be rebuilt"),
    ],
)
def test_mistakes_are_reported_before_training(
    ants_bees: Path, tmp_path: Path, parameters: Any, message: str
) -> None:
    class Notes(ProgressCallback):
        def note(self, text: str) -> None:
            assert "train loss" not in text

    if "output" in parameters:
        parameters = {**parameters, "output": tmp_path / parameters["output"]}
    with pytest.raises(FeatxError, match=message):
        finetune(ants_bees, progress=Notes(), **parameters, **SMALL)


def test_scratch_trains_all_layers_at_one_learning_rate() -> None:
    base = {"freeze": ("conv1",), "layer_decay": 0.5, "rates": {"conv2": 0.0}, "lr": 1e-6}

    settings = _settings({"model": "featxnet", **base}, "scratch", None, ["scratch"])

    assert "lr, freeze, rates, layer_decay have no effect on scratch" in next(_scratch_notes(base))
    classifier = FineTunedClassifier(**settings)
    prepared = classifier.prepare(3)
    (stage,) = classifier.stages(prepared)
    assert set(stage.plan.rates.values()) == {1e-3}
    assert stage.plan.rates.keys() == dict(prepared.network.named_parameters()).keys()


@pytest.mark.parametrize(
    ("model", "partial", "expected"),
    [
        ("featxnet", None, "res5.body.reduce"),
        ("alexnet", None, "fc6"),
        ("featxnet", "conv2", "conv2"),
    ],
)
def test_a_part_is_the_last_third_unless_it_is_named(
    model: str, partial: str | None, expected: str
) -> None:
    settings = _settings({"model": model}, "partial", partial, ["partial"])

    assert settings["train"] == expected


def test_networks_and_frozen_features_hold_out_the_same_images() -> None:
    names = np.repeat([f"class {i}" for i in range(12)], 8)
    classifier = FineTunedClassifier(random_state=3)
    images = np.arange(96, dtype=np.uint8).repeat(16).reshape(96, 4, 4)
    train, valid = classifier._divide(classifier._read(images, names), None, None)

    indices = hold_out(names, classifier.validation, 3)

    assert valid is not None
    for part, index in zip((train, valid), indices, strict=True):
        np.testing.assert_array_equal(classifier.classes_[part.targets], names[index])
        values = [int(part.images.pixels(i)[0, 0, 0]) for i in range(len(part))]
        assert values == index.tolist()


def test_scratch_has_the_epochs_of_both_stages() -> None:
    base = {"model": "lenet", "head_epochs": 3, "epochs": 4}
    assert _settings(base, "scratch", None, ["scratch"])["epochs"] == 7
    assert _settings(base, "full", None, ["full"])["epochs"] == 4


def test_all_layers_of_random_weights_are_trained_by_default() -> None:
    random = {"weights": "random", "head_lr": 0.1}
    assert _check_parameters("lenet", random)["train"] == "all"
    assert _check_parameters("lenet", random | {"train": "head"})["train"] == "head"
    assert "train" not in _check_parameters("lenet", random, is_alone=False)
    note, unused = _unused_notes(_check_parameters("lenet", random), random)
    assert "all layers are trained" in note
    assert unused.startswith("note: head_lr have no effect")


def test_learning_rates_without_effect_are_noted() -> None:
    parameters = {"lr": 0.1, "rates": {"conv1": 0.0}}
    (note,) = _unused_notes(parameters, parameters)
    assert "lr, rates have no effect: only the head is trained" in note
    assert not list(_unused_notes(*[{**parameters, "train": "all"}] * 2))


def test_new_images_are_read_with_the_value_range_of_training(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 2000, (12, 32, 32)).astype(np.uint16)
    values[1::2] += 2000
    images = Images(values, value_range=(0, 4095))
    names, labels = [str(i) for i in range(12)], np.array(["dark", "light"] * 6)
    dataset = ImageDataset(images, names, labels=labels)
    how = {"size": 32, "head_epochs": 1, "n_splits": 2, "store": None}
    finetune(dataset, output=tmp_path / "net", **how)

    result = predict(tmp_path / "net", Images(values), store=None)

    assert result.provenance["reading"] == {"value_range": [0, 4095]}


@pytest.mark.parametrize("bands", ["each", (1, 2)])
def test_other_than_gray_and_rgb_is_refused_before_training(bands: object) -> None:
    with pytest.raises(SpecError, match="one band or three"):
        finetune("digits", bands=bands, store=None)
