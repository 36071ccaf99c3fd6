"""What the dimensions of a network's tensors are: maps, tokens, vectors, and in which order.

Each dimension carries a label from the input on: ``n`` images, ``c`` channels, ``h`` and ``w``,
``t`` tokens, ``?`` where it is not known. Labels follow what an operation does to dimensions and
are never told by sizes: 7x7x768 may be either way round. Parts of a dimension keep its label, so
that heads split from the channels and merged again are channels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from featx.networks.layers import CONVOLUTIONS, LINEARS

_LABELS = "_featx_labels"
"""Attribute of a tensor that holds a label for each dimension."""

_VIEWS = frozenset(
    {"permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "adjoint"}
    | {"getattr", "getitem", "select", "unbind", "narrow", "chunk", "split", "tensor_split"}
)
"""Operations that choose and order dimensions without merging any."""
_RESHAPES = frozenset(
    {"reshape", "view", "flatten", "unflatten", "squeeze", "unsqueeze", "reshape_as", "view_as"}
)
_PRODUCTS = frozenset({"matmul", "bmm"})
_CHANNELS_FIRST = re.compile(r"(Batch|Instance|Group)Norm|Norm\w*2d|(Max|Avg)Pool")
_CHANNELS_LAST = re.compile(r"(Layer|RMS|Rms)Norm(?!\w*2d)|MultiheadAttention")
_KEEPS = re.compile(r"pool|upsample|blur|pad|pixel(un)?shuffle", re.IGNORECASE)
"""Single steps that change the shape of maps and leave the order of their axes."""
_FIRST = {2: "nc", 3: "nct", 4: "nchw"}
_LAST = {2: "nc", 3: "ntc", 4: "nhwc"}
_KNOWN = frozenset({"c", "ct", "tc", "chw", "hwc", "cwh", "whc"})
_PRIMES = (10007, 10009, 10037, 10039, 10061, 10067, 10069, 10079)


def label_input(images: Tensor) -> None:
    """Label what a network takes."""
    setattr(images, _LABELS, "nchw")


def has_labels(value: Tensor) -> bool:
    """Whether what made a tensor was seen."""
    return hasattr(value, _LABELS)


def is_of_images(value: Tensor) -> bool:
    """Whether the first dimension may be that of the images; its size decides the rest."""
    return str(getattr(value, _LABELS, "?"))[:1] in ("n", "?")


def axes_of(value: Tensor) -> str:
    """Axes after the images: ``c``, ``chw``, ``hwc``, ``tc``, ``ct``, or ``?``."""
    if value.dim() <= 2:
        return "c"
    axes = str(getattr(value, _LABELS, "?"))[1:]
    return axes if axes in _KNOWN else "?"


def note_axes(
    result: Any, kind: str, given: Any, apply: Callable[[Tensor], Any] | None = None
) -> None:
    """Label the dimensions of what a module or function returned.

    Parameters
    ----------
    result : Tensor, or tuple or list of Tensor
    kind : str
        Class of the module or name of the function.
    given : sequence
        What it was called with.
    apply : callable, optional
        The same call on another tensor in place of the first: a function that only orders
        dimensions is asked what it does.
    """
    values = list(_tensors(result))
    inputs = list(_tensors(given))
    if kind.lower() in _VIEWS and inputs and apply is not None:
        labels = _follow_view(inputs[0], apply)
        for i, value in enumerate(values):
            found = labels[i] if i < len(labels) else ""
            setattr(value, _LABELS, found if len(found) == value.dim() else "?" * value.dim())
        return
    for value in values:
        setattr(value, _LABELS, _labels(value, kind, inputs, given))


def settle_axes(value: Tensor, source: Tensor | None) -> None:
    """Give what a module returns the axes of what it took, where its inside hides them.

    Attention over windows cuts maps up, and puts them together again at the end.
    """
    if source is not None and source.shape == value.shape and axes_of(value) == "?":
        setattr(value, _LABELS, getattr(source, _LABELS, "?" * value.dim()))


def _labels(value: Tensor, kind: str, inputs: Sequence[Tensor], given: Sequence[Any]) -> str:
    n_dims, unknown = value.dim(), "?" * value.dim()
    source = inputs[0] if inputs else None
    before = "" if source is None else str(getattr(source, _LABELS, ""))
    is_like = len(before) == n_dims
    # Convolutions and linear layers fix where the channels are, whatever was known before.
    if kind in CONVOLUTIONS:
        return (before[0] if is_like else "n") + _FIRST.get(n_dims, unknown)[1:]
    if kind in LINEARS:
        usual = _LAST.get(n_dims, unknown)
        return _agreed([before[:-1] + "c", usual]) if is_like else usual
    if source is not None and before and kind.lower() in _RESHAPES:
        return _follow_reshape(tuple(source.shape), before, tuple(value.shape))
    # A new dimension that nothing is known of: "s" matches no known order of axes.
    if kind == "stack" and before:
        dim = next((item for item in given[1:] if isinstance(item, int)), 0) % n_dims
        return before[:dim] + "s" + before[dim:]
    if kind == "einsum":
        return unknown
    if kind in _PRODUCTS and len(inputs) > 1 and is_like:
        return before[:-1] + str(getattr(inputs[1], _LABELS, "?"))[-1]
    # Modules are written in capitals, functions are not.
    if not kind.islower():
        return _of_module(value, kind, source, before)
    # Sums, products and joins: what any of the inputs knows holds for the result.
    same = [getattr(item, _LABELS, "") for item in inputs]
    same = [labels for labels in same if len(labels) == n_dims]
    known = [labels for labels in same if labels[1:] in _KNOWN]
    return known[0] if known else _agreed(same) or unknown


def _of_module(value: Tensor, kind: str, source: Tensor | None, before: str) -> str:
    """Labels of a single step: its input's, where the shape stays or it is known to keep them."""
    n_dims = value.dim()
    if source is not None and len(before) == n_dims and "?" not in before[1:]:
        return before if source.shape == value.shape or _KEEPS.search(kind) else "?" * n_dims
    usual = _LAST if _CHANNELS_LAST.search(kind) else _FIRST if _CHANNELS_FIRST.search(kind) else {}
    return usual.get(n_dims, "?" * n_dims)


