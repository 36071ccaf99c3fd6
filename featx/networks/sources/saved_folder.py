"""Networks that ``featx finetune`` has saved in a folder."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from featx._files import versions
from featx._fingerprints import fingerprint
from featx.errors import FeatxError, ModelError, WeightsError, one_line
from featx.networks.head_replacement import replace_head, replace_modules
from featx.networks.preprocessing import Preprocessing
from featx.networks.sources.base import (
    DEFAULT,
    RANDOM,
    Source,
    Weights,
    _preprocessing,
)
from featx.networks.sources.local import ModuleSource
from featx.networks.weights import file_digest
from featx.trust.callables import Trust, check_trusted

FOLDER_FILES = ("model.json", "weights.safetensors")
"""Files of a model folder: the model card, and the weights."""

DIGEST_KEY = "weights_file"
"""Key in ``model.json`` of the digest of the weights with which it was written."""


class FolderSource(Source):
    """A folder with ``model.json`` and ``weights.safetensors``, as written by ``featx finetune``.

    ``model.json`` names the original network (``model``), its ``preprocessing``, and either the
    ``n_classes`` of its new head or the ``replacements`` made in it (see
    `featx.networks.head_replacement.replace_modules`).

    Parameters
    ----------
    name : str
        The folder.
    resolve : callable
        Returns the source of the network that ``model.json`` names.
    trust : path, str, or sequence of these, optional
        As in `featx.trust.callables.check_trusted`.

    Raises
    ------
    ModelError
        If ``model.json`` cannot be read, names no network, or names code that is not trusted.
    """

    def __init__(self, name: str, *, resolve: Callable[[str], Source], trust: Trust = None) -> None:
        super().__init__(name)
        self.folder = Path(name).expanduser()
        card_file = self.folder / FOLDER_FILES[0]
        self.card = _read_network_card(self.folder)
        # The card is not read again, so that what is checked here is what is built later.
        check_trusted(self.card["model"], card_file, trust)
        self._resolve = resolve

    @property
    def identity(self) -> str:
        """Identity of the original network, and the replacements made in it."""
        suffix = f":{fingerprint(self.replacements)}" if self.replacements else ""
        own = self._own_source
        model = self.card["model"] if own is None else own.identity
        return f"folder:{model}:{self.card.get('n_classes')}{suffix}"

    @property
    def unseen(self) -> tuple[str, ...]:
        """Parts of the user's own network that cannot be read."""
        return () if self._own_source is None else self._own_source.unseen

    @cached_property
    def _own_source(self) -> ModuleSource | None:
        """Source of the original network if that is the user's own code; None for a library's."""
        with _card_errors(self.folder / FOLDER_FILES[0]):
            source = self._resolve(self.card["model"]) if ":" in self.card["model"] else None
        return source if isinstance(source, ModuleSource) else None

    @property
    def replacements(self) -> list[dict[str, Any]]:
        """Replacements made in the original network, in order."""
        with _card_errors(self.folder / FOLDER_FILES[0]):
            return list(self.card.get("replacements", ()))

    def options(self, preprocessing: Preprocessing) -> dict[str, Any]:
        """Arguments for building the original network."""
        with _card_errors(self.folder / FOLDER_FILES[0]):
            source = self._resolve(self.card["model"])
            options = source.options(preprocessing)
            is_own_size = preprocessing.crop == source.preprocessing().crop
            return options if is_own_size else dict(source.resized(options, preprocessing))

    def resized(
        self, options: Mapping[str, Any], preprocessing: Preprocessing
    ) -> Mapping[str, Any]:
        """Arguments for building the original network for images of another size."""
        return self.options(preprocessing)

    def build(self, weights: Weights) -> nn.Module:
        """Build the network, with its replacements or a head for its classes."""
        with _card_errors(self.folder / FOLDER_FILES[0]):
            return self._build(weights)

    def _build(self, weights: Weights) -> nn.Module:
        network = self._resolve(self.card["model"]).build(weights)
        if self.replacements:
            return replace_modules(network, self.replacements)
        n_classes = self.card.get("n_classes")
        return replace_head(network, n_classes) if n_classes else network

    def weights(self, weights: str | os.PathLike[str]) -> Weights:
        """Return the weights; random ones of the user's own network depend on its weights."""
        chosen = super().weights(weights)
        if chosen.name != RANDOM or self._own_source is None:
            return chosen
        return replace(chosen, digest=self._own_source.weights(RANDOM).digest)

    def published(self, weights: str) -> Weights:
        """Return the folder's weights, for ``default``."""
        if weights != DEFAULT:
            raise WeightsError(
                f"{self.name} has no weights {weights!r}; use 'default' for its own."
            )
        chosen = self.of_file(str(self.folder / FOLDER_FILES[1]))
        if not _belongs_to(self.card, chosen.digest):  # Replaced since the card was read.
            raise _mismatch(self.folder)
        return chosen

    def preprocessing(self) -> Preprocessing:
        """Preprocessing of ``model.json``, else ImageNet's."""
        with _card_errors(self.folder / FOLDER_FILES[0]):
            return _preprocessing(self.card.get("preprocessing"))


