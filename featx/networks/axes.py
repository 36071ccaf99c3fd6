"""What the dimensions of a network's tensors are: maps, tokens, vectors, and in which order.

Told by what made a tensor and from what, not by its shape: 7x7x768 may be either way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from featx.networks.layers import CONVOLUTIONS, LINEARS

AXES = "_featx_axes"
"""Attribute of a tensor that holds its axes, the first (pictures) left out."""

_CHANNELS_FIRST = CONVOLUTIONS | {"BatchNorm2d", "GroupNorm"}
_CHANNELS_LAST = LINEARS | {"LayerNorm", "MultiheadAttention"}
_USUAL = {1: "c", 2: "tc", 3: "chw"}


def note_axes(value: Tensor, source: Tensor | None, kind: str, arguments: Sequence[Any]) -> None:
    """Note on a tensor what its dimensions are: ``c``, ``chw``, ``hwc``, ``tc``, ``ct`` or ``?``.

    Parameters
    ----------
    value : Tensor
    source : Tensor or None
        What it was made from.
    kind : str
        Class of the module or name of the function that made it.
    arguments : sequence
        What a function that orders dimensions anew was given besides.
    """
    setattr(value, AXES, _axes(value, source, kind, arguments))


def _axes(value: Tensor, source: Tensor | None, kind: str, arguments: Sequence[Any]) -> str:
    n_dims = value.dim() - 1
    usual = _USUAL.get(n_dims, "?")
    before = getattr(source, AXES, "")
    if source is None or n_dims == 1:
        return usual
    if kind in _CHANNELS_FIRST or "pool" in kind.lower():
        return usual if n_dims == 3 else "?"
    if kind in _CHANNELS_LAST:
        return {2: "tc", 3: "hwc"}.get(n_dims, "?")
    if kind.lower() in ("permute", "transpose") and len(before) == n_dims:
        return _reordered(before, arguments, is_swap=kind == "transpose") or usual
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


def _reordered(axes: str, arguments: Sequence[Any], *, is_swap: bool) -> str:
    """Axes in the order that a permutation or a swap gives them; empty if that is unknown."""
    order = arguments[0] if len(arguments) == 1 else arguments
    indices = [int(index) % (len(axes) + 1) for index in order]
    if is_swap and len(indices) == 2:
        first, second = indices
        indices = list(range(len(axes) + 1))
        indices[first], indices[second] = second, first
    if len(indices) != len(axes) + 1 or indices[0] != 0:
        return ""
    return "".join(axes[index - 1] for index in indices[1:])
