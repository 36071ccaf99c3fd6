"""Find the model source of a user's `model` parameter."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from featx.networks.sources.base import Source
from featx.networks.sources.bundled import FeatxnetSource, LenetSource
from featx.networks.sources.saved_folder import FolderSource, is_saved_folder
from featx.networks.sources.torchvision import (
    TorchvisionSource,
)
from featx.trust.callables import Trust, is_callable_name


def find_source(model: Any, *, trust: Trust = None) -> Source:
    """Return the source of a model.

    Parameters
    ----------
    model : str, path or torch.nn.Module
        ``featxnet``, ``lenet``, a torchvision name, ``timm/NAME``, ``package.module:callable``,
        a folder written by ``featx finetune``, or a module object.
    trust : path, str, or sequence of these, optional
        As in `featx.trust.callables.check_trusted`.

    Raises
    ------
    ModelError
        If the model is unknown, or a folder names code that is not trusted.
    """
    if isinstance(model, nn.Module):
        from featx.networks.sources.local import ModuleSource

        return ModuleSource(model)
    name = os.fspath(model)
    if name == "featxnet":
        return FeatxnetSource(name)
    if name == "lenet":
        return LenetSource(name)
    if name.startswith("timm/"):
        from featx.networks.sources.timm import TimmSource

        return TimmSource(name)
    if is_saved_folder(Path(name).expanduser()):
        return FolderSource(name, resolve=partial(find_source, trust=trust), trust=trust)
    if is_callable_name(name):
        from featx.networks.sources.local import CallableSource

        return CallableSource(name)
    return TorchvisionSource(name)