def _agreed(labels: Sequence[str]) -> str:
    """Labels of tensors that are added, multiplied or joined: each the first that is known."""
    return "".join(next((c for c in column if c != "?"), "?") for column in zip(*labels))


def _follow_view(source: Tensor, apply: Callable[[Tensor], Any]) -> list[str]:
    """Labels after an operation that only orders dimensions, or takes some away."""
    before = str(getattr(source, _LABELS, "?" * source.dim()))
    # A stand-in without values whose strides are primes: they tell which dimension went where.
    strides = _PRIMES[: source.dim()]
    if len(strides) < source.dim() or len(before) != source.dim():
        return []
    with torch._C.DisableTorchFunction():
        stand_in = torch.empty_strided(tuple(source.shape), strides, device="meta")
        try:
            results = list(_tensors(apply(stand_in)))
        except (TypeError, RuntimeError, IndexError, NotImplementedError, ValueError):
            return []
    return ["".join(_label(stride, strides, before) for stride in r.stride()) for r in results]


def _label(stride: int, strides: Sequence[int], labels: str) -> str:
    found = [label for prime, label in zip(strides, labels) if stride and stride % prime == 0]
    return found[0] if len(found) == 1 else "?"


def _follow_reshape(old: tuple[int, ...], labels: str, new: tuple[int, ...]) -> str:
    """Labels after dimensions are merged and split.

    Examples
    --------
    >>> _follow_reshape((2, 8, 7, 5), "nchw", (2, 8, 35))
    'nct'
    >>> _follow_reshape((2, 35, 8), "ntc", (2, 7, 5, 8))
    'nhwc'
    >>> _follow_reshape((2, 35, 8), "ntc", (2, 35, 4, 2))
    'ntcc'
    """
    # Runs of old and new dimensions of equal product belong together: inside a run labels are
    # merged or split, outside of it they stay.
    found = ["?"] * len(new)
    for before, after in _groups(old, new):
        parts = [labels[i] for i in before]
        for i, label in zip(after, _regrouped(parts, len(after))):
            found[i] = label
    return "".join(found)


def _groups(old: Sequence[int], new: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
    """Smallest runs of dimensions that hold as many values before and after."""
    sides = [[(i, n) for i, n in enumerate(shape) if n != 1] for shape in (old, new)]
    while sides[0] and sides[1]:
        taken: list[list[int]] = [[], []]
        size = [1, 1]
        while not taken[0] or size[0] != size[1]:
            # Take a dimension from the side whose product is smaller, until the products are equal.
            side = int(size[0] > size[1] or (size[0] == size[1] and bool(taken[0])))
            if not sides[side]:
                return
            i, n = sides[side].pop(0)
            taken[side].append(i)
            size[side] *= n
        yield taken[0], taken[1]


def _regrouped(parts: Sequence[str], n_after: int) -> str:
    """Labels of dimensions that were made of others: of height and width, tokens are."""
    kinds = set(parts)
    if len(kinds) == 1:
        (label,) = kinds
        if n_after > 1 and label in "tx":
            return "hw" if label == "t" and n_after == 2 else "?" * n_after
        return label * n_after
    if kinds == {"h", "w"}:
        # Height may not come after width.
        is_in_order = n_after == 1 and list(parts) == sorted(parts)
        return "t" if is_in_order else "?" * n_after
    return ("x" if "n" in kinds and n_after == 1 else "?") * n_after


def _tensors(value: Any) -> Iterator[Tensor]:
    """Tensors in a value, and in the lists in it."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)
