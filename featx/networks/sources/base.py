"""What a source of networks offers: a network to build, and the weights there are for it."""

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
    """Weights that were chosen, and what belongs to them.

    Parameters
    ----------
    name : str
        What to call them in messages.
    digest : str
        What stands for their values in a fingerprint.
    preprocessing : Preprocessing
    read : callable, optional
        Gives their tensors; None for random ones, and for those that come with the network.
    options : mapping
        What the network is built with so that they fit.
    url : str, default=""
        Where they can be downloaded.
    """

    name: str
    digest: str
    preprocessing: Preprocessing
    read: Callable[[], State] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    url: str = ""


class Source(ABC):
    """A network that can be built, and the weights there are for it.

    Parameters
    ----------
    name : str
        As the user wrote it.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def identity(self) -> str:
        """What stands for the network's code in a fingerprint."""
        return self.name

    @property
    def unseen(self) -> tuple[str, ...]:
        """What the identity cannot see, for which no row of the network is stored."""
        return ()

    @abstractmethod
    def build(self, weights: Weights) -> nn.Module:
        """The network, its parameters as its constructor leaves them."""

    @abstractmethod
    def published(self, weights: str) -> Weights:
        """Published weights of a name, or the source's own for ``default``."""

    def of_file(self, path: str) -> Weights:
        """Weights of a file."""
        digest = file_digest(path)

        def read() -> State:
            state = read_state(path)
            if file_digest(path) != digest:  # Rows would be stored under other weights' name.
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
        """What the network is built with, so that it takes images of that size."""
        return {}

    def resized(
        self, options: Mapping[str, Any], preprocessing: Preprocessing
    ) -> Mapping[str, Any]:
        """What the network is built with for images of another size than its own."""
        return options

    def preprocessing(self) -> Preprocessing:
        """What random weights and those of a file expect."""
        return Preprocessing()

    def weights(self, weights: str | os.PathLike[str]) -> Weights:
        """Weights as asked for: ``default``, a name, a file, or ``random``.

        Raises
        ------
        WeightsError
            If there are none such.
        """
        if weights == RANDOM:
            how = self.preprocessing()
            return Weights(RANDOM, f"random:{RANDOM_SEED}:2", how, options=self.options(how))
        if is_weights_file(weights):
            return self.of_file(os.path.expanduser(os.fspath(weights)))
        return self.published(str(weights))


def _preprocessing(said: Any) -> Preprocessing:
    """`Preprocessing` of a dictionary, as it is in ``model.json`` or on a module."""
    if not isinstance(said, dict):
        return said if isinstance(said, Preprocessing) else Preprocessing()
    values: dict[str, Any] = {
        key: tuple(v) if isinstance(v, list) else v for key, v in said.items()
    }
    if isinstance(values.get("crop"), int):
        values["crop"] = (values["crop"], values["crop"])
    check_values(values)
    return Preprocessing(**values)
