"""The training loop: skorch's, and what it lacks.

skorch brings the loop, its history, early stopping that restores the best weights, and callbacks.
Added here: random state derived from seed and epoch, so that a resumed run reaches the same
weights bit for bit; warm-up and cosine decay per step; mixed precision; augmentation per batch.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import Any

import torch
from skorch import NeuralNet, NeuralNetClassifier
from skorch.callbacks import Callback, EarlyStopping
from skorch.dataset import unpack_data
from skorch.helper import predefined_split
from torch import Tensor, nn
from torch.utils.data import Dataset

from featx.errors import TrainingError
from featx.finetuning.augmentation import Augmentation
from featx.finetuning.checkpoints import Checkpointer, SaveEachEpoch, scalars
from featx.process.phases import phase
from featx.streaming.progress import ProgressCallback

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": lambda groups, **options: torch.optim.SGD(
        groups, momentum=0.9, nesterov=True, **options
    ),
}
SCHEDULES = ("cosine", "constant")
_AUTOCAST_TYPES = {"bf16": torch.bfloat16}


@dataclass(frozen=True)
class TrainingSettings:
    """Settings that all stages of a run share.

    Parameters
    ----------
    optimizer : {"adam", "adamw", "sgd"}, default="adam"
    weight_decay : float, default=0.0
    batch_size : int, default=32
    warmup : float, default=1.0
        Epochs of linear warm-up of the learning rate.
    schedule : {"cosine", "constant"}, default="cosine"
    patience : int, optional
        Epochs without a lower validation loss before a stage ends; None disables early stopping.
        The weights with the lowest loss are restored in any case.
    precision : {"fp32", "bf16"}, default="fp32"
    device : torch.device
    random_state : int, default=0
    n_classes : int, optional
        None if the targets are not classes.
    class_weights : Tensor of shape (n_classes,), optional
        Weights of the classes in the loss.
    augmentation : Augmentation, optional
        By default none.
    """

    optimizer: str = "adam"
    weight_decay: float = 0.0
    batch_size: int = 32
    warmup: float = 1.0
    schedule: str = "cosine"
    patience: int | None = 5
    precision: str = "fp32"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    random_state: int = 0
    n_classes: int | None = None
    class_weights: Tensor | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)


@phase("train network")
def run_loop(
    module: nn.Module,
    train: Dataset[Any],
    valid: Dataset[Any] | None,
    settings: TrainingSettings,
    *,
    stage: str,
    n_epochs: int,
    groups: list[dict[str, Any]],
    criterion: nn.Module,
    checkpoint: Checkpointer,
    progress: ProgressCallback,
    mix: Any = None,
    drop_last: bool = False,
    stop_early: bool = True,
) -> list[dict[str, Any]]:
    """Train a module for some epochs, starting where a checkpoint ended.

    Parameters
    ----------
    module : torch.nn.Module
        On the device of the settings.
    train, valid : Dataset
        Pairs of input and target.
    settings : TrainingSettings
    stage : str
        Name of the stage in messages, seeds and checkpoints.
    n_epochs : int
    groups : list of dict
        Parameters and their learning rates, as an optimizer takes them.
    criterion : torch.nn.Module
        Loss of outputs and targets.
    checkpoint : Checkpointer
    progress : ProgressCallback
    mix : callable, optional
        Augmentation of a batch: inputs and targets to inputs and targets.
    drop_last : bool, default=False
        Whether to drop the last batch if it is not full.
    stop_early : bool, default=True
        Whether the validation loss ends training and selects the weights.

    Returns
    -------
    list of dict
        ``epoch``, ``train_loss``, ``valid_loss``, ``valid_acc``, ``dur`` of each epoch.

    Raises
    ------
    TrainingError
        If the loss is not finite.
    KeyboardInterrupt
        If the user stops the run; its checkpoint remains.
    """
    n_images = len(train)  # type: ignore[arg-type]
    if drop_last:
        n_images -= n_images % settings.batch_size
    stopping = None
    if valid is not None and stop_early:
        patience = settings.patience or n_epochs + 1
        stopping = EarlyStopping("valid_loss", patience, load_best=True, sink=_discard)
    callbacks: list[Any] = [
        ("seeds", _SeedEachEpoch(settings.random_state, stage)),
        ("learning_rates", _ScheduleLearningRates(settings, n_epochs, n_images)),
        *([("stopping", stopping)] if stopping else []),
        ("checkpoint", SaveEachEpoch(checkpoint, stage, n_epochs, stopping)),
        ("progress", _ReportProgress(progress, stage, n_epochs, n_images)),
    ]
    net_type = _Net if settings.n_classes is None else _ClassifierNet
    net = net_type(
        module,
        criterion=criterion,
        optimizer=partial(_make_optimizer, settings, groups),
        max_epochs=n_epochs,
        batch_size=settings.batch_size,
        iterator_train__shuffle=True,
        iterator_train__drop_last=drop_last,
        train_split=None if valid is None else predefined_split(valid),
        callbacks=callbacks,
        callbacks__print_log=None,
        device=settings.device,
        verbose=0,
        **({} if settings.n_classes is None else {"classes": list(range(settings.n_classes))}),
    )
    net.mix, net.precision = mix, settings.precision
    with warnings.catch_warnings(), torch.random.fork_rng(devices=cuda_indices(settings.device)):
        warnings.filterwarnings("ignore", module="skorch")
        net.initialize()
        net.partial_fit(train, None)
    _check_ended(net, n_epochs, stopping)
    return [scalars(row) for row in net.history]


def cuda_indices(device: torch.device) -> list[int]:
    """Indices of the CUDA devices whose random state a run has to restore."""
    return [device.index or 0] if device.type == "cuda" else []


def _make_optimizer(
    settings: TrainingSettings, groups: list[dict[str, Any]], _: Any, **options: Any
) -> torch.optim.Optimizer:
    """Optimizer of the groups, each of which remembers its peak learning rate."""
    groups = [{**group, "peak": group["lr"]} for group in groups]
    options["weight_decay"] = settings.weight_decay
    return OPTIMIZERS[settings.optimizer](groups, **options)


class _Net(NeuralNet):
    """skorch's net with batch augmentation, mixed precision and a check of the loss.

    Attributes
    ----------
    mix : callable, optional
    precision : {"fp32", "bf16"}
    """

    mix: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    precision: str = "fp32"

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """One step; a loss that is not finite ends the run."""
        self._set_training(True)
        X, y = unpack_data(batch)
        if self.mix is not None:
            X, y = self.mix(X.float(), y)
        autocast_type = _AUTOCAST_TYPES.get(self.precision)
        with torch.autocast(
            torch.device(self.device).type, autocast_type, enabled=autocast_type is not None
        ):
            y_pred = self.infer(X.to(self.device), **fit_params)
            loss = self.get_loss(y_pred.float(), y.to(self.device), X=X, training=True)
        if not torch.isfinite(loss):
            raise TrainingError(self._describe_divergence())
        loss.backward()
        return {"loss": loss, "y_pred": y_pred}

    def _describe_divergence(self) -> str:
        lr = max(group["lr"] for group in self.optimizer_.param_groups)
        precision = ", precision='fp32'" if self.precision in _AUTOCAST_TYPES else ""
        return (
            f"The loss is not finite in epoch {len(self.history)} (learning rate {lr:.3g}): try "
            f"a learning rate of {lr / 10:.1g}, a longer warmup{precision}, or look for broken "
            "images."
        )


class _ClassifierNet(_Net, NeuralNetClassifier):
    """The same for classes, with their accuracy."""


def _derive_seed(random_state: int, stage: str, epoch: int) -> int:
    """Seed of an epoch, the same whether or not the run was resumed.

    Examples
    --------
    >>> _derive_seed(0, "head", 1) == _derive_seed(0, "head", 1) != _derive_seed(0, "head", 2)
    True
    """
    text = f"{random_state}:{stage}:{epoch}".encode()
    return int.from_bytes(blake2b(text, digest_size=7).digest(), "big")


def _learning_rate_factor(step: float, n_steps: int, n_warmup: float, schedule: str) -> float:
    """Fraction of the peak learning rate at a step.

    Examples
    --------
    >>> [round(_learning_rate_factor(step, 10, 2, "cosine"), 2) for step in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.04]
    """
    if step < n_warmup:
        return min(1.0, (step + 1) / n_warmup)
    if schedule == "constant":
        return 1.0
    progress = (step - n_warmup) / max(1.0, n_steps - n_warmup)
    return 0.5 * (1 + math.cos(math.pi * progress))


def _discard(*_: Any, **__: Any) -> None:
    """Discard skorch's messages: featx reports progress itself."""


