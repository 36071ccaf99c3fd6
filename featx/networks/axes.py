"""Track what the dimensions of a network's tensors are: images, channels, height, width, tokens.

From the input on, every tensor carries one label per dimension: ``n`` (images), ``c`` (channels),
``h``, ``w``, ``t`` (tokens), or ``?`` if unknown. Labels are derived from the operations, never
guessed from sizes: 7x7x768 could be either ``hwc`` or ``chw``. When a dimension is split, each part
keeps its label, so attention heads that are split off the channels and merged again are channels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from featx.networks.layers import CONVOLUTIONS, LINEARS

_LABELS = "_featx_labels"
"""Tensor attribute that holds one label per dimension."""

_VIEWS = frozenset(
    {"permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "adjoint"}
    | {"getattr", "getitem", "select", "unbind", "narrow", "chunk", "split", "tensor_split"}
)
"""Operations that select or permute dimensions without merging any."""
_RESHAPES = frozenset(
    {"reshape", "view", "flatten", "unflatten", "squeeze", "unsqueeze", "reshape_as", "view_as"}
)
_PRODUCTS = frozenset({"matmul", "bmm"})
_CHANNELS_FIRST = re.compile(r"(Batch|Instance|Group)Norm|Norm\w*2d|(Max|Avg)Pool")
_CHANNELS_LAST = re.compile(r"(Layer|RMS|Rms)Norm(?!\w*2d)|MultiheadAttention")
_SPATIAL = re.compile(r"pool|upsample|blur|pad|pixel(un)?shuffle", re.IGNORECASE)
"""Modules that resize feature maps without reordering their axes."""
_FIRST = {2: "nc", 3: "nct", 4: "nchw"}
_LAST = {2: "nc", 3: "ntc", 4: "nhwc"}
_COMPLETE = frozenset({"c", "ct", "tc", "chw", "hwc", "cwh", "whc"})
"""Labels after ``n`` that define the order of all axes."""
_PRIMES = (10007, 10009, 10037, 10039, 10061, 10067, 10069, 10079)


def label_input(images: Tensor) -> None:
    """Label a network's input ``(n, c, h, w)``."""
    setattr(images, _LABELS, "nchw")


def has_labels(value: Tensor) -> bool:
    """Whether a tensor was produced by an operation that was traced."""
    return hasattr(value, _LABELS)


def is_of_images(value: Tensor) -> bool:
    """Whether the first dimension is, or may be, the images; the caller checks its size."""
    return str(getattr(value, _LABELS, "?"))[:1] in ("n", "?")


def axes_of(value: Tensor) -> str:
    """Axes after the first: ``c``, ``chw``, ``hwc``, ``tc``, ``ct``, or ``?``."""
    if value.dim() <= 2:
        return "c"
    axes = str(getattr(value, _LABELS, "?"))[1:]
    return axes if axes in _COMPLETE else "?"


def note_axes(
    result: Any, kind: str, arguments: Any, apply: Callable[[Tensor], Any] | None = None
) -> None:
    """Label the dimensions of a module's or function's result.

    Parameters
    ----------
    result : Tensor, or tuple or list of Tensor
    kind : str
        Class of the module or name of the function.
    arguments : sequence
        Arguments of the call.
    apply : callable, optional
        The same call with another tensor as its first argument, to observe what a function such as
        ``permute`` does to the dimensions.
    """
    outputs = list(_tensors(result))
    inputs = list(_tensors(arguments))
    if kind.lower() in _VIEWS and inputs and apply is not None:
        labels = _follow_view(inputs[0], apply)
        for i, output in enumerate(outputs):
            label = labels[i] if i < len(labels) else ""
            setattr(output, _LABELS, label if len(label) == output.dim() else "?" * output.dim())
        return
    for output in outputs:
        setattr(output, _LABELS, _labels(output, kind, inputs, arguments))


def settle_axes(output: Tensor, source: Tensor | None) -> None:
    """Give a module's output the axes of its input if they have the same shape.

    Only if the output's own axes are unknown, as in windowed attention, which partitions feature
    maps and reassembles them at the end.
    """
    if source is not None and source.shape == output.shape and axes_of(output) == "?":
        setattr(output, _LABELS, getattr(source, _LABELS, "?" * output.dim()))