@contextmanager
def _card_errors(file: Path) -> Iterator[None]:
    """Context that converts any exception caused by a card's values to a `ModelError`."""
    try:
        yield
    except FeatxError:
        raise
    except Exception as error:  # A card may contain anything: huge sizes, its own folder.
        raise ModelError(f"{file} is damaged: {one_line(error)[:200]}.") from error


def is_saved_folder(folder: str | os.PathLike[str]) -> bool:
    """Return whether a folder has a card, or its writer was killed just before renaming it."""
    card, weights = (Path(folder) / name for name in FOLDER_FILES)
    # Only regular files, since reading a pipe might never end.
    return card.is_file() or (weights.is_file() and any(it.is_file() for it in versions(card)))


def read_card(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the ``model.json`` of a folder.

    Raises
    ------
    ModelError
        If it is missing or names no classes.
    """
    file = Path(folder) / FOLDER_FILES[0]
    try:
        if not is_saved_folder(folder):
            raise FileNotFoundError(file)
        card = _read_matching_card(Path(folder))
        card["classes"] = list(card["classes"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(
            f"{folder} was not written by `featx finetune`: {file.name} is missing or names no "
            "classes."
        ) from error
    return card


def check_unchanged(folder: str | os.PathLike[str], card: Mapping[str, Any]) -> None:
    """Raise if a folder has been overwritten since its card was read.

    Raises
    ------
    ModelError
    """
    if read_card(folder) != card:
        raise ModelError(f"{folder} was overwritten while it was read; run again.")


def _read_network_card(folder: Path) -> dict[str, Any]:
    """Read a card, and check that it is a JSON object that names a network."""
    file = folder / FOLDER_FILES[0]
    try:
        card: Any = _read_matching_card(folder)
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {one_line(error)}.") from error
    except ModelError:
        raise
    except (ValueError, RecursionError):
        card = None
    if not isinstance(card, dict) or not isinstance(card.get("model"), str):
        raise ModelError(f"{file} is damaged: expected a JSON object that names its 'model'.")
    return card


def _read_matching_card(folder: Path) -> Any:
    """Read the card that was written with the weights.

    If the writer was killed, that may be the version of the card that it had not renamed yet.
    """
    card_file, weights_file = (folder / name for name in FOLDER_FILES)
    for wait_s in (0.0, 0.01, 0.1):  # A writer may be between its two renames.
        time.sleep(wait_s)
        digest = file_digest(weights_file) if weights_file.is_file() else None
        cards = [_try_card(file) for file in versions(card_file)]
        for card in cards:
            if digest is not None and card.get(DIGEST_KEY) == digest:
                return card
        if DIGEST_KEY not in cards[0] or digest is None:
            return json.loads(card_file.read_text("utf-8"))  # Written by hand, or damaged.
    raise _mismatch(folder)


def _try_card(file: Path) -> dict[str, Any]:
    """Read a card; return an empty dictionary if it is incomplete."""
    try:
        card = json.loads(file.read_text("utf-8")) if file.is_file() else None
    except (OSError, ValueError, RecursionError):
        card = None
    return card if isinstance(card, dict) else {}


def _belongs_to(card: Mapping[str, Any], digest: str) -> bool:
    """Whether a card was written with these weights; cards written by hand have no digest."""
    return DIGEST_KEY not in card or f"file:{card[DIGEST_KEY]}" == digest


def _mismatch(folder: Path) -> ModelError:
    card, weights = FOLDER_FILES
    return ModelError(
        f"{card} and {weights} in {folder} were not written together, or one was changed since; "
        "train again, or take both files from one copy."
    )