def _check_ended(net: NeuralNet, n_epochs: int, stopping: EarlyStopping | None) -> None:
    """Raise the interrupt of the user that skorch treats as the end of training.

    Raises
    ------
    KeyboardInterrupt
    """
    has_stopped = stopping is not None and stopping.misses_ >= stopping.patience
    if len(net.history) < n_epochs and not has_stopped:
        raise KeyboardInterrupt


class _SeedEachEpoch(Callback):
    """Random state of each epoch, derived from the seed, the stage and the epoch."""

    def __init__(self, random_state: int, stage: str) -> None:
        self.random_state = random_state
        self.stage = stage

    def on_epoch_begin(self, net: Any, **_: Any) -> None:
        """Set the seed."""
        torch.manual_seed(_derive_seed(self.random_state, self.stage, len(net.history)))


class _ScheduleLearningRates(Callback):
    """Warm-up, then cosine decay or a constant: a function of the step alone."""

    def __init__(self, settings: TrainingSettings, n_epochs: int, n_images: int) -> None:
        self.settings = settings
        self.n_batches = math.ceil(n_images / settings.batch_size)
        self.n_epochs = n_epochs

    def on_batch_begin(self, net: Any, batch: Any = None, training: bool = False, **_: Any) -> None:
        """Set the learning rate of each group."""
        if not training:
            return
        n = self.n_batches
        step = (len(net.history) - 1) * n + len(net.history[-1]["batches"]) - 1
        warmup = min(self.settings.warmup, self.n_epochs / 2) * n
        factor = _learning_rate_factor(step, self.n_epochs * n, warmup, self.settings.schedule)
        for group in net.optimizer_.param_groups:
            group["lr"] = group["peak"] * factor


