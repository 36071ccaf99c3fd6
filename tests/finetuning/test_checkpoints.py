from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from featx import load_dataset
from featx.data.datasets import ImageDataset
from featx.errors import TrainingError
from featx.finetuning.autoencoder import pretrain
from featx.finetuning.checkpoints import _CHECKPOINT, Checkpointer, remove_checkpoints
from featx.finetuning.classifier import FineTunedClassifier
from featx.finetuning.experiment import finetune
from featx.streaming.progress import ProgressCallback

PRETRAINED: dict[str, Any] = {"epochs": 3, "n_shown": 4, "batch_size": 16, "noise": 0.2}


class Stopper(ProgressCallback):
    """Collects notes, and stops at a given one."""

    def __init__(self, moment: str = "never") -> None:
        self.moment = moment
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)
        if re.search(self.moment, "\n".join(self.texts), re.DOTALL):
            raise RuntimeError("stop")

    @property
    def n_epochs(self) -> int:
        return sum("train loss" in text for text in self.texts)


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return load_dataset("digits").take(range(120))


def test_stopped_pretraining_resumes_to_the_same_weights(
    digits: ImageDataset, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match="stop"):
        pretrain(digits, checkpoint=tmp_path, progress=Stopper("pretrain 2/"), **PRETRAINED)
    progress = Stopper()

    resumed = pretrain(digits, checkpoint=tmp_path, progress=progress, **PRETRAINED)

    through = pretrain(digits, **PRETRAINED)
    assert [text.split(":")[0] for text in progress.texts] == ["pretrain 3/3"]
    assert resumed.state.keys() == through.state.keys()
    assert all(torch.equal(resumed.state[name], through.state[name]) for name in through.state)
    losses = [[row["train_loss"] for row in run.history] for run in (resumed, through)]
    assert losses[0] == losses[1]
    assert not (tmp_path / _CHECKPOINT).exists()


def test_checkpoint_of_another_pretraining_is_refused(digits: ImageDataset, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"):
        pretrain(digits, checkpoint=tmp_path, progress=Stopper("pretrain 1/"), **PRETRAINED)

    with pytest.raises(TrainingError, match="other images or settings"):
        pretrain(digits, checkpoint=tmp_path, **{**PRETRAINED, "lr": 0.1})


def test_finished_runs_are_not_repeated(digits: ImageDataset, tmp_path: Path) -> None:
    how: dict[str, Any] = {"weights": "random", "epochs": 2, "validation": 0, "store": None}
    how |= {"seeds": 2, "n_splits": 2, "batch_size": 60}
    through = finetune(digits, "lenet", **how)
    stopper, progress = Stopper("scratch, seed 1, split 1.*tune 1/"), Stopper()
    with pytest.raises(RuntimeError, match="stop"):
        finetune(digits, "lenet", **how, checkpoint=tmp_path, progress=stopper)

    resumed = finetune(digits, "lenet", **how, checkpoint=tmp_path, progress=progress)

    assert progress.n_epochs == 1  # Of the first split; the others report no epochs.
    for ours, theirs in zip(resumed.rows, through.rows, strict=True):
        assert ours["spec"] == theirs["spec"]
        assert ours["accuracies"] == theirs["accuracies"]
        assert ours["train_seconds"] > 0
        assert ours["log_loss"] == theirs["log_loss"]
    assert not list(tmp_path.rglob("*"))


class Bar(ProgressCallback):
    """Collects the calls of a progress bar."""

    def __init__(self) -> None:
        self.totals: list[tuple[str, int]] = []
        self.done: list[int] = []

    def train(self, name: str, n_images: int) -> None:
        self.totals.append((name, n_images))
        self.done.append(0)

    def advance(self, n_images: int) -> None:
        self.done[-1] += n_images


def test_progress_reaches_its_end_after_resuming_and_early_stopping(
    digits: ImageDataset, tmp_path: Path
) -> None:
    how = {**PRETRAINED, "epochs": 2}
    with pytest.raises(RuntimeError, match="stop"):
        pretrain(digits, checkpoint=tmp_path, progress=Stopper("pretrain 1/"), **how)
    bars = Bar(), Bar()

    pretrain(digits, checkpoint=tmp_path, progress=bars[0], **how)
    classifier = FineTunedClassifier("lenet", weights="random", epochs=40, lr=0.5, patience=1)
    classifier.fit(digits.images, digits.labels, progress=bars[1])

    assert bars[0].totals == [("pretrain", 2 * 114)]
    assert len(classifier.history_) < 40
    assert all(bar.done == [n for _, n in bar.totals] for bar in bars)


class Own(nn.Module):
    """A network of a user, whose code may change under a checkpoint."""

    def __init__(self, step: nn.Module, mean: float = 0.5) -> None:
        super().__init__()
        self.conv, self.step, self.fc = nn.Conv2d(3, 4, 3), step, nn.Linear(4, 10)
        numbers = {"mean": [mean] * 3, "std": [0.25] * 3}
        self.preprocessing = {"resize": 28, "crop": [28, 28], **numbers}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(self.step(self.conv(x)).mean((2, 3)))
        return logits


@pytest.mark.parametrize("changed", [(nn.GELU(), 0.5), (nn.ReLU(), 0.4)], ids=["code", "pixels"])
def test_checkpoint_of_a_network_that_was_changed_is_refused(
    digits: ImageDataset, tmp_path: Path, changed: tuple[nn.Module, float]
) -> None:
    torch.manual_seed(0)
    first = Own(nn.ReLU())
    other = Own(*changed)
    other.load_state_dict(first.state_dict())
    how: dict[str, Any] = {"head_epochs": 3, "checkpoint": tmp_path}
    with pytest.raises(RuntimeError, match="stop"):
        FineTunedClassifier(first, **how).fit(
            digits.images, digits.labels, progress=Stopper("head 1/")
        )

    with pytest.raises(TrainingError, match="other images or settings"):
        FineTunedClassifier(other, **how).fit(digits.images, digits.labels)


def test_files_of_the_user_are_not_removed(tmp_path: Path) -> None:
    for name in ("head-0", "head-1", "gan"):
        Checkpointer(tmp_path / name, nn.Linear(1, 1)).save_epoch("head")
    (tmp_path / "head-1" / "notes.txt").write_text("mine")

    remove_checkpoints([tmp_path / "head-0", tmp_path / "head-1", tmp_path / "head-2"])

    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")) == [
        f"gan/{_CHECKPOINT}",
        "head-1/notes.txt",
    ]
    assert not (tmp_path / "head-0").exists()


@pytest.mark.parametrize("content", [b"half a file", torch.zeros(3)], ids=["half", "tensor"])
def test_unreadable_checkpoint_is_an_error_with_a_cure(tmp_path: Path, content: Any) -> None:
    if isinstance(content, bytes):
        (tmp_path / _CHECKPOINT).write_bytes(content)
    else:
        torch.save(content, tmp_path / _CHECKPOINT)

    with pytest.raises(TrainingError, match="cannot be read; remove it to start again"):
        Checkpointer(tmp_path, nn.Linear(1, 1))
