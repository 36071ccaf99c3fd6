"""A fine-tuned network as a folder: weights, settings, class names, where it comes from."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import featx
from featx._files import is_empty, to_plain, write_together
from featx.errors import ModelError, TrainingError
from featx.finetuning.classifier import FineTunedClassifier
from featx.networks.sources.base import Source
from featx.networks.sources.local import ModuleSource
from featx.networks.sources.saved_folder import (
    DIGEST_KEY,
    FOLDER_FILES,
    FolderSource,
    is_saved_folder,
)
from featx.networks.weights import file_digest
from featx.process.phases import phase


@phase("write files")
def save_folder(
    classifier: FineTunedClassifier,
    folder: str | os.PathLike[str],
    *,
    provenance: dict[str, Any] | None = None,
    force: bool = False,
) -> Path:
    """Write a fitted classifier so that it is a model of its own.

    Parameters
    ----------
    classifier : FineTunedClassifier
    folder : path
        Gets ``model.json`` and ``weights.safetensors``. What `save_folder` wrote there before is
        replaced; any other folder that is not empty is refused.
    provenance : dict, optional
    force : bool, default=False
        Write into any folder.

    Raises
    ------
    TrainingError
        If the folder must not be written to, or cannot be.
    ModelError
        If the network cannot be built again from a name.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path = Path(folder)
    check_folder(path, force=force)
    card = _make_card(classifier) | {"provenance": provenance or {}}
    tensors = {
        name: tensor.detach().contiguous().clone()
        for name, tensor in classifier.network_.state_dict().items()
    }
    try:
        path.mkdir(parents=True, exist_ok=True)
        card_file, weights_file = (path / name for name in FOLDER_FILES)
        # The card says whose it is, so that the weights are the first of the two.
        with write_together(weights_file, card_file) as (weights, described):
            save_file(tensors, weights)
            plain = to_plain(card | {DIGEST_KEY: file_digest(weights)}, allow_nan=False)
            described.write_text(json.dumps(plain, indent=1, ensure_ascii=False), "utf-8")
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"Cannot write {path}: {error}.") from error
    return path


def check_folder(folder: str | os.PathLike[str], *, force: bool = False) -> None:
    """Refuse a folder that holds anything but a model of featx.

    Raises
    ------
    TrainingError
    """
    path = Path(folder)
    if force or not path.exists() or is_empty(path):
        return
    if not is_saved_folder(path):
        raise TrainingError(
            f"{path} is not a model of featx and not empty; name another folder, or --force."
        )


def _make_card(classifier: FineTunedClassifier) -> dict[str, Any]:
    """What ``model.json`` says.

    Raises
    ------
    ModelError
        If the network cannot be built again from a name.
    """
    free = ("model", "store", "checkpoint", "trust")
    weights = classifier.prepared_.plan.weights
    settings = {k: v for k, v in classifier.get_params(deep=False).items() if k not in free}
    return {
        "featx": featx.__version__,
        "model": find_root(classifier.prepared_.plan.source),
        "weights": {"name": weights.name, "digest": weights.digest},
        "replacements": classifier.replacements_,
        "n_classes": len(classifier.classes_),
        "classes": classifier.classes_.tolist(),
        "preprocessing": asdict(classifier.preprocessing_),
        "settings": {k: str(v) if isinstance(v, os.PathLike) else v for k, v in settings.items()},
        "notes": classifier.notes_,
        "history": classifier.history_,
    }


def find_root(source: Source) -> str:
    """Name that the network is built from, before any replacement.

    Raises
    ------
    ModelError
        If it has none.
    """
    if isinstance(source, FolderSource):
        return str(source.card["model"])
    if type(source) is ModuleSource:
        raise ModelError(
            f"A module object ({source.name}) cannot be built again from a folder; give the model "
            "as package.module:callable."
        )
    return source.name
