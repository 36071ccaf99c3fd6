"""Networks of the user's own: a module object, or what an importable callable returns."""

from __future__ import annotations

import importlib
from functools import cached_property
from typing import Any

from torch import nn

from featx.errors import ModelError, WeightsError
from featx.networks.module_identity import ModuleIdentity, identify
from featx.networks.module_state import copy_module, state_digest
from featx.networks.preprocessing import Preprocessing
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
        """A copy of the module without its hooks; drawn anew where weights are random."""
        module = copy_module(self.module)
        return module.apply(_reset) if weights.name == RANDOM else module

    def published(self, weights: str) -> Weights:
        """The module's own parameters."""
        if weights != DEFAULT:
            raise WeightsError(f"A module object has no weights {weights!r}; it has its own.")
        digest = f"state:{state_digest(self.module)}"
        return Weights(f"{self.name} as given", digest, self.preprocessing())

    def preprocessing(self) -> Preprocessing:
        """What the module says, else ImageNet's."""
        return _preprocessing_of(self.module)


def _reset(module: nn.Module) -> None:
    for name in ("reset_parameters", "_reset_parameters"):
        reset: Any = getattr(module, name, None)
        if reset is None:
            continue
        try:
            reset()
        except TypeError as error:
            raise ModelError(
                f"{type(module).__name__}.{name} wants arguments; random weights need one without."
            ) from error


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
    try:
        found: Any = importlib.import_module(package)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ModelError(f"Model {name!r} cannot be imported: {error}.") from error
    module = found if isinstance(found, nn.Module) else found()
    if not isinstance(module, nn.Module):
        raise ModelError(f"{name} gave {type(module).__name__}; expected an nn.Module.")
    return module


def _preprocessing_of(module: nn.Module) -> Preprocessing:
    return _preprocessing(getattr(module, "preprocessing", None))
