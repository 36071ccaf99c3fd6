from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from featx.errors import (
    DatasetError,
    ModelError,
    NotEnoughMemoryError,
    TrainingError,
    WeightsError,
)
from featx.finetuning.checkpoints import _CHECKPOINT
from featx.finetuning.classifier import FineTunedClassifier, hold_out
from featx.networks.module_state import state_digest
from featx.store.feature_store import FeatureStore
from featx.streaming.progress import ProgressCallback

LABELS = np.array(["ant"] * 6 + ["bee"] * 6)
SMALL: dict[str, Any] = {"size": 32, "head_epochs": 2, "epochs": 2, "batch_size": 4}
KILLED = """
import os, signal, sys
import numpy as np
from featx.finetuning.classifier import FineTunedClassifier
from featx.streaming.progress import ProgressCallback

class Killer(ProgressCallback):
    def note(self, text):
        if text.startswith(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

FineTunedClassifier(checkpoint=sys.argv[1], **eval(sys.argv[3])).fit(
    sys.argv[4:], np.array(["ant"] * 6 + ["bee"] * 6), progress=Killer()
)
"""


class Notes(ProgressCallback):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def tuned(photos: list[str], **parameters: Any) -> FineTunedClassifier:
    return FineTunedClassifier(**{**SMALL, **parameters}).fit(photos, LABELS)


def test_probabilities_of_every_class_and_names_of_the_labels(photos: list[str]) -> None:
    classifier = tuned(photos)

    probabilities = classifier.predict_proba(photos)

    np.testing.assert_allclose(probabilities.sum(1), 1)
    assert set(classifier.predict(photos)) <= {"ant", "bee"}
    assert [row["stage"] for row in classifier.history_] == ["head", "head"]


def test_a_head_learns_what_it_has_seen(photos: list[str]) -> None:
    classifier = tuned(photos, size=None, head_epochs=20, validation=0)

    assert classifier.score(photos, LABELS) >= 0.9


