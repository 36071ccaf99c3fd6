"""Copies and digests of a module and its values."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

import torch
from torch import nn

from featx._fingerprints import DIGEST_BYTES
from featx.errors import ModelError
from featx.networks.module_identity import identify
from featx.networks.network_errors import name_network

_N_SAMPLED = 8


def copy_module(module: nn.Module, *, on_meta: bool = False) -> nn.Module:
    """Copy of a module without its hooks, in eval mode; with `on_meta` one without values.

    Hooks of `torch.nn.utils` that compute a weight, as weight norm does, are part of the module.

    Raises
    ------
    ModelError
        If the module cannot be copied.
    """
    memo: dict[int, Any] = {}
    for parameter in module.parameters():
        value = parameter.detach()
        value = value.to("meta") if on_meta else value.clone()
        memo[id(parameter)] = nn.Parameter(value, requires_grad=False)
    computed = [value for part in module.modules() for value in vars(part).values()]
    for value in computed:  # As weight norm leaves its weight, which no copy.deepcopy takes.
        if isinstance(value, torch.Tensor) and not value.is_leaf:
            memo[id(value)] = value.detach().clone()
    if on_meta:
        memo |= {id(buffer): buffer.to("meta") for buffer in module.buffers()}
    try:
        copied = copy.deepcopy(module, memo)
    except Exception as error:  # Whatever a user's class raises in its own __deepcopy__.
        raise ModelError(f"{type(module).__name__} cannot be copied: {error}") from error
    for part in copied.modules():
        part._forward_hooks.clear()
        part._backward_hooks.clear()
        for key, hook in list(part._forward_pre_hooks.items()):
            if not type(hook).__module__.startswith("torch.nn.utils."):
                del part._forward_pre_hooks[key]
    return copied.eval()


def state_digest(module: nn.Module) -> str:
    """Digest of every parameter and buffer of a module."""
    hasher = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for name, tensor in _state(module).items():
        if isinstance(tensor, torch.Tensor):
            hasher.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}\n".encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            hasher.update(flat.view(torch.uint8).numpy().data)
    return hasher.hexdigest()


def state_stamp(module: nn.Module) -> list[Any]:
    """What changes when a module's values do, at a fraction of the digest's cost.

    Its code and attributes; place and version of every tensor, and a few of its values: an
    optimiser that writes to ``.data`` leaves the version as it is.
    """
    stamp: list[Any] = [identify(module).digest]
    for tensor in _state(module).values():
        if isinstance(tensor, torch.Tensor) and tensor.numel():
            flat = tensor.detach().reshape(-1)
            few = flat[:: max(1, flat.numel() // _N_SAMPLED)][:_N_SAMPLED]
            stamp.append((tensor.data_ptr(), tensor._version, few.float().cpu().numpy().tobytes()))
    return stamp


def _state(module: nn.Module) -> dict[str, Any]:
    with name_network(type(module).__name__, "does not give its state", module):
        return module.state_dict()
