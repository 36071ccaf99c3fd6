"""A run's state on disk after each epoch: after a kill it goes on to the same weights.

One file, replaced as a whole: skorch's own checkpoint writes four one after another, and a kill
between them mixes epochs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import nn

from featx._files import atomic_write, to_plain
from featx.errors import TrainingError
from featx.finetuning.freeze_check import Checksums

_CHECKPOINT = "checkpoint.pt"
_NUMBERS = (int, float, np.number, np.bool_)


class Checkpointer:
    """The checkpoint of a run: a file in a folder, replaced as a whole after each epoch.

    Parameters
    ----------
    folder : path
    key : str
        Digest of everything that decides the run: another run's checkpoint is refused.

    Attributes
    ----------
    seconds : float
        Of the epochs that are behind.
    """

    def __init__(self, folder: str | os.PathLike[str], key: str) -> None:
        self.file = Path(folder) / _CHECKPOINT
        self.key = key
        self.begun: dict[str, Any] = {}
        self.state: dict[str, Any] = {}
        if self.file.is_file():
            self.state = self._read()
        finished = [
            row for known in self.state.get("finished", {}).values() for row in known["rows"]
        ]
        self.seconds = sum(row["dur"] for row in finished + self.state.get("history", []))

    def write(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint, all or nothing.

        Raises
        ------
        TrainingError
            If it cannot be written.
        """
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(self.file) as temporary, temporary.open("wb") as file:
                torch.save({**state, "key": self.key}, file)
        except OSError as error:
            raise TrainingError(f"Cannot write {self.file}: {error.strerror}.") from error

    def of_stage(self, name: str) -> dict[str, Any]:
        """What was kept of a stage; empty where the run has not been there."""
        return self.state if self.state.get("stage") == name else {}

    def checksums(self, stage: str, now: Checksums) -> Checksums:
        """The witness that was taken when a stage began: `now` unless the run was there before."""
        kept = self.of_stage(stage).get("witness")
        found = Checksums(**kept) if kept else now
        self.begun = asdict(found)
        return found

    def finished(self, name: str) -> dict[str, Any] | None:
        """What is known of a stage that is behind; None where it is not."""
        found: dict[str, Any] | None = self.state.get("finished", {}).get(name)
        return found

    def finish(self, name: str, network: nn.Module, known: dict[str, Any]) -> None:
        """Keep the weights that a stage ended with, and what is known of it."""
        finished = {**self.state.get("finished", {}), name: known}
        self.state = {"network": network.state_dict(), "finished": finished}
        self.write(self.state)

    def remove(self) -> None:
        """Forget a run that has ended."""
        self.file.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = torch.load(self.file, weights_only=True, map_location="cpu")
            _ = state["key"], state.get("finished")
        except Exception as error:  # Unpickling may fail in any way.
            raise TrainingError(
                f"Checkpoint {self.file} cannot be read; remove it to begin again."
            ) from error
        if state.get("key") != self.key:
            raise TrainingError(
                f"Checkpoint {self.file} is of a run with other images or settings; remove it, "
                "or name another folder."
            )
        return state


def remove_checkpoints(folders: Iterable[str | os.PathLike[str]]) -> None:
    """Remove the checkpoints in some folders, and those of the folders that are empty then.

    Parameters
    ----------
    folders : iterable of path
    """
    for folder in map(Path, folders):
        (folder / _CHECKPOINT).unlink(missing_ok=True)
        with suppress(OSError):  # There are files of the user, or there is no such folder.
            folder.rmdir()


class KeepEachEpoch(Callback):
    """Write a checkpoint after each epoch, and begin from the one that is there.

    Parameters
    ----------
    checkpoint : Checkpointer
    network : torch.nn.Module
        What is kept.
    stage : str
    n_epochs : int
    stopping : skorch.callbacks.EarlyStopping, optional
    """

    def __init__(
        self,
        checkpoint: Checkpointer,
        network: nn.Module,
        stage: str,
        n_epochs: int,
        stopping: Any = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.network = network
        self.stage = stage
        self.n_epochs = n_epochs
        self.stopping = stopping

    def on_train_begin(self, net: Any, **_: Any) -> None:
        """Take up what is there."""
        kept = self.checkpoint.of_stage(self.stage)
        if not kept:
            return
        self.network.load_state_dict(kept["network"])
        net.optimizer_.load_state_dict(kept["optimizer"])
        for row in kept["history"]:
            net.history.new_epoch()
            for name, value in row.items():
                net.history.record(name, value)
        net.max_epochs = self.n_epochs - len(net.history)
        if self.stopping is not None:
            vars(self.stopping).update(kept["stopping"])
            if self.stopping.misses_ >= self.stopping.patience:
                net.max_epochs = 0

    def on_epoch_end(self, net: Any, **_: Any) -> None:
        """Write."""
        self.checkpoint.write(
            {
                "stage": self.stage,
                "witness": self.checkpoint.begun,
                "finished": self.checkpoint.state.get("finished", {}),
                "network": self.network.state_dict(),
                "optimizer": net.optimizer_.state_dict(),
                "history": [scalars(row) for row in net.history],
                "stopping": {} if self.stopping is None else _stopping_state(self.stopping),
            }
        )


def scalars(row: Any) -> dict[str, Any]:
    """Numbers of an epoch, as Python has them: NumPy's would not be read back."""
    found = {key: value for key, value in row.items() if isinstance(value, _NUMBERS)}
    return dict(to_plain(found))


def _stopping_state(stopping: Any) -> dict[str, Any]:
    """What early stopping remembers from epoch to epoch; the weights stay tensors."""
    known = vars(stopping)
    names = ("misses_", "dynamic_threshold_", "best_epoch_")
    numbers = to_plain({name: known[name] for name in names if name in known})
    weights = {name: known[name] for name in ("best_model_weights_",) if name in known}
    return {**numbers, **weights}
