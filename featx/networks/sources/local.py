"""Networks of the user's own: a module object, or what an importable callable returns."""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from functools import cached_property
from typing import Any

from torch import nn

from featx.errors import ModelError, WeightsError
from featx.networks.module_identity import ModuleIdentity, identify
from featx.networks.module_state import copy_module, state_digest
from featx.networks.network_errors import name_network
from featx.networks.preprocessing import Preprocessing
from featx.networks.random_weights import draw_anew
from featx.networks.sources.base import (
    DEFAULT,
    RANDOM,
    Source,
    Weights,
    _preprocessing,
)


class ModuleSource(Source):
    """A module object: featx works on a copy and leaves the object alone.

    Its preprocessing is that of ImageNet unless it has an attribute ``preprocessing``, a
    dictionary or a `Preprocessing`.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__(type(module).__name__)
        self.module = module

    @property
    def identity(self) -> str:
        """Class, code, attributes and structure of the module."""
        return f"{type(self.module).__qualname__}:{self._identity.digest}"

    @property
    def unseen(self) -> tuple[str, ...]:
        """Attributes and code that cannot be read: the module is known by itself alone."""
        return self._identity.unseen

    @cached_property
    def _identity(self) -> ModuleIdentity:
        return identify(self.module)

    def build(self, weights: Weights) -> nn.Module:
        """A float32 copy of the module without its hooks; random where its weights are."""
        module = copy_module(self.module).float()
        if weights.name == RANDOM and not any(it.is_meta for it in module.parameters()):
            draw_anew(module)
        return module

    def weights(self, weights: str | os.PathLike[str]) -> Weights:
        """Weights as asked for; random ones depend on the module's, whose spread they have."""
        found = super().weights(weights)
        if found.name != RANDOM:
            return found
        return replace(found, digest=f"{found.digest}:{state_digest(self.module)}")

    def published(self, weights: str) -> Weights:
        """The module's own parameters."""
        if weights != DEFAULT:
            raise WeightsError(f"A module object has no weights {weights!r}; it has its own.")
        digest = f"state:{state_digest(self.module)}"
        return Weights(f"{self.name} as given", digest, self.preprocessing())

    def preprocessing(self) -> Preprocessing:
        """What the module says, else ImageNet's."""
        return _preprocessing_of(self.module)


class CallableSource(ModuleSource):
    """A module that a callable of an importable package returns: ``package.module:callable``.

    What it returns is taken as trained, as `ModuleSource` takes a module.

    Raises
    ------
    ModelError
        If there is no such callable, or it returns no module.
    """

    def __init__(self, name: str) -> None:
        super().__init__(_call(name))
        self.name = name


def _call(name: str) -> nn.Module:
    """What the callable of a name returns."""
    package, _, attribute = name.partition(":")
    with name_network(f"Model {name!r}", "cannot be imported"):
        found: Any = importlib.import_module(package)
        for part in attribute.split("."):
            found = getattr(found, part)
    with name_network(f"Model {name!r}", "cannot be made"):
        module = found if isinstance(found, nn.Module) else found()
    if not isinstance(module, nn.Module):
        raise ModelError(f"{name} gave {type(module).__name__}; expected an nn.Module.")
    return module


def _preprocessing_of(module: nn.Module) -> Preprocessing:
    with name_network(type(module).__name__, "does not give its preprocessing"):
        return _preprocessing(getattr(module, "preprocessing", None))
