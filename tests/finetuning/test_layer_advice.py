from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featx.evaluation.comparison import probe
from featx.evaluation.split_scores import Predictions, SplitScores
from featx.features.results import Result
from featx.finetuning.domain_shift import SourceDistance
from featx.finetuning.layer_advice import (
    _advice,
    _choose,
    _data_arguments,
    _Measurements,
    advise,
)

SAMPLES = "data/samples/photo"


def scores(accuracy: float) -> SplitScores:
    """Scores of 1,000 test images."""
    truth = np.array(["a"] * 1000)
    predicted = np.where(np.arange(1000) < 1000 * accuracy, "a", "b")
    return SplitScores(
        [Predictions(np.arange(1000), truth, predicted, np.ones(1000), 0.1)], 1, [1], 0, True
    )


def measured(
    n: int, value: float | None, accuracies: list[float], control: float = 0.3
) -> _Measurements:
    way = "none" if value is None else "model card"
    layers = [f"conv{i}" for i, _ in enumerate(accuracies, 1)]
    return _Measurements(
        n,
        SourceDistance(way, value, "words"),
        layers,
        [*map(scores, accuracies)],
        {"color": scores(control)},
    )


@pytest.mark.parametrize(
    ("measurements", "advice", "command"),
    [
        (measured(20, 0.1, [0.5, 0.7, 0.8]), "frozen features of conv3", "--layer conv3"),
        (measured(20, 0.9, [0.5, 0.8, 0.6]), "an earlier layer, conv2", "--layer conv2"),
        (measured(20, 0.9, [0.5, 0.7, 0.8]), "unlike the source, the deep", "conv3"),
        (measured(20, 0.1, [0.5, 0.99], 0.99), "they are no better than color", "--layer conv2"),
        (measured(20, 0.1, [0.3, 0.3, 0.3]), "they are no better than color", "--layer conv3"),
        (measured(500, 0.1, [0.5, 0.7, 0.8]), "freeze the layers before conv2", "--train-from"),
        (measured(500, 0.9, [0.5, 0.7, 0.8]), "fine-tune all", "--train all"),
        (measured(500, 0.9, [0.2, 0.2, 0.2]), "train from scratch", "--weights random"),
        (measured(500, 0.1, [0.5, 0.7, 0.99]), "a linear head", "featx probe"),
        (measured(500, None, [0.5, 0.8, 0.6]), "fine-tune all", "--train all"),
        (measured(500, None, [0.5, 0.7, 0.8]), "freeze the layers", "--train-from"),
    ],
)
def test_each_case_has_its_advice(measurements: _Measurements, advice: str, command: str) -> None:
    text, name, options = _choose(measurements, measurements.layers[measurements.best])

    assert advice in text
    assert command in f"{name} {options}"


@pytest.mark.parametrize(
    ("measurements", "size", "command"),
    [
        (measured(20, 0.1, [0.5, 0.8]), None, "featx probe 'a b' c --domains all --model lenet"),
        (
            measured(20, 0.1, [0.5, 0.8]),
            32,
            "featx probe 'a b' c --domains all -e cnn:lenet:conv2,pooling=gap,size=32",
        ),
        (measured(500, 0.9, [0.5, 0.8]), 32, "--model lenet --size 32 --train all"),
    ],
)
def test_command_names_the_same_images_and_size(
    measurements: _Measurements, size: int | None, command: str
) -> None:
    data = _data_arguments(["a b", "c"], None, True)  # type: ignore[arg-type]
    assert command in _advice(measurements, data, "lenet", "default", size)[-1]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def result(store: Path) -> Result:
    return advise(SAMPLES, store=store)


def test_advice_reports_measurements_and_a_command(result: Result) -> None:
    controls = [row["spec"] for row in result.rows if row["is_control"]]
    assert controls == ["shuffled labels", "color", "pixels,image_size=16", "random weights"]
    accuracies = {row["spec"]: row["accuracy"] for row in result.rows}
    assert accuracies["shuffled labels"] < 0.5 < max(accuracies.values())
    text = "\n".join(result.sentences)
    assert "model card" in text
    assert f"Run: featx probe {SAMPLES} --model featxnet --layer" in text
    assert result.details["distance"]["value"] > 0


def test_layers_are_measured_as_a_probe_measures_them(result: Result, store: Path) -> None:
    """`advise` used to choose C from strengths of its own, and so disagreed with `probe`."""
    row = next(row for row in result.rows if row["layer"] == "relu_fc7")

    probed = probe(SAMPLES, "cnn:featxnet:relu_fc7,pooling=gap", store=store)

    assert result.protocol == probed.protocol
    names = ("accuracy", "low", "high", "balanced_accuracy", "macro_f1", "log_loss", "C")
    assert {name: row[name] for name in names} == {name: probed.rows[0][name] for name in names}