def _labels(output: Tensor, kind: str, inputs: Sequence[Tensor], arguments: Sequence[Any]) -> str:
    n_dims, unknown = output.dim(), "?" * output.dim()
    source = inputs[0] if inputs else None
    before = "" if source is None else str(getattr(source, _LABELS, ""))
    has_same_rank = len(before) == n_dims
    # Convolutions and linear layers determine the channel dimension, whatever the labels before.
    if kind in CONVOLUTIONS:
        return (before[0] if has_same_rank else "n") + _FIRST.get(n_dims, unknown)[1:]
    if kind in LINEARS:
        usual = _LAST.get(n_dims, unknown)
        return _merge_labels([before[:-1] + "c", usual]) if has_same_rank else usual
    if source is not None and before and kind.lower() in _RESHAPES:
        return _follow_reshape(tuple(source.shape), before, tuple(output.shape))
    # The new dimension is none of images, channels, positions: "s" occurs in no complete label.
    if kind == "stack" and before:
        dim = next((item for item in arguments[1:] if isinstance(item, int)), 0) % n_dims
        return before[:dim] + "s" + before[dim:]
    if kind == "einsum":
        return unknown
    if kind in _PRODUCTS and len(inputs) > 1 and has_same_rank:
        return before[:-1] + str(getattr(inputs[1], _LABELS, "?"))[-1]
    # Class names of modules contain capitals, names of functions do not.
    if not kind.islower():
        return _module_labels(output, kind, source, before)
    # Sums, products and concatenations: a label known for any input holds for the result.
    candidates = [getattr(item, _LABELS, "") for item in inputs]
    candidates = [labels for labels in candidates if len(labels) == n_dims]
    complete = [labels for labels in candidates if labels[1:] in _COMPLETE]
    return complete[0] if complete else _merge_labels(candidates) or unknown


def _module_labels(output: Tensor, kind: str, source: Tensor | None, before: str) -> str:
    """Labels of a leaf module's output: its input's, if the module does not reorder axes."""
    n_dims = output.dim()
    if source is not None and len(before) == n_dims and "?" not in before[1:]:
        return before if source.shape == output.shape or _SPATIAL.search(kind) else "?" * n_dims
    usual = _LAST if _CHANNELS_LAST.search(kind) else _FIRST if _CHANNELS_FIRST.search(kind) else {}
    return usual.get(n_dims, "?" * n_dims)


def _merge_labels(labels: Sequence[str]) -> str:
    """For each dimension the first label that is not ``?``."""
    return "".join(next((c for c in column if c != "?"), "?") for column in zip(*labels))


def _follow_view(source: Tensor, apply: Callable[[Tensor], Any]) -> list[str]:
    """Labels of the results of an operation that only selects or permutes dimensions."""
    before = str(getattr(source, _LABELS, "?" * source.dim()))
    # Apply it to an empty tensor whose strides are primes: they identify each dimension afterwards.
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
    matches = [label for prime, label in zip(strides, labels) if stride and stride % prime == 0]
    return matches[0] if len(matches) == 1 else "?"


def _follow_reshape(old: tuple[int, ...], labels: str, new: tuple[int, ...]) -> str:
    """Labels of dimensions after a reshape from `old` to `new`.

    Examples
    --------
    >>> _follow_reshape((2, 8, 7, 5), "nchw", (2, 8, 35))
    'nct'
    >>> _follow_reshape((2, 35, 8), "ntc", (2, 7, 5, 8))
    'nhwc'
    >>> _follow_reshape((2, 35, 8), "ntc", (2, 35, 4, 2))
    'ntcc'
    """
    # Match runs of old dimensions with runs of new ones of the same product: only within such a
    # run are dimensions merged or split.
    new_labels = ["?"] * len(new)
    for before, after in _groups(old, new):
        parts = [labels[i] for i in before]
        for i, label in zip(after, _regroup(parts, len(after))):
            new_labels[i] = label
    return "".join(new_labels)


def _groups(old: Sequence[int], new: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
    """Indices of the shortest runs of old and new dimensions with equal products."""
    sides = [[(i, n) for i, n in enumerate(shape) if n != 1] for shape in (old, new)]
    while sides[0] and sides[1]:
        runs: list[list[int]] = [[], []]
        products = [1, 1]
        while not runs[0] or products[0] != products[1]:
            # Extend the run with the smaller product, until the products are equal.
            side = int(products[0] > products[1] or (products[0] == products[1] and bool(runs[0])))
            if not sides[side]:
                return
            i, n = sides[side].pop(0)
            runs[side].append(i)
            products[side] *= n
        yield runs[0], runs[1]


def _regroup(parts: Sequence[str], n_after: int) -> str:
    """Labels of `n_after` dimensions made from dimensions labeled `parts`.

    Height and width merge to tokens, and tokens split into height and width. Images merged with
    anything else are ``x``, which can no longer be split.
    """
    distinct = set(parts)
    if len(distinct) == 1:
        (label,) = distinct
        if n_after > 1 and label in "tx":
            return "hw" if label == "t" and n_after == 2 else "?" * n_after
        return label * n_after
    if distinct == {"h", "w"}:
        # Width before height gives transposed tokens.
        is_in_order = n_after == 1 and list(parts) == sorted(parts)
        return "t" if is_in_order else "?" * n_after
    return ("x" if "n" in distinct and n_after == 1 else "?") * n_after


def _tensors(value: Any) -> Iterator[Tensor]:
    """Tensors in a value or in its nested lists and tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)
