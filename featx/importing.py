"""Imports that would cost more than what is wanted of them."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo.utils"


def import_torchvision() -> Any:
    """Torchvision, without PyTorch's compiler.

    One of its operations for object detection takes a single function from the compiler, which
    alone takes longer to import than all of torchvision. A module that hands everything on to the
    compiler once it is asked for stands in its place meanwhile.
    """
    if COMPILER in sys.modules or "torchvision" in sys.modules:
        return importlib.import_module("torchvision")
    stand_in = _StandIn(COMPILER)
    sys.modules[COMPILER] = stand_in
    try:
        return importlib.import_module("torchvision")
    finally:
        stand_in.leave()


class _StandIn(ModuleType):
    """A module that is imported when one of its attributes is used."""

    def leave(self) -> None:
        """Make room for the module itself."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]

    def is_compile_supported(self, *arguments: Any) -> Any:
        """What the compiler's own function says."""
        return self.__getattr__("is_compile_supported")(*arguments)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # What the import system looks for.
            raise AttributeError(name)
        self.leave()
        return getattr(importlib.import_module(self.__name__), name)
