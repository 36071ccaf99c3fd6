"""The training loop: skorch's, and what it lacks.

skorch brings the loop, its history, early stopping with the best weights restored, and
callbacks. What is added here: random state that follows from seed and epoch, so that a killed
run goes on to the same weights bit for bit; warm-up and cosine by the step; modes of modules
that a stage fixes; mixed precision; batches changed on their way in.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import torch
from skorch import NeuralNet, NeuralNetClassifier
from skorch.callbacks import Callback, EarlyStopping
from skorch.dataset import unpack_data
from skorch.helper import predefined_split
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import Dataset

from featx.errors import TrainingError
from featx.finetuning.checkpoints import Checkpointer, KeepEachEpoch, scalars
from featx.finetuning.freezing import TrainingPlan
from featx.networks.network_errors import name_network
from featx.networks.preprocessing import Preprocessing
from featx.process.phases import phase
from featx.streaming.progress import ProgressCallback

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": lambda groups, **more: torch.optim.SGD(groups, momentum=0.9, nesterov=True, **more),
}
SCHEDULES = ("cosine", "constant")
HALF = {"bf16": torch.bfloat16}


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


@dataclass(frozen=True)
class LoopSettings:
    """What all stages share.

    Parameters
    ----------
    optimizer : {"adam", "adamw", "sgd"}, default="adam"
    weight_decay : float, default=0.0
    batch_size : int, default=32
    warmup : float, default=1.0
        Epochs in which the rate climbs from zero.
    schedule : {"cosine", "constant"}, default="cosine"
    patience : int, optional
        Epochs without a lower validation loss before the stage ends; None goes to the end. The
        weights of the epoch with the lowest are restored in any case.
    precision : {"fp32", "bf16"}, default="fp32"
    device : torch.device
    random_state : int, default=0
    n_classes : int, default=2
    class_weights : tuple of float, optional
        Of each class in the loss.
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
    n_classes: int = 2
    class_weights: tuple[float, ...] | None = None

    @property
    def loss_weights(self) -> Tensor | None:
        """Weights of the classes as the loss takes them."""
        if self.class_weights is None:
            return None
        return torch.tensor(self.class_weights, device=self.device)


class StagedNetwork(nn.Module):
    """A network in one stage: pixels in, logits out, only what trains in training mode.

    Parameters
    ----------
    network : torch.nn.Module
    plan : TrainingPlan or None
        None for a network that is not to be trained.
    preprocessing : Preprocessing
    tail : torch.nn.Module, optional
        The part that takes cached features instead of images.
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
        self.register_buffer("scale", _column(preprocessing.std) * 255, persistent=False)
        self.register_buffer("offset", _column(preprocessing.mean) * 255, persistent=False)

    def forward(self, batch: Tensor) -> Tensor:
        """Logits ``(n, n_classes)`` of uint8 images, or of the cached features of a layer."""
        tail = self._tail[0]
        with name_network(type(self.network).__name__, "does not run", self.network):
            if tail is not None:  # Called, a graph prints an error of its own.
                logits: Tensor = tail.forward(batch)
                return logits
            logits = self.network((batch.float() - self.offset) / self.scale)
            return logits

    def train(self, mode: bool = True) -> StagedNetwork:
        """Set the modes of the stage rather than one for all modules."""
        super().train(False)
        self.training = mode
        if mode and self.plan is not None:
            self.plan.set_mode(self.network)
        return self


class ProgressNet(NeuralNet):
    """skorch's net with changed batches, mixed precision and a watched loss.

    Attributes
    ----------
    mix : callable, optional
        Inputs and targets of a batch -> both as they are trained on.
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
        with torch.autocast(
            torch.device(self.device).type, HALF.get(self.precision), enabled=self.is_half
        ):
            y_pred = self.infer(X.to(self.device), **fit_params)
            loss = self.get_loss(y_pred.float(), y.to(self.device), X=X, training=True)
        if not torch.isfinite(loss):
            raise TrainingError(self._diverged())
        loss.backward()
        return {"loss": loss, "y_pred": y_pred}

    @property
    def is_half(self) -> bool:
        """Whether products are in half precision."""
        return self.precision in HALF

    def _diverged(self) -> str:
        rate = max(group["lr"] for group in self.optimizer_.param_groups)
        half = ", precision='fp32'" if self.is_half else ""
        return (
            f"The loss is not finite in epoch {len(self.history)} (learning rate {rate:.3g}): try "
            f"a rate of {rate / 10:.1g}, a longer warmup{half}, or look for broken images."
        )


