"""Networks that ``featx finetune`` saved in a folder."""

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
"""What a model's folder holds: what it is, and its weights."""

DIGEST_KEY = "weights_file"
"""Entry of ``model.json`` with the digest of the weights that it was written with."""


class FolderSource(Source):
    """A folder with ``model.json`` and ``weights.safetensors``, as ``featx finetune`` writes it.

    ``model.json`` names the network that the weights fit (``model``), and what an image goes
    through (``preprocessing``), with ``n_classes`` of its head, or the ``replacements`` that made
    it (see `featx.networks.head_replacement.replace_modules`).

    Parameters
    ----------
    name : str
        The folder.
    resolve : callable
        Gives the source of the network that ``model.json`` names.
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
        # Nothing reads the file again, so that what is checked here is what is built later.
        check_trusted(self.card["model"], card_file, trust)
        self._resolve = resolve

    @property
    def identity(self) -> str:
        """The network that the folder's weights are for."""
        done = f":{fingerprint(self.replacements)}" if self.replacements else ""
        own = self._own
        model = self.card["model"] if own is None else own.identity
        return f"folder:{model}:{self.card.get('n_classes')}{done}"

    @property
    def unseen(self) -> tuple[str, ...]:
        """What the network's own identity cannot see."""
        return () if self._own is None else self._own.unseen

    @cached_property
    def _own(self) -> ModuleSource | None:
        """The source of a network of the user's own, whose code is no library's."""
        with _card_errors(self.folder / FOLDER_FILES[0]):
            source = self._resolve(self.card["model"]) if ":" in self.card["model"] else None
        return source if isinstance(source, ModuleSource) else None

    @property
    def replacements(self) -> list[dict[str, Any]]:
        """Modules replaced in the network that the folder names, in order."""
        with _card_errors(self.folder / FOLDER_FILES[0]):
            return list(self.card.get("replacements", ()))

    def options(self, preprocessing: Preprocessing) -> dict[str, Any]:
        """What the network that the folder names is built with."""
        with _card_errors(self.folder / FOLDER_FILES[0]):
            source = self._resolve(self.card["model"])
            options = source.options(preprocessing)
            is_own_size = preprocessing.crop == source.preprocessing().crop
            return options if is_own_size else dict(source.resized(options, preprocessing))

    def resized(
        self, options: Mapping[str, Any], preprocessing: Preprocessing
    ) -> Mapping[str, Any]:
        """What the network that the folder names is built with for images of another size."""
        return self.options(preprocessing)

    def build(self, weights: Weights) -> nn.Module:
        """The network, with a head for the folder's classes."""
        with _card_errors(self.folder / FOLDER_FILES[0]):
            return self._build(weights)

    def _build(self, weights: Weights) -> nn.Module:
        network = self._resolve(self.card["model"]).build(weights)
        if self.replacements:
            return replace_modules(network, self.replacements)
        n_classes = self.card.get("n_classes")
        return replace_head(network, n_classes) if n_classes else network

    def weights(self, weights: str | os.PathLike[str]) -> Weights:
        """Weights as asked for; random ones of a network of the user's own are as it draws them."""
        found = super().weights(weights)
        if found.name != RANDOM or self._own is None:
            return found
        return replace(found, digest=self._own.weights(RANDOM).digest)

    def published(self, weights: str) -> Weights:
        """The folder's weights."""
        if weights != DEFAULT:
            raise WeightsError(f"{self.name} has no weights {weights!r}; it has its own.")
        chosen = self.of_file(str(self.folder / FOLDER_FILES[1]))
        if not _belongs_to(self.card, chosen.digest):  # Replaced since the card was read.
            raise _mixed(self.folder)
        return chosen

    def preprocessing(self) -> Preprocessing:
        """What ``model.json`` says, else ImageNet's."""
        with _card_errors(self.folder / FOLDER_FILES[0]):
            return _preprocessing(self.card.get("preprocessing"))


@contextmanager
def _card_errors(file: Path) -> Iterator[None]:
    """Whatever the values of a card raise as a `ModelError` of one line."""
    try:
        yield
    except FeatxError:
        raise
    except Exception as error:  # A card may say anything: sizes without end, its own folder.
        raise ModelError(f"{file} is damaged: {one_line(error)[:200]}.") from error


def is_saved_folder(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder has a card, or its writer was killed just before it had."""
    card, weights = (Path(folder) / name for name in FOLDER_FILES)  # Files: no pipe ever ends.
    return card.is_file() or (weights.is_file() and any(it.is_file() for it in versions(card)))


def read_card(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What ``model.json`` of a folder says.

    Raises
    ------
    ModelError
        If there is none, or it names no classes.
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
            f"{folder} is no folder that `featx finetune` wrote: {file.name} is missing or names "
            "no classes."
        ) from error
    return card


def check_unchanged(folder: str | os.PathLike[str], card: Mapping[str, Any]) -> None:
    """Refuse results of a folder that was written anew since its card was read.

    Raises
    ------
    ModelError
    """
    if read_card(folder) != card:
        raise ModelError(f"{folder} was written anew while it was read; run again.")


def _read_network_card(folder: Path) -> dict[str, Any]:
    """What a card holds: a JSON object that names a network."""
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
    """The card that was written with the weights; of a killed writer, one not renamed yet."""
    card_file, weights_file = (folder / name for name in FOLDER_FILES)
    for wait_s in (0.0, 0.01, 0.1):  # For a writer that is between two renames.
        time.sleep(wait_s)
        digest = file_digest(weights_file) if weights_file.is_file() else None
        cards = [_try_card(file) for file in versions(card_file)]
        for card in cards:
            if digest is not None and card.get(DIGEST_KEY) == digest:
                return card
        if DIGEST_KEY not in cards[0] or digest is None:
            return json.loads(card_file.read_text("utf-8"))  # One made by hand, or damaged.
    raise _mixed(folder)


def _try_card(file: Path) -> dict[str, Any]:
    """What a card says; nothing if it is half of one."""
    try:
        card = json.loads(file.read_text("utf-8")) if file.is_file() else None
    except (OSError, ValueError, RecursionError):
        card = None
    return card if isinstance(card, dict) else {}


def _belongs_to(card: Mapping[str, Any], digest: str) -> bool:
    """Whether weights are those that a card was written with; one made by hand says nothing."""
    return DIGEST_KEY not in card or f"file:{card[DIGEST_KEY]}" == digest


def _mixed(folder: Path) -> ModelError:
    card, weights = FOLDER_FILES
    return ModelError(
        f"{card} and {weights} in {folder} were not written together, or one was changed since; "
        "train again, or take both files from one copy."
    )
