"""Networks that ``featx finetune`` saved in a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from featx._fingerprints import fingerprint
from featx.errors import FeatxError, ModelError, WeightsError, one_line
from featx.networks.head_replacement import operate, replace_head
from featx.networks.preprocessing import Preprocessing
from featx.networks.sources.base import (
    DEFAULT,
    RANDOM,
    Source,
    Weights,
    _preprocessing,
)
from featx.networks.sources.local import ModuleSource
from featx.trust.callables import Trust, check_trusted

FOLDER_FILES = ("model.json", "weights.safetensors")
"""What a model's folder holds: what it is, and its weights."""


class FolderSource(Source):
    """A folder with ``model.json`` and ``weights.safetensors``, as ``featx finetune`` writes it.

    ``model.json`` names the network that the weights fit (``model``), and what a picture goes
    through (``preprocessing``), with ``n_classes`` of its head, or the ``surgeries`` that made
    it (see `featx.networks.head_replacement.operate`).

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
        self.card = _read_network_card(card_file)
        # Nothing reads the file again, so that what is checked here is what is built later.
        check_trusted(self.card["model"], card_file, trust)
        self._resolve = resolve

    @property
    def identity(self) -> str:
        """The network that the folder's weights are for."""
        done = f":{fingerprint(self.surgeries)}" if self.surgeries else ""
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
    def surgeries(self) -> list[dict[str, Any]]:
        """What was done to the network that the folder names, in order."""
        with _card_errors(self.folder / FOLDER_FILES[0]):
            return list(self.card.get("surgeries", ()))

    def options(self, preprocessing: Preprocessing) -> dict[str, Any]:
        """What the network that the folder names is built with."""
        with _card_errors(self.folder / FOLDER_FILES[0]):
            return self._resolve(self.card["model"]).options(preprocessing)

    def build(self, weights: Weights) -> nn.Module:
        """The network, with a head for the folder's classes."""
        with _card_errors(self.folder / FOLDER_FILES[0]):
            return self._build(weights)

    def _build(self, weights: Weights) -> nn.Module:
        network = self._resolve(self.card["model"]).build(weights)
        if self.surgeries:
            return operate(network, self.surgeries)
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
        return self.of_file(str(self.folder / FOLDER_FILES[1]))

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


def read_card(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What ``model.json`` of a folder says.

    Raises
    ------
    ModelError
        If there is none, or it names no classes.
    """
    file = Path(folder) / FOLDER_FILES[0]
    try:
        if not file.is_file():  # A pipe would be waited for without end.
            raise FileNotFoundError(file)
        card: dict[str, Any] = json.loads(file.read_text("utf-8"))
        card["classes"] = list(card["classes"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(
            f"{folder} is no folder that `featx finetune` wrote: {file.name} is missing or names "
            "no classes."
        ) from error
    return card


def _read_network_card(file: Path) -> dict[str, Any]:
    """What a card holds: a JSON object that names a network."""
    try:
        card: Any = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {one_line(error)}.") from error
    except (ValueError, RecursionError):
        card = None
    if not isinstance(card, dict) or not isinstance(card.get("model"), str):
        raise ModelError(f"{file} is damaged: expected a JSON object that names its 'model'.")
    return card
