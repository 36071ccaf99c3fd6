"""Copies of a module, and digests of its state."""

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
    """Copy a module without its hooks, in eval mode; with `on_meta`, to the meta device.

    Hooks of `torch.nn.utils` that compute a weight, such as weight norm's, are retained.

    Raises
    ------
    ModelError
        If the module cannot be copied.
    """
    memo: dict[int, Any] = {}
    for parameter in module.parameters():
        tensor = parameter.detach()
        tensor = tensor.to("meta") if on_meta else tensor.clone()
        memo[id(parameter)] = nn.Parameter(tensor, requires_grad=False)
    attributes = [value for part in module.modules() for value in vars(part).values()]
    for value in attributes:
        # copy.deepcopy refuses tensors that are no leaves, such as the weight of weight norm.
        if isinstance(value, torch.Tensor) and not value.is_leaf:
            memo[id(value)] = value.detach().clone()
    if on_meta:
        memo |= {id(buffer): buffer.to("meta") for buffer in module.buffers()}
    try:
        copied = copy.deepcopy(module, memo)
    except Exception as error:  # A user's __deepcopy__ may raise anything.
        raise ModelError(f"{type(module).__name__} cannot be copied: {error}") from error
    for part in copied.modules():
        part._forward_hooks.clear()
        part._backward_hooks.clear()
        for key, hook in list(part._forward_pre_hooks.items()):
            if not type(hook).__module__.startswith("torch.nn.utils."):
                del part._forward_pre_hooks[key]
    return copied.eval()


def state_digest(module: nn.Module) -> str:
    """Return a digest of all parameters and buffers of a module's state dict."""
    hasher = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for name, tensor in _state(module).items():
        if isinstance(tensor, torch.Tensor):
            hasher.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}\n".encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            hasher.update(flat.view(torch.uint8).numpy().data)
    return hasher.hexdigest()


def state_stamp(module: nn.Module) -> list[Any]:
    """Return values that change when a module's state does, at a fraction of the digest's cost.

    These are the digest of its code and attributes and, for each tensor, its address, its version
    and a few of its values, since an optimizer that writes to ``.data`` does not raise the version.
    """
    stamp: list[Any] = [identify(module).digest]
    for tensor in _state(module).values():
        if isinstance(tensor, torch.Tensor) and tensor.numel():
            flat = tensor.detach().reshape(-1)
            sample = flat[:: max(1, flat.numel() // _N_SAMPLED)][:_N_SAMPLED]
            sample_bytes = sample.float().cpu().numpy().tobytes()
            stamp.append((tensor.data_ptr(), tensor._version, sample_bytes))
    return stamp


def _state(module: nn.Module) -> dict[str, Any]:
    with name_network(type(module).__name__, "cannot return its state dict", module):
        return module.state_dict()