class _ReportProgress(Callback):
    """Report the images of a stage as they are trained on, and the losses of each epoch."""

    def __init__(
        self, progress: ProgressCallback, stage: str, n_epochs: int, n_images: int
    ) -> None:
        self.progress = progress
        self.stage = stage
        self.n_epochs = n_epochs
        self.n_images = n_images

    def on_train_begin(self, net: Any, **_: Any) -> None:
        """Report the length of the stage, and the epochs that a checkpoint restored."""
        self._n_left = self.n_epochs * self.n_images
        self.progress.train(self.stage, self._n_left)
        self._advance(len(net.history) * self.n_images)

    def on_train_end(self, net: Any, **_: Any) -> None:
        """Report the epochs that early stopping omitted as done."""
        self._advance(self._n_left)

    def _advance(self, n_images: int) -> None:
        self._n_left -= n_images
        self.progress.advance(n_images)

    def on_batch_end(self, net: Any, batch: Any = None, training: bool = False, **_: Any) -> None:
        """Report the images of a batch."""
        if training:
            self._advance(len(batch[0]))

    def on_epoch_end(self, net: Any, **_: Any) -> None:
        """Report losses, accuracy and time."""
        row = net.history[-1]
        text = f"{self.stage} {row['epoch']}/{self.n_epochs}: train loss {row['train_loss']:.4f}"
        if "valid_loss" in row:
            text += f", valid loss {row['valid_loss']:.4f}"
        if "valid_acc" in row:
            text += f", accuracy {row['valid_acc']:.3f}"
        self.progress.note(f"{text}, {row['dur']:.1f} s")
