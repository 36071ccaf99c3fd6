"""The user's own networks: module objects, or modules returned by an importable callable."""

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
from featx.networks.random_weights import randomize
from featx.networks.sources.base import (
    DEFAULT,
    RANDOM,
    Source,
    Weights,
    _preprocessing,
)
from featx.networks.sources.timm import timm_preprocessing


class ModuleSource(Source):
    """A module object, which featx copies and does not modify.

    Its preprocessing is declared by an attribute ``preprocessing``, a dictionary or a
    `Preprocessing`, or timm's ``pretrained_cfg``. By default it is that of ImageNet.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__(type(module).__name__)
        self.module = module

    @property
    def identity(self) -> str:
        """Class of the module, and digest of its code, attributes and structure."""
        return f"{type(self.module).__qualname__}:{self._identity.digest}"

    @property
    def unseen(self) -> tuple[str, ...]:
        """Attributes and code that cannot be read."""
        return self._identity.unseen

    @cached_property
    def _identity(self) -> ModuleIdentity:
        return identify(self.module)

    def build(self, weights: Weights) -> nn.Module:
        """Copy the module in float32, without its hooks; randomize it for random weights."""
        module = copy_module(self.module).float()
        if weights.name == RANDOM and not any(it.is_meta for it in module.parameters()):
            randomize(module)
        return module

    def weights(self, weights: str | os.PathLike[str]) -> Weights:
        """Return the weights; random ones depend on the module's own, which may be permuted."""
        chosen = super().weights(weights)
        if chosen.name != RANDOM:
            return chosen
        return replace(chosen, digest=f"{chosen.digest}:{state_digest(self.module)}")

    def published(self, weights: str) -> Weights:
        """Return the module's own weights, for ``default``."""
        if weights != DEFAULT:
            raise WeightsError(
                f"A module object has no weights {weights!r}; use 'default' for its own."
            )
        digest = f"state:{state_digest(self.module)}"
        return Weights(f"{self.name} as given", digest, self.preprocessing())

    def preprocessing(self) -> Preprocessing:
        """Preprocessing that the module declares, else ImageNet's."""
        return _preprocessing_of(self.module)


class CallableSource(ModuleSource):
    """A module returned by an importable callable, ``package.module:callable``.

    Its weights count as trained, as for a module object.

    Raises
    ------
    ModelError
        If there is no such callable, or it does not return a module.
    """

    def __init__(self, name: str) -> None:
        super().__init__(_call(name))
        self.name = name


def _call(name: str) -> nn.Module:
    """Import a callable by name, and return the module that it returns."""
    package, _, path = name.partition(":")
    with name_network(f"Model {name!r}", "cannot be imported"):
        target: Any = importlib.import_module(package)
        for attribute in path.split("."):
            target = getattr(target, attribute)
    with name_network(f"Model {name!r}", "cannot be built"):
        module = target if isinstance(target, nn.Module) else target()
    if not isinstance(module, nn.Module):
        raise ModelError(f"{name} returned {type(module).__name__}; expected an nn.Module.")
    return module


def _preprocessing_of(module: nn.Module) -> Preprocessing:
    with name_network(type(module).__name__, "has invalid preprocessing"):
        declared = getattr(module, "preprocessing", None)
        config = getattr(module, "pretrained_cfg", None)
        if declared is None and isinstance(config, dict) and "input_size" in config:
            return timm_preprocessing(config)
        return _preprocessing(declared)
