"""Re-initialize a trained module with random weights, for the random-weights control."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn

from featx.errors import ModelError

logger = logging.getLogger(__name__)

_FROZEN_NORM = {"running_mean": 0.0, "running_var": 1.0, "weight": 1.0, "bias": 0.0}
"""Buffers of a frozen batch norm, and their initial values."""


def randomize(module: nn.Module) -> None:
    """Replace every trained parameter of a module by a random one, in place.

    Modules are reset by their ``reset_parameters``. Parameters of modules without that method, such
    as the class token of a user's own module, are permuted, which preserves their distribution.

    Raises
    ------
    ModelError
        If a module cannot reset its parameters, or a trained parameter remains.

    Examples
    --------
    >>> module = nn.Module()
    >>> module.token = nn.Parameter(torch.arange(8.0))
    >>> randomize(module)
    >>> bool(module.token.equal(torch.arange(8.0))), sorted(module.token.tolist())[:3]
    (False, [0.0, 1.0, 2.0])
    """
    trained = {name: p.detach().clone() for name, p in module.named_parameters()}
    trained_buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    module.apply(_reset)
    module.apply(_reset_frozen_norm)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if _is_unchanged(parameter, trained.get(name)):
                parameter.copy_(_permute(parameter))
    unchanged = [n for n, p in module.named_parameters() if _is_unchanged(p, trained.get(n))]
    if unchanged:
        raise ModelError(f"Cannot randomize the trained parameters {', '.join(unchanged[:5])}.")
    constants = [n for n, b in module.named_buffers() if _is_unchanged(b, trained_buffers.get(n))]
    if constants:
        logger.info("Random weights keep the buffers %s", ", ".join(constants))


def _reset(module: nn.Module) -> None:
    for name in ("reset_parameters", "_reset_parameters"):
        reset: Any = getattr(module, name, None)
        if reset is None:
            continue
        try:
            reset()
        except TypeError as error:
            raise ModelError(
                f"{type(module).__name__}.{name} has required arguments; random weights need one "
                "without."
            ) from error


def _reset_frozen_norm(module: nn.Module) -> None:
    """Reset the buffers of a batch norm that has no ``reset_running_stats``."""
    buffers = dict(module.named_buffers(recurse=False))
    if "running_var" in buffers and not hasattr(module, "reset_running_stats"):
        for name in _FROZEN_NORM.keys() & buffers.keys():
            buffers[name].fill_(_FROZEN_NORM[name])


def _is_unchanged(tensor: Tensor, trained: Tensor | None) -> bool:
    """Whether a tensor still has its trained values; constant tensors count as initial values."""
    if trained is None or tensor.shape != trained.shape or not tensor.is_floating_point():
        return False
    is_constant = trained.numel() > 1 and bool((trained == trained.reshape(-1)[0]).all())
    return trained.numel() > 0 and not is_constant and torch.equal(tensor, trained)


def _permute(tensor: Tensor) -> Tensor:
    """Permute the values; a single value becomes a normal deviate of its magnitude."""
    flat = tensor.detach().reshape(-1)
    if len(flat) == 1:
        return (torch.randn_like(flat) * flat.abs() + torch.finfo(flat.dtype).tiny).view_as(tensor)
    shuffled = flat[torch.randperm(len(flat))]
    # The permutation of a small tensor may be the identity.
    return (flat.roll(1) if shuffled.equal(flat) else shuffled).view_as(tensor)
