"""Saving of a fine-tuned network to a folder: weights, settings, class names, provenance."""

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
    """Save a fitted classifier as a model that featx can load.

    Parameters
    ----------
    classifier : FineTunedClassifier
    folder : path
        Folder for ``model.json`` and ``weights.safetensors``. An earlier model of featx in it is
        replaced; any other folder that is not empty is refused.
    provenance : dict, optional
    force : bool, default=False
        Whether to write into any folder.

    Raises
    ------
    TrainingError
        If the folder is refused or cannot be written.
    ModelError
        If the network cannot be rebuilt from a name.
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
        # The weights are written first: the card holds their digest.
        with write_together(weights_file, card_file) as (weights, description):
            save_file(tensors, weights)
            plain = to_plain(card | {DIGEST_KEY: file_digest(weights)}, allow_nan=False)
            description.write_text(json.dumps(plain, indent=1, ensure_ascii=False), "utf-8")
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"Cannot write {path}: {error}.") from error
    return path


def check_folder(folder: str | os.PathLike[str], *, force: bool = False) -> None:
    """Refuse a folder that is neither empty nor a model of featx.

    Raises
    ------
    TrainingError
    """
    path = Path(folder)
    if force or not path.exists() or is_empty(path):
        return
    if not is_saved_folder(path):
        raise TrainingError(
            f"{path} is neither empty nor a model of featx; name another folder, or use --force."
        )


def _make_card(classifier: FineTunedClassifier) -> dict[str, Any]:
    """Content of ``model.json``.

    Raises
    ------
    ModelError
        If the network cannot be rebuilt from a name.
    """
    omitted = ("model", "store", "checkpoint", "trust")
    weights = classifier.prepared_.config.weights
    settings = {k: v for k, v in classifier.get_params(deep=False).items() if k not in omitted}
    return {
        "featx": featx.__version__,
        "model": find_root(classifier.prepared_.config.source),
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
    """Name of the original network, before any replacement.

    Raises
    ------
    ModelError
        If it has none.
    """
    if isinstance(source, FolderSource):
        return str(source.card["model"])
    if type(source) is ModuleSource:
        raise ModelError(
            f"A module object ({source.name}) cannot be rebuilt from a folder; name the model as "
            "package.module:callable."
        )
    return source.name