class _Net(ProgressNet, NeuralNetClassifier):
    """The same for classes."""


@phase("train network")
def run_stage(
    stage: Stage,
    staged: StagedNetwork,
    train: Dataset[Any],
    valid: Dataset[Any] | None,
    settings: LoopSettings,
    *,
    mix: Any = None,
    checkpoint: Checkpointer | None = None,
    progress: ProgressCallback | None = None,
) -> list[dict[str, Any]]:
    """Train one stage, from where a checkpoint of it left off.

    Returns
    -------
    list of dict
        ``epoch``, ``train_loss``, ``valid_loss``, ``valid_acc``, ``dur`` of each epoch.

    Raises
    ------
    TrainingError
        If the loss is not finite.
    KeyboardInterrupt
        If the user stops the run; its checkpoint stays.
    """
    stage.plan.apply(staged.network)
    staged.to(settings.device)
    n_images = len(train)  # type: ignore[arg-type]
    drops_last = n_images % settings.batch_size == 1 and _has_live_norm(stage.plan, staged.network)
    n_images -= int(drops_last)
    callbacks: list[Any] = [
        ("seeds", SeedEachEpoch(settings.random_state, stage.name)),
        ("rates", ScheduleRates(settings, stage.n_epochs, n_images)),
    ]
    stopping = None
    if valid is not None:
        patience = settings.patience or stage.n_epochs + 1
        stopping = EarlyStopping("valid_loss", patience, load_best=True, sink=_silent)
        callbacks.append(("stopping", stopping))
    if checkpoint is not None:
        keep = KeepEachEpoch(checkpoint, staged.network, stage.name, stage.n_epochs, stopping)
        callbacks.append(("checkpoint", keep))
    told = progress or ProgressCallback()
    callbacks.append(("tell", ReportProgress(told, stage.name, stage.n_epochs, n_images)))
    net = _make_net(stage, staged, valid, settings, callbacks)
    net.set_params(iterator_train__drop_last=drops_last)
    net.mix = None if mix is None else mix.forward  # skorch takes a module for one to train.
    net.precision = settings.precision
    with warnings.catch_warnings(), torch.random.fork_rng(devices=devices_of(settings.device)):
        warnings.filterwarnings("ignore", module="skorch")
        net.initialize()
        net.partial_fit(train, None)
    check_ended(net, stage.n_epochs, stopping)
    staged.train(False)
    return [scalars(row) for row in net.history]


def _has_live_norm(plan: TrainingPlan, network: nn.Module) -> bool:
    """Whether batch norm is in training mode, which has no variance of a batch of one image."""
    modules = network.named_modules()
    return any(path in plan.live and isinstance(module, _BatchNorm) for path, module in modules)


def _derive_seed(random_state: int, stage: str, epoch: int) -> int:
    """Seed of an epoch, the same however the run came to it.

    Examples
    --------
    >>> _derive_seed(0, "head", 1) == _derive_seed(0, "head", 1) != _derive_seed(0, "head", 2)
    True
    """
    text = f"{random_state}:{stage}:{epoch}".encode()
    return int.from_bytes(blake2b(text, digest_size=7).digest(), "big")


def _rate_factor(step: float, n_steps: int, n_warmup: float, schedule: str) -> float:
    """What the learning rate is multiplied by at a step.

    Examples
    --------
    >>> [round(_rate_factor(s, 10, 2, "cosine"), 2) for s in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.04]
    """
    if step < n_warmup:
        return min(1.0, (step + 1) / n_warmup)
    if schedule == "constant":
        return 1.0
    done = (step - n_warmup) / max(1.0, n_steps - n_warmup)
    return 0.5 * (1 + math.cos(math.pi * done))


def _column(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values)[:, None, None]


def _silent(*_: Any, **__: Any) -> None:
    """Where skorch's messages go: featx has its own."""


def devices_of(device: torch.device) -> list[int]:
    """Accelerators whose random state a run must put back."""
    return [device.index or 0] if device.type == "cuda" else []


