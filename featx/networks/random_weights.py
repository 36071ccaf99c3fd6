"""Random weights for a module that comes with trained ones: the control of what training gave."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn

from featx.errors import ModelError

logger = logging.getLogger(__name__)

_FROZEN_NORM = {"running_mean": 0.0, "running_var": 1.0, "weight": 1.0, "bias": 0.0}
"""Buffers of a frozen batch norm, and what stands in a new one."""


def draw_anew(module: nn.Module) -> None:
    """Replace every trained parameter of a module by a random one, in place.

    Modules draw theirs by ``reset_parameters``. What no reset reaches, because it lies on a module
    of the user's own as class tokens and scales do, is permuted: random, of the same spread.

    Raises
    ------
    ModelError
        If a module cannot reset its parameters, or a trained one is left.

    Examples
    --------
    >>> module = nn.Module()
    >>> module.token = nn.Parameter(torch.arange(8.0))
    >>> draw_anew(module)
    >>> bool(module.token.equal(torch.arange(8.0))), sorted(module.token.tolist())[:3]
    (False, [0.0, 1.0, 2.0])
    """
    trained = {name: p.detach().clone() for name, p in module.named_parameters()}
    constants = {name: buffer.clone() for name, buffer in module.named_buffers()}
    module.apply(_reset)
    module.apply(_reset_frozen_norm)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if _is_left(parameter, trained.get(name)):
                parameter.copy_(_shuffled(parameter))
    left = [name for name, p in module.named_parameters() if _is_left(p, trained.get(name))]
    if left:
        raise ModelError(f"Random weights leave trained ones in {', '.join(left[:5])}.")
    kept = [name for name, b in module.named_buffers() if _is_left(b, constants.get(name))]
    if kept:
        logger.info("Random weights take buffers for constants: %s", ", ".join(kept))


def _reset(module: nn.Module) -> None:
    for name in ("reset_parameters", "_reset_parameters"):
        reset: Any = getattr(module, name, None)
        if reset is None:
            continue
        try:
            reset()
        except TypeError as error:
            raise ModelError(
                f"{type(module).__name__}.{name} has required arguments; random weights need a "
                "reset without."
            ) from error


def _reset_frozen_norm(module: nn.Module) -> None:
    """Forget the statistics that a batch norm without ``reset_parameters`` holds as buffers."""
    buffers = dict(module.named_buffers(recurse=False))
    if "running_var" in buffers and not hasattr(module, "reset_running_stats"):
        for name in _FROZEN_NORM.keys() & buffers.keys():
            buffers[name].fill_(_FROZEN_NORM[name])


def _is_left(tensor: Tensor, trained: Tensor | None) -> bool:
    """Whether a tensor has its trained values; equal ones, as all ones, are an initialization."""
    if trained is None or tensor.shape != trained.shape or not tensor.is_floating_point():
        return False
    is_constant = trained.numel() > 1 and bool((trained == trained.reshape(-1)[0]).all())
    return trained.numel() > 0 and not is_constant and torch.equal(tensor, trained)


def _shuffled(tensor: Tensor) -> Tensor:
    """The values in another order; of a single one, a normal value of its size."""
    flat = tensor.detach().reshape(-1)
    if len(flat) == 1:
        return (torch.randn_like(flat) * flat.abs() + torch.finfo(flat.dtype).tiny).view_as(tensor)
    shuffled = flat[torch.randperm(len(flat))]
    # A small one may come out as it was.
    return (flat.roll(1) if shuffled.equal(flat) else shuffled).view_as(tensor)
