"""Checkpoints: the state of a run on disk after each epoch, from which it resumes after a kill.

One file, replaced as a whole: skorch's own checkpoint writes four files one after another, and a
kill between them mixes epochs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from skorch.callbacks import Callback, EarlyStopping
from torch import nn

from featx._files import atomic_write, to_plain
from featx._fingerprints import fingerprint
from featx.data.images import Images
from featx.errors import TrainingError
from featx.finetuning.freeze_check import Checksums, FreezeCheck
from featx.networks.module_state import state_digest

_CHECKPOINT = "checkpoint.pt"
_NUMBERS = (int, float, np.number, np.bool_)


class Checkpointer:
    """The checkpoint of a run: a file in a folder, replaced as a whole after each epoch.

    Parameters
    ----------
    folder : path or None
        None saves nothing.
    network : torch.nn.Module
        The network whose weights are saved.
    key : str
        Digest of everything that determines the run: the checkpoint of another run is refused.

    Attributes
    ----------
    state : dict
        Content of the file; empty if there is none.
    seconds : float
        Training time of the saved epochs.
    """

    def __init__(
        self, folder: str | os.PathLike[str] | None, network: nn.Module, key: str = ""
    ) -> None:
        self.file = None if folder is None else Path(folder) / _CHECKPOINT
        self.network = network
        self.key = key
        self.state = self._read(self.file) if self.file and self.file.is_file() else {}
        stages = self.state.get("finished", {}).values()
        rows = [row for stage in stages for row in stage["rows"]] + self.state.get("history", [])
        self.seconds = float(sum(row["dur"] for row in rows))

    @classmethod
    def of_run(
        cls,
        folder: str | os.PathLike[str] | None,
        network: nn.Module,
        images: Sequence[Images],
        settings: Any,
    ) -> Self:
        """The checkpoint of exactly this run: these weights, images and settings."""
        if folder is None:
            return cls(None, network)
        digests = [[part.digest(i) for i in range(len(part))] for part in images]
        readings = [part.reading.settings() for part in images]
        return cls(
            folder, network, fingerprint([settings, state_digest(network), digests, readings])
        )

    def of_stage(self, stage: str) -> dict[str, Any]:
        """State within a stage; empty if the checkpoint is of another stage."""
        return self.state if self.state.get("stage") == stage else {}

    def restore_finished(self, stage: str) -> tuple[list[dict[str, Any]], FreezeCheck] | None:
        """Load the weights after a finished stage; its epochs and freeze check, else None."""
        finished = self.state.get("finished", {}).get(stage)
        if finished is None:
            return None
        self.network.load_state_dict(self.state["network"])
        return finished["rows"], FreezeCheck(**finished["freeze_check"])

    def initial_checksums(self, stage: str, updated: Iterable[str]) -> Checksums:
        """Checksums from the start of a stage: those saved, or those of the network now."""
        saved = self.of_stage(stage).get("checksums")
        checksums = Checksums(**saved) if saved else Checksums.of(self.network, updated=updated)
        self._checksums = asdict(checksums)
        return checksums

    def save_epoch(self, stage: str, **state: Any) -> None:
        """Save the state after an epoch of a stage."""
        checksums = getattr(self, "_checksums", {})
        self._write({**state, "stage": stage, "checksums": checksums, **self._finished()})

    def save_finished(
        self, stage: str, rows: list[dict[str, Any]], freeze_check: FreezeCheck
    ) -> None:
        """Save the weights after a stage, its epochs and its freeze check."""
        finished = self.state.get("finished", {})
        result = {"rows": rows, "freeze_check": asdict(freeze_check)}
        self.state = {"finished": {**finished, stage: result}}
        self._write(self._finished())

    def remove(self) -> None:
        """Remove the checkpoint of a run that has ended."""
        if self.file is not None:
            self.file.unlink(missing_ok=True)

    def _finished(self) -> dict[str, Any]:
        return {"finished": self.state.get("finished", {})}

    def _write(self, state: dict[str, Any]) -> None:
        """Replace the file, all or nothing.

        Raises
        ------
        TrainingError
            If it cannot be written.
        """
        if self.file is None:
            return
        state = {**state, "network": self.network.state_dict(), "key": self.key}
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(self.file) as temporary, temporary.open("wb") as file:
                torch.save(state, file)
        except OSError as error:
            raise TrainingError(f"Cannot write {self.file}: {error.strerror}.") from error

    def _read(self, file: Path) -> dict[str, Any]:
        try:
            state: dict[str, Any] = torch.load(file, weights_only=True, map_location="cpu")
            _ = state["key"], state.get("finished")
        except Exception as error:  # Unpickling may fail in any way.
            raise TrainingError(
                f"Checkpoint {file} cannot be read; remove it to start again."
            ) from error
        if state.get("key") != self.key:
            raise TrainingError(
                f"Checkpoint {file} belongs to a run with other images or settings; remove "
                "it, or name another folder."
            )
        return state


def remove_checkpoints(folders: Iterable[str | os.PathLike[str]]) -> None:
    """Remove the checkpoints in some folders, and the folders that are then empty.

    Parameters
    ----------
    folders : iterable of path
    """
    for folder in map(Path, folders):
        (folder / _CHECKPOINT).unlink(missing_ok=True)
        with suppress(OSError):  # Files of the user are in it, or it does not exist.
            folder.rmdir()


class SaveEachEpoch(Callback):
    """Save a checkpoint after each epoch, and start from one that exists.

    Parameters
    ----------
    checkpoint : Checkpointer
    stage : str
    n_epochs : int
    stopping : skorch.callbacks.EarlyStopping, optional
    """

    def __init__(
        self,
        checkpoint: Checkpointer,
        stage: str,
        n_epochs: int,
        stopping: EarlyStopping | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.stage = stage
        self.n_epochs = n_epochs
        self.stopping = stopping

    def on_train_begin(self, net: Any, **_: Any) -> None:
        """Restore weights, optimizer, history and early stopping."""
        saved = self.checkpoint.of_stage(self.stage)
        if not saved:
            return
        self.checkpoint.network.load_state_dict(saved["network"])
        net.optimizer_.load_state_dict(saved["optimizer"])
        for row in saved["history"]:
            net.history.new_epoch()
            for name, value in row.items():
                net.history.record(name, value)
        net.max_epochs = self.n_epochs - len(net.history)
        if self.stopping is not None:
            vars(self.stopping).update(saved["stopping"])
            if self.stopping.misses_ >= self.stopping.patience:
                net.max_epochs = 0

    def on_epoch_end(self, net: Any, **_: Any) -> None:
        """Save the epoch."""
        self.checkpoint.save_epoch(
            self.stage,
            optimizer=net.optimizer_.state_dict(),
            history=[scalars(row) for row in net.history],
            stopping={} if self.stopping is None else _stopping_state(self.stopping),
        )


def scalars(row: Any) -> dict[str, Any]:
    """Numbers of an epoch as Python's own: NumPy's are not read back from a file."""
    return dict(to_plain({key: value for key, value in row.items() if isinstance(value, _NUMBERS)}))


def _stopping_state(stopping: EarlyStopping) -> dict[str, Any]:
    """State of early stopping between epochs; the best weights stay tensors."""
    state = vars(stopping)
    names = ("misses_", "dynamic_threshold_", "best_epoch_")
    numbers = to_plain({name: state[name] for name in names if name in state})
    weights = {name: state[name] for name in ("best_model_weights_",) if name in state}
    return {**numbers, **weights}