def _make_net(
    stage: Stage,
    staged: StagedNetwork,
    valid: Dataset[Any] | None,
    settings: LoopSettings,
    callbacks: list[Any],
) -> _Net:
    def make_optimizer(_: Any, **more: Any) -> torch.optim.Optimizer:
        groups = stage.plan.groups(staged.network)
        for group in groups:
            group["peak"] = group["lr"]
        more["weight_decay"] = settings.weight_decay
        return OPTIMIZERS[settings.optimizer](groups, **more)

    return _Net(
        staged,
        criterion=nn.CrossEntropyLoss,
        criterion__weight=settings.loss_weights,
        optimizer=make_optimizer,
        classes=list(range(settings.n_classes)),
        max_epochs=stage.n_epochs,
        batch_size=settings.batch_size,
        iterator_train__shuffle=True,
        train_split=None if valid is None else predefined_split(valid),
        callbacks=callbacks,
        callbacks__print_log=None,
        device=settings.device,
        verbose=0,
    )


def check_ended(net: NeuralNet, n_epochs: int, stopping: Any = None) -> None:
    """Tell a run that ended from one that the user stopped, which skorch takes for an end.

    Raises
    ------
    KeyboardInterrupt
    """
    has_stopped = stopping is not None and stopping.misses_ >= stopping.patience
    if len(net.history) < n_epochs and not has_stopped:
        raise KeyboardInterrupt


class SeedEachEpoch(Callback):
    """Random state of each epoch from the seed, the stage and the epoch's number.

    Parameters
    ----------
    random_state : int
    stage : str
    """

    def __init__(self, random_state: int, stage: str) -> None:
        self.random_state = random_state
        self.stage = stage

    def on_epoch_begin(self, net: Any, **_: Any) -> None:
        """Set the seed."""
        torch.manual_seed(_derive_seed(self.random_state, self.stage, len(net.history)))


class ScheduleRates(Callback):
    """Warm-up, then a cosine or nothing, by the step; a function of the step alone.

    Parameters
    ----------
    settings : LoopSettings
    n_epochs : int
    n_images : int
        To train on.
    """

    def __init__(self, settings: LoopSettings, n_epochs: int, n_images: int) -> None:
        self.settings = settings
        self.n_batches = math.ceil(n_images / settings.batch_size)
        self.n_epochs = n_epochs

    def on_batch_begin(self, net: Any, batch: Any = None, training: bool = False, **_: Any) -> None:
        """Set the rate of each group."""
        if not training:
            return
        n = self.n_batches
        step = (len(net.history) - 1) * n + len(net.history[-1]["batches"]) - 1
        warmup = min(self.settings.warmup, self.n_epochs / 2) * n
        factor = _rate_factor(step, self.n_epochs * n, warmup, self.settings.schedule)
        for group in net.optimizer_.param_groups:
            group["lr"] = group["peak"] * factor


class ReportProgress(Callback):
    """Tell how far a stage is, and each epoch's numbers.

    Parameters
    ----------
    progress : ProgressCallback
    stage : str
    n_epochs, n_images : int
    """

    def __init__(
        self, progress: ProgressCallback, stage: str, n_epochs: int, n_images: int
    ) -> None:
        self.progress = progress
        self.stage = stage
        self.n_epochs = n_epochs
        self.n_images = n_images

    def on_train_begin(self, net: Any, **_: Any) -> None:
        """Tell how long the stage is, and what is behind."""
        self.progress.train(self.stage, self.n_epochs * self.n_images)
        self._left = self.n_epochs * self.n_images
        self._advance(len(net.history) * self.n_images)

    def on_train_end(self, net: Any, **_: Any) -> None:
        """Early stopping leaves nothing to wait for."""
        self._advance(self._left)

    def _advance(self, n_images: int) -> None:
        self._left -= n_images
        self.progress.advance(n_images)

    def on_batch_end(self, net: Any, batch: Any = None, training: bool = False, **_: Any) -> None:
        """Move on."""
        if training:
            self._advance(len(batch[0]))

    def on_epoch_end(self, net: Any, **_: Any) -> None:
        """Tell its numbers."""
        row = net.history[-1]
        text = f"{self.stage} {row['epoch']}/{self.n_epochs}: train loss {row['train_loss']:.4f}"
        if "valid_loss" in row:
            text += f", valid loss {row['valid_loss']:.4f}"
        if "valid_acc" in row:
            text += f", accuracy {row['valid_acc']:.3f}"
        self.progress.note(f"{text}, {row['dur']:.1f} s")