def test_cached_features_train_the_same_head_as_the_live_network(
    photos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = tuned(photos)
    monkeypatch.setattr("featx.finetuning.trainer._CACHED_BYTES", 0)
    live = tuned(photos)

    assert "extracted once and cached" in cached.notes_[1]
    assert "all layers run in every epoch" in live.notes_[1]
    np.testing.assert_allclose(cached.predict_proba(photos), live.predict_proba(photos), atol=1e-3)


def test_frozen_features_come_out_of_the_store(photos: list[str], store: FeatureStore) -> None:
    first = tuned(photos, store=store)
    n_rows = len(list(store.folder.rglob("*")))
    second = tuned(photos, store=store)

    assert n_rows > 1
    assert state_digest(first.network_) == state_digest(second.network_)


@pytest.mark.parametrize(
    "parameters",
    [{}, {"train": "all"}, {"augment": "strong", "train": "conv5"}],
    ids=["head", "two stages", "augmented"],
)
def test_a_seed_repeats_a_run_bit_for_bit(photos: list[str], parameters: Any) -> None:
    before = torch.random.get_rng_state()

    digests = {state_digest(tuned(photos, **parameters).network_) for _ in range(2)}

    assert len(digests) == 1
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.usefixtures("bf16")
def test_bf16_is_near_fp32(photos: list[str]) -> None:
    parameters: dict[str, Any] = {"train": "conv5", "augment": "light", "size": 64}
    whole, half = (tuned(photos, **parameters, precision=p) for p in ("fp32", "bf16"))

    assert {tensor.dtype for tensor in half.network_.parameters()} == {torch.float32}
    assert state_digest(half.network_) != state_digest(whole.network_)
    losses = [[row["train_loss"] for row in classifier.history_] for classifier in (whole, half)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.05)
    assert not any(freeze_check.changed for freeze_check in half.freeze_checks_.values())


def test_half_precision_that_is_only_emulated_is_refused(
    photos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.networks.devices._has", lambda probe: False)

    with pytest.raises(ModelError, match="bf16"):
        tuned(photos, precision="bf16")


class Drifting(nn.Module):
    """A network with a buffer that every forward pass changes."""

    drift: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=4)
        self.register_buffer("drift", torch.zeros(1))
        self.fc = nn.Linear(4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.drift.add_(1)
        logits: torch.Tensor = self.fc(self.conv(x).relu().mean((2, 3)) + self.drift)
        return logits


@pytest.mark.parametrize("train", ["head", "fc"])
def test_changed_buffer_fails_the_freeze_check(photos: list[str], train: str) -> None:
    with pytest.raises(TrainingError, match=r"1 of .* changed: drift; do not use"):
        tuned(photos, model=Drifting(), train=train, augment="light")


def test_another_seed_gives_another_head(photos: list[str]) -> None:
    digests = {state_digest(tuned(photos, random_state=i).network_) for i in range(2)}

    assert len(digests) == 2


def test_second_stage_trains_more_than_the_first(photos: list[str]) -> None:
    classifier = tuned(photos, train="conv5")

    assert list(classifier.freeze_checks_) == ["head", "tune"]
    assert (
        classifier.freeze_checks_["tune"].n_parameters
        < classifier.freeze_checks_["head"].n_parameters
    )
    assert not any(freeze_check.changed for freeze_check in classifier.freeze_checks_.values())


def test_weights_of_the_best_epoch_are_restored(photos: list[str]) -> None:
    classifier = tuned(photos, head_epochs=6, head_lr=0.3, warmup=0)

    losses = [row["valid_loss"] for row in classifier.history_]

    assert losses[-1] > min(losses)
    _, valid = classifier._divide(classifier._read(photos, LABELS), None, None)
    assert valid is not None
    probabilities = classifier.predict_proba(valid.images)
    loss = -np.log(probabilities[np.arange(len(valid)), valid.targets]).mean()
    assert loss == pytest.approx(min(losses), rel=1e-3)


@pytest.mark.slow
def test_killed_run_resumes_to_the_same_weights(photos: list[str], tmp_path: Path) -> None:
    parameters = {**SMALL, "train": "conv5", "augment": "standard", "epochs": 3}
    command = [sys.executable, "-c", KILLED, str(tmp_path), "tune 2/", repr(parameters), *photos]

    killed = subprocess.run(command, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / _CHECKPOINT).is_file()
    resumed = tuned(photos, **parameters, checkpoint=tmp_path)

    through = tuned(photos, **parameters)
    assert state_digest(resumed.network_) == state_digest(through.network_)
    names = ("stage", "epoch", "train_loss", "valid_loss")
    assert [[row[n] for n in names] for row in resumed.history_] == [
        [row[n] for n in names] for row in through.history_
    ]
    assert {k: str(v) for k, v in resumed.freeze_checks_.items()} == {
        k: str(v) for k, v in through.freeze_checks_.items()
    }


def test_checkpoint_of_another_run_is_refused(photos: list[str], tmp_path: Path) -> None:
    class Stopper(ProgressCallback):
        def note(self, text: str) -> None:
            if text.startswith("head 2/"):
                raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        FineTunedClassifier(**SMALL, checkpoint=tmp_path).fit(photos, LABELS, progress=Stopper())

    with pytest.raises(TrainingError, match="other images or settings"):
        tuned(photos, checkpoint=tmp_path, random_state=1)


def test_all_layers_of_random_weights_are_trained_by_default(photos: list[str]) -> None:
    classifier = tuned(photos, weights="random", epochs=1)

    assert list(classifier.freeze_checks_) == ["tune"]
    assert classifier.freeze_checks_["tune"].n_parameters == 0
    assert classifier.seconds_ > 0
    assert clone(classifier).train is None


def test_clone_keeps_every_parameter(photos: list[str]) -> None:
    classifier = FineTunedClassifier("alexnet", train="conv5", hidden=(8,), rates={"conv1": 0.0})

    assert clone(classifier).get_params() == classifier.get_params()


def test_pickled_classifier_predicts_the_same(photos: list[str]) -> None:
    classifier = tuned(photos)

    again = pickle.loads(pickle.dumps(classifier))

    np.testing.assert_allclose(
        again.predict_proba(photos), classifier.predict_proba(photos), atol=1e-5
    )


def test_layers_without_loaded_weights_are_trained(
    photos: list[str], shared: Callable[[str], Path]
) -> None:
    class Mine(nn.Module):
        """A user's own module whose first layers are those of the weights."""

        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(16)
            self.own = nn.Conv2d(16, 8, 3, stride=4)
            self.fc = nn.Linear(8, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            maps = self.own(self.bn1(self.conv1(x)).relu())
            logits: torch.Tensor = self.fc(maps.mean((2, 3)))
            return logits

    file = shared("weights/cifar10-resnet20-12fca82f.th")
    classifier = tuned(photos, model=Mine(), weights=file, load="conv1.*,bn1.*")

    report = classifier.prepared_.report
    assert report.renamed["module.conv1.weight"] == "conv1.weight"
    assert set(report.new) - {"bn1.num_batches_tracked"} == {"own.weight", "own.bias"} | {
        "fc.weight",
        "fc.bias",
    }
    assert "module.linear.weight" in report.skipped
    assert classifier.freeze_checks_["head"].n_parameters == 3
    assert classifier.freeze_checks_["head"].n_buffers == 3


def test_weights_of_another_network_are_refused(
    photos: list[str], shared: Callable[[str], Path]
) -> None:
    with pytest.raises(WeightsError, match="are not those of"):
        tuned(photos, weights=shared("weights/squeezenet1_0-imagenet.pth"))


def test_classes_with_all_images_held_out_are_refused(photos: list[str]) -> None:
    classifier = FineTunedClassifier(**SMALL)

    with pytest.raises(DatasetError, match="All training images of bee are held out"):
        classifier.fit(photos, LABELS, held_out=LABELS == "bee")


def test_groups_are_held_out_whole() -> None:
    groups = np.repeat([f"patient {i}" for i in range(10)], 4)

    train, held_out = hold_out(np.arange(40) // 2 % 2, 0.25, 0, groups=groups)

    assert len(held_out) in (8, 12)
    assert not set(groups[train]) & set(groups[held_out])


def test_balanced_classes_have_equal_weight_in_the_loss(photos: list[str]) -> None:
    few, labels = photos[:8], LABELS[:8]
    parameters = {**SMALL, "head_epochs": 1, "head_lr": 1e-9, "validation": 0, "batch_size": 16}
    plain, balanced = (
        FineTunedClassifier(**parameters, class_weight=class_weight).fit(few, labels)
        for class_weight in (None, "balanced")
    )

    probabilities = plain.predict_proba(few)
    losses = -np.log(probabilities[np.arange(8), (labels == "bee").astype(int)])

    means = [losses[labels == name].mean() for name in ("ant", "bee")]
    assert plain.history_[0]["train_loss"] == pytest.approx(losses.mean(), abs=1e-4)
    assert balanced.history_[0]["train_loss"] == pytest.approx(np.mean(means), abs=1e-4)
    assert abs(np.mean(means) - losses.mean()) > 1e-3


def test_one_class_is_not_enough(photos: list[str]) -> None:
    with pytest.raises(DatasetError, match="two classes or more"):
        FineTunedClassifier(**SMALL).fit(photos, ["ant"] * 12)


def test_batches_larger_than_memory_are_refused_before_training(
    photos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.process.memory.available_bytes", lambda: 500 << 20)
    classifier = FineTunedClassifier(train="all", head_epochs=1, epochs=1, batch_size=5000)
    with pytest.raises(NotEnoughMemoryError, match="batches of 5000 images needs about"):
        classifier.fit(photos, LABELS)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.eye(2)[[0, 1] * 6], r"one label per image; got an array of shape \(12, 2\)"),
        ([0.5, *range(11)], "Labels must be classes: .*continuous"),
        (
            [np.nan, *[0.0] * 5, *[1.0] * 6],
            "1 of 12 labels .* NaN, the first at index 0",
        ),
        (["ant", None, *["bee"] * 10], "1 of 12 labels are missing or NaN, the first at index 1"),
    ],
    ids=["one-hot", "continuous", "NaN", "None"],
)
def test_labels_that_are_not_classes_are_refused(photos: list[str], y: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        FineTunedClassifier().fit(photos, y)


def test_features_of_a_network_that_the_head_follows_are_extracted_once(photos: list[str]) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    notes = Notes()
    classifier = FineTunedClassifier(network, train="head", **{**SMALL, "epochs": 0})
    classifier.fit(photos, LABELS, progress=notes)
    assert any("are extracted once and cached" in text for text in notes.texts)
    assert classifier.predict(photos).shape == (12,)


def test_batch_norm_on_batches_of_one_image_is_an_error_in_one_line(photos: list[str]) -> None:
    parameters = {**SMALL, "batch_size": 1, "hidden": (4,), "head_norm": True}
    with pytest.raises(ModelError, match=r"BatchNorm1d\): ValueError: Expected more than 1 value"):
        FineTunedClassifier(train="head", **parameters).fit(photos, LABELS)
