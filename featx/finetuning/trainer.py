"""Training of a network in stages: inputs, loop, checkpoints, freeze check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from featx.finetuning.augmentation import Augmentation
from featx.finetuning.checkpoints import Checkpointer
from featx.finetuning.freeze_check import FreezeCheck
from featx.finetuning.freezing import TrainingPlan
from featx.finetuning.heads import Prepared
from featx.finetuning.split_network import FrozenPart, split_off_frozen_part
from featx.finetuning.training_images import FeatureRows, LabeledImages, TrainingImages
from featx.finetuning.training_loop import TrainingSettings, run_loop
from featx.networks.network_errors import name_network
from featx.networks.preprocessing import Preprocessing
from featx.process.memory import require_memory
from featx.streaming.progress import ProgressCallback

_CACHED_BYTES = 2 << 30
"""Maximum size of cached features; above it, frozen layers run in every epoch."""


@dataclass(frozen=True)
class Stage:
    """One stage of training.

    Parameters
    ----------
    name : str
    plan : TrainingPlan
    n_epochs : int
    """

    name: str
    plan: TrainingPlan
    n_epochs: int


class StagedNetwork(nn.Module):
    """A network in one stage: pixels in, logits out, only what is trained in training mode.

    Parameters
    ----------
    network : torch.nn.Module
    plan : TrainingPlan or None
        None for a network that is not to be trained.
    preprocessing : Preprocessing
    tail : torch.nn.Module, optional
        The part of the network that takes cached features instead of images.
    """

    scale: Tensor
    offset: Tensor

    def __init__(
        self,
        network: nn.Module,
        plan: TrainingPlan | None,
        preprocessing: Preprocessing,
        tail: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.plan = plan
        self._tail = [tail]  # In a list: a part of the network must not be registered twice.
        self.register_buffer("scale", per_channel(preprocessing.std) * 255, persistent=False)
        self.register_buffer("offset", per_channel(preprocessing.mean) * 255, persistent=False)

    def forward(self, batch: Tensor) -> Tensor:
        """Logits ``(n, n_classes)`` of uint8 images, or of cached features."""
        tail = self._tail[0]
        with name_network(type(self.network).__name__, "does not run", self.network):
            if tail is not None:  # Calling a graph itself would print errors.
                logits: Tensor = tail.forward(batch)
                return logits
            logits = self.network((batch.float() - self.offset) / self.scale)
            return logits

    def train(self, mode: bool = True) -> StagedNetwork:
        """Set the modes of the stage rather than one mode for all modules."""
        super().train(False)
        self.training = mode
        if mode and self.plan is not None:
            self.plan.set_mode(self.network)
        return self


@dataclass
class Trainer:
    """Trains a network stage by stage and checks that frozen tensors do not change.

    Parameters
    ----------
    prepared : Prepared
        The network; trained in place.
    settings : TrainingSettings
    train : LabeledImages
    valid : LabeledImages or None
        Images held out for early stopping.
    source : mapping
        ``model``, ``weights``, ``load``, ``store`` and ``trust`` of
        `featx.extractors.cnn.CNNFeatures`, which extracts the features of frozen layers.
    checkpoint : Checkpointer
    notes : list of str
        Decisions are appended to it.
    progress : ProgressCallback

    Attributes
    ----------
    history : list of dict
        A row per epoch: ``stage`` and the columns of `run_loop`.
    freeze_checks : dict of str to FreezeCheck
        By stage.
    frozen_part : FrozenPart or None
        The part whose features were cached in the last stage.
    """

    prepared: Prepared
    settings: TrainingSettings
    train: LabeledImages
    valid: LabeledImages | None
    source: Mapping[str, Any]
    checkpoint: Checkpointer
    notes: list[str]
    progress: ProgressCallback
    history: list[dict[str, Any]] = field(default_factory=list, init=False)
    freeze_checks: dict[str, FreezeCheck] = field(default_factory=dict, init=False)
    frozen_part: FrozenPart | None = field(default=None, init=False)

    def run(self, stages: Sequence[Stage]) -> None:
        """Train all stages, except those that a checkpoint has finished.

        Raises
        ------
        NotEnoughMemoryError
            If a stage would not fit into memory.
        TrainingError
            If the loss is not finite or a frozen tensor changed.
        """
        for stage in stages:
            self._require_memory(stage)
        for stage in stages:
            self._run_stage(stage)

    def note(self, text: str) -> None:
        """Record a decision and report it."""
        self.notes.append(text)
        self.progress.note(text)

    def _run_stage(self, stage: Stage) -> None:
        finished = self.checkpoint.restore_finished(stage.name)
        checksums = self.checkpoint.initial_checksums(stage.name, stage.plan.updated)
        self.frozen_part = self._choose_frozen_part(stage)
        if finished is None:
            rows = self._train_stage(stage)
            freeze_check = checksums.compare(self.prepared.network)
            self.checkpoint.save_finished(stage.name, rows, freeze_check)
        else:
            rows, freeze_check = finished
        freeze_check.check()
        self.history += [{"stage": stage.name, **row} for row in rows]
        self.freeze_checks[stage.name] = freeze_check
        self.note(f"{stage.name}: {freeze_check}")

    def _train_stage(self, stage: Stage) -> list[dict[str, Any]]:
        augmentation = self.settings.augmentation
        tail = None if self.frozen_part is None else self.frozen_part.tail
        preprocessing = self.prepared.config.preprocessing
        return _fit_stage(
            stage,
            StagedNetwork(self.prepared.network, stage.plan, preprocessing, tail),
            make_inputs(self.train, preprocessing, self.frozen_part, augmentation),
            self.valid and make_inputs(self.valid, preprocessing, self.frozen_part),
            self.settings,
            checkpoint=self.checkpoint,
            progress=self.progress,
        )

    def _require_memory(self, stage: Stage) -> None:
        """Refuse a stage that would not fit into main memory; a GPU reports this itself."""
        batch_size = self.settings.batch_size
        if self.settings.device.type == "cpu":
            require_memory(
                stage.plan.estimate_bytes(self.prepared, batch_size),
                f"Training {self.prepared.table.model} with batches of {batch_size} images",
                "Lower --batch-size or --size",
            )

    def _choose_frozen_part(self, stage: Stage) -> FrozenPart | None:
        """The part whose features are cached, or None; a note says which, and why."""
        part = None
        if not self.settings.augmentation.is_none:
            reason = "images change in every epoch"
        elif part := split_off_frozen_part(self.prepared, stage.plan.boundary, self.source):
            n_images = len(self.train) + (0 if self.valid is None else len(self.valid))
            n_bytes = 4 * n_images * part.layer.n_features
            reason = f"features of frozen layers would take {n_bytes:,} bytes"
            part = part if n_bytes <= _CACHED_BYTES else None
        else:
            reason = "no layer before the first trained one is frozen, or it cannot be split off"
        if part is None:
            self.note(f"{stage.name}: all layers run in every epoch ({reason})")
            return None
        name = part.layer.alias or part.layer.node
        self.note(
            f"{stage.name}: features of {name} ({part.layer.n_features:,}) are extracted once and "
            "cached"
        )
        return part


def _fit_stage(
    stage: Stage,
    staged: StagedNetwork,
    train: Any,
    valid: Any,
    settings: TrainingSettings,
    *,
    checkpoint: Checkpointer,
    progress: ProgressCallback,
) -> list[dict[str, Any]]:
    """Train one stage; its epochs as `featx.finetuning.training_loop.run_loop` returns them."""
    stage.plan.apply(staged.network)
    staged.to(settings.device)
    # Batch norm in training mode has no variance of one image.
    drop_last = len(train) % settings.batch_size == 1 and _trains_batch_norm(stage, staged.network)
    mix = settings.augmentation.batches(settings.n_classes or 0)
    rows = run_loop(
        staged,
        train,
        valid,
        settings,
        stage=stage.name,
        n_epochs=stage.n_epochs,
        groups=stage.plan.groups(staged.network),
        criterion=nn.CrossEntropyLoss(settings.class_weights),
        checkpoint=checkpoint,
        progress=progress,
        mix=None if mix is None else mix.forward,  # skorch would train a module.
        drop_last=drop_last,
    )
    staged.train(False)
    return rows


def make_inputs(
    data: LabeledImages,
    preprocessing: Preprocessing,
    frozen_part: FrozenPart | None,
    augmentation: Augmentation | None = None,
) -> TrainingImages | FeatureRows:
    """Inputs of a stage: images, or the features of its frozen part."""
    if frozen_part is None:
        return TrainingImages(data.images, data.targets, preprocessing, augmentation)
    rows = frozen_part.extract(data.images)
    return FeatureRows(rows, data.targets, frozen_part.layer.shape)


def _trains_batch_norm(stage: Stage, network: nn.Module) -> bool:
    modules = network.named_modules()
    training = stage.plan.training_modules
    return any(path in training and isinstance(module, _BatchNorm) for path, module in modules)


def per_channel(values: tuple[float, ...]) -> Tensor:
    """Means or standard deviations, shape (n_channels, 1, 1)."""
    return torch.tensor(values)[:, None, None]
