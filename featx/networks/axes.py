"""What the dimensions of a network's tensors are: maps, tokens, vectors, and in which order.

Told by what made a tensor and from what, not by its shape: 7x7x768 may be either way round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from featx.networks.layers import CONVOLUTIONS, LINEARS

AXES = "_featx_axes"
"""Attribute of a tensor that holds its axes, the first (pictures) left out."""

_CHANNELS_FIRST = CONVOLUTIONS | {"BatchNorm2d", "GroupNorm"}
_CHANNELS_LAST = LINEARS | {"LayerNorm", "MultiheadAttention"}
_REORDERING = {"permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis"}
_USUAL = {1: "c", 2: "tc", 3: "chw"}


def note_axes(
    value: Tensor,
    source: Tensor | None,
    kind: str,
    arguments: Sequence[Any],
    keywords: Mapping[str, Any] | None = None,
) -> None:
    """Note on a tensor what its dimensions are: ``c``, ``chw``, ``hwc``, ``tc``, ``ct`` or ``?``.

    Parameters
    ----------
    value : Tensor
    source : Tensor or None
        What it was made from.
    kind : str
        Class of the module or name of the function that made it.
    arguments : sequence
    keywords : mapping, optional
        What a function that orders dimensions anew was given besides.
    """
    setattr(value, AXES, _axes(value, source, kind, arguments, keywords or {}))


def _axes(
    value: Tensor,
    source: Tensor | None,
    kind: str,
    arguments: Sequence[Any],
    keywords: Mapping[str, Any],
) -> str:
    n_dims = value.dim() - 1
    usual = _USUAL.get(n_dims, "?")
    before = getattr(source, AXES, "")
    if source is None or n_dims == 1:
        return usual
    if kind in _CHANNELS_FIRST or "pool" in kind.lower():
        return usual if n_dims == 3 else "?"
    if kind in _CHANNELS_LAST:
        return {2: "tc", 3: "hwc"}.get(n_dims, "?")
    if kind.lower() in _REORDERING and len(before) == n_dims:
        return _reordered(before, kind.lower(), arguments, keywords) or usual
    if kind == "getattr" and value.stride() != source.stride():
        return "?"  # A transposed view such as `.mT`: which one, its name does not say.
    if before == "chw" and n_dims == 2 and value.shape[1] == source.shape[1]:
        return "ct"
    if len(before) == n_dims:
        return before
    return "?" if before and kind.islower() else usual


def settle_axes(value: Tensor, source: Tensor | None) -> None:
    """Give what a module returns the axes of what it took, where its inside hides them.

    Attention over windows and the shuffling of channels reshape, and put back at the end.
    """
    before = getattr(source, AXES, "")
    is_like = source is not None and source.shape == value.shape
    if len(before) == value.dim() - 1 and (is_like or getattr(value, AXES, "?") == "?"):
        setattr(value, AXES, before)


def _reordered(axes: str, kind: str, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> str:
    """Axes in the order that a function gives them; empty if that is unknown."""
    # Each dimension is as long as its index, so the shape afterwards is the order.
    probe = torch.empty(tuple(range(len(axes) + 1)), device="meta")
    try:
        order = getattr(probe, kind)(*arguments, **keywords).shape
    except (TypeError, RuntimeError, IndexError):  # A user's module that is only called so.
        return ""
    return "".join(axes[index - 1] for index in order[1:]) if order[0] == 0 else ""
