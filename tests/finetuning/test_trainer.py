from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from featx.errors import TrainingError
from featx.finetuning.checkpoints import Checkpointer
from featx.finetuning.freezing import Policy, plan_training
from featx.finetuning.heads import Prepared
from featx.finetuning.trainer import Stage, StagedNetwork, _fit_stage
from featx.finetuning.training_images import FeatureRows
from featx.finetuning.training_loop import OPTIMIZERS, TrainingSettings
from featx.networks.preprocessing import Preprocessing
from featx.streaming.progress import ProgressCallback
from tests.finetuning.conftest import Normed, prepare

UNCHANGED = Preprocessing(mean=(0, 0, 0), std=(1 / 255,) * 3)
"""Images go into the network as they are."""


class Notes(ProgressCallback):
    """Collects notes and counts the images left."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.n_left = 0

    def note(self, text: str) -> None:
        self.texts.append(text)

    def train(self, name: str, n_images: int) -> None:
        self.n_left = n_images

    def advance(self, n_images: int) -> None:
        self.n_left -= n_images


def small() -> Prepared:
    torch.manual_seed(0)
    return prepare(nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 5)))


def rows(n: int = 8, size: int = 4) -> FeatureRows:
    data = np.random.default_rng(0).normal(size=(n, 3 * size**2))
    return FeatureRows(data, np.arange(n) % 2, (3, size, size))


def run(
    prepared: Prepared,
    train: Dataset[Any],
    valid: Dataset[Any] | None = None,
    *,
    policy: Policy | None = None,
    n_epochs: int = 3,
    progress: ProgressCallback | None = None,
    **settings: Any,
) -> list[dict[str, Any]]:
    plan = plan_training(prepared, policy or Policy())
    staged = StagedNetwork(prepared.network, plan, UNCHANGED)
    return _fit_stage(
        Stage("head", plan, n_epochs),
        staged,
        train,
        valid,
        TrainingSettings(n_classes=2, **settings),
        checkpoint=Checkpointer(None, prepared.network),
        progress=progress or ProgressCallback(),
    )


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_loop_is_that_of_plain_pytorch(optimizer: str) -> None:
    prepared, reference, data = small(), small(), rows()
    X, y = torch.stack([x for x, _ in data]), torch.tensor(data.targets)  # type: ignore[misc]
    how = {"weight_decay": 0.01, "schedule": "constant", "warmup": 0}

    run(prepared, data, policy=Policy(lr=0.1), optimizer=optimizer, **how)

    hand = OPTIMIZERS[optimizer](list(reference.network.parameters()), lr=0.1, weight_decay=0.01)
    for _ in range(3):
        hand.zero_grad()
        nn.functional.cross_entropy(reference.network(X), y).backward()
        hand.step()
    torch.testing.assert_close(prepared.network.state_dict(), reference.network.state_dict())


def test_only_what_trains_is_in_training_mode() -> None:
    prepared = prepare(Normed())
    plan = plan_training(prepared, Policy(train="all"))
    staged = StagedNetwork(prepared.network, plan, UNCHANGED)

    assert not staged.train().network[1].training  # type: ignore[index]
    assert staged.network[3].training  # type: ignore[index]
    assert not any(module.training for module in staged.train(False).modules())


def test_pixels_are_normalized_as_the_preprocessing_says() -> None:
    how = Preprocessing(mean=(0.5, 0.4, 0.3), std=(0.2, 0.1, 0.5))
    batch = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)

    maps = StagedNetwork(nn.Identity(), None, how)(batch)

    columns = [torch.tensor(values)[:, None, None] for values in (how.mean, how.std)]
    torch.testing.assert_close(maps, (batch / 255 - columns[0]) / columns[1])


def test_last_image_alone_in_its_batch_does_not_break_batch_norm() -> None:
    head = {"hidden": (4,), "batch_norm": True}
    prepared = prepare(
        nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 5)), **head
    )
    notes = Notes()

    history = run(prepared, rows(9), batch_size=4, progress=notes)

    assert len(history) == 3
    assert notes.n_left == 0


def test_last_image_alone_in_its_batch_is_trained_on_without_batch_norm() -> None:
    prepared, fewer = small(), small()

    run(prepared, rows(9), batch_size=8)
    run(fewer, rows(8), batch_size=8)

    assert not torch.equal(prepared.network[2].weight, fewer.network[2].weight)  # type: ignore[index]


def test_weights_of_the_best_epoch_stay_and_progress_comes_to_its_end() -> None:
    prepared, valid, notes = small(), rows(6), Notes()
    valid.targets = [1 - target for target in valid.targets]  # The more it learns, the worse.

    history = run(
        prepared, rows(), valid, n_epochs=30, policy=Policy(lr=0.1), patience=2, progress=notes
    )

    X, y = torch.stack([x for x, _ in valid]), torch.tensor(valid.targets)  # type: ignore[misc]
    loss = nn.functional.cross_entropy(prepared.network(X), y).item()
    assert loss == pytest.approx(min(row["valid_loss"] for row in history), rel=1e-5)
    assert len(history) < 30
    assert notes.n_left == 0
    assert notes.texts[0].startswith("head 1/30: train loss ")


def test_interrupt_of_the_user_is_not_taken_for_the_end() -> None:
    class Stopper(ProgressCallback):
        def note(self, text: str) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(small(), rows(), progress=Stopper())


def test_loss_that_is_not_finite_says_what_to_try() -> None:
    infinite = rows()
    infinite.rows[0] = np.inf

    with pytest.raises(TrainingError, match=r"in epoch 1 .*: try a learning rate of 0\.01,"):
        run(small(), infinite, policy=Policy(lr=0.1), warmup=0)
