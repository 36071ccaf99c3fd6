"""Interface of model sources, which build networks and provide their weights."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from featx.errors import WeightsError
from featx.networks.preprocessing import Preprocessing, check_values
from featx.networks.weights import (
    State,
    file_digest,
    is_weights_file,
    read_state,
)

logger = logging.getLogger(__name__)

RANDOM_SEED = 0
DEFAULT, RANDOM = "default", "random"


@dataclass(frozen=True)
class Weights:
    """Weights of a network, with the preprocessing that they expect.

    Parameters
    ----------
    name : str
        Name for messages.
    digest : str
        Identifies their values in a fingerprint.
    preprocessing : Preprocessing
    read : callable, optional
        Returns their tensors; None for random weights and for those that the network is built with.
    options : mapping
        Arguments for building the network, so that the weights fit.
    url : str, default=""
        Where to download them.
    """

    name: str
    digest: str
    preprocessing: Preprocessing
    read: Callable[[], State] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    url: str = ""


class Source(ABC):
    """A model source: builds a network and provides its weights.

    Parameters
    ----------
    name : str
        Name of the network, as the user wrote it.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def identity(self) -> str:
        """Identifies the network's code in a fingerprint."""
        return self.name

    @property
    def unseen(self) -> tuple[str, ...]:
        """Parts of the network that `identity` cannot cover; if there are any, no row is stored."""
        return ()

    @abstractmethod
    def build(self, weights: Weights) -> nn.Module:
        """Build the network, with the parameters that its constructor sets."""

    @abstractmethod
    def published(self, weights: str) -> Weights:
        """Return published weights by name; ``default`` means the source's default weights."""

    def of_file(self, path: str) -> Weights:
        """Return the weights of a file."""
        digest = file_digest(path)

        def read() -> State:
            state = read_state(path)
            if file_digest(path) != digest:  # Rows would be stored under the old file's digest.
                raise WeightsError(f"Weights file {path} changed while it was read; run again.")
            return state

        return Weights(
            name=path,
            digest=f"file:{digest}",
            preprocessing=self.preprocessing(),
            read=read,
            options=self.options(self.preprocessing()),
        )

    def options(self, preprocessing: Preprocessing) -> dict[str, Any]:
        """Arguments for building the network so that it accepts images of its default size."""
        return {}

    def resized(
        self, options: Mapping[str, Any], preprocessing: Preprocessing
    ) -> Mapping[str, Any]:
        """Arguments for building the network so that it accepts images of another size."""
        return options

    def preprocessing(self) -> Preprocessing:
        """Preprocessing for random weights and for those of a file."""
        return Preprocessing()

    def weights(self, weights: str | os.PathLike[str]) -> Weights:
        """Return the weights ``default``, ``random``, of a published name, or of a file.

        Raises
        ------
        WeightsError
            If there are no such weights.
        """
        if weights == RANDOM:
            preprocessing = self.preprocessing()
            options = self.options(preprocessing)
            return Weights(RANDOM, f"random:{RANDOM_SEED}:2", preprocessing, options=options)
        if is_weights_file(weights):
            return self.of_file(os.path.expanduser(os.fspath(weights)))
        return self.published(str(weights))


def _preprocessing(declared: Any) -> Preprocessing:
    """`Preprocessing` declared by a module or ``model.json``, as a dictionary; else ImageNet's."""
    if not isinstance(declared, dict):
        return declared if isinstance(declared, Preprocessing) else Preprocessing()
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in declared.items()
    }
    if isinstance(values.get("crop"), int):
        values["crop"] = (values["crop"], values["crop"])
    check_values(values)
    return Preprocessing(**values)
