"""Exact receptive fields: the pixels on which each position of a network's feature maps depends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from featx.networks.input_bands import count_input_bands
from featx.networks.layers import Layer
from featx.networks.tracing import Trace, function_name

Ends = npt.NDArray[np.intp]
_FIELD = "_featx_field"


@dataclass(frozen=True)
class Span:
    """For each position along one axis, the half-open range of pixels on which it depends.

    Parameters
    ----------
    low, high : ndarray of shape (n_positions,)
        First pixel, and the one after the last.
    """

    low: Ends
    high: Ends

    def union(self, other: Span) -> Span:
        """Smallest ranges that contain both; an axis of length one is broadcast."""
        return Span(np.minimum(self.low, other.low), np.maximum(self.high, other.high))

    def windows(self, firsts: Ends, lasts: Ends) -> Span:
        """Ranges of windows, each of which covers the positions from `firsts` to `lasts`."""
        return Span(
            np.array([self.low[a : b + 1].min() for a, b in zip(firsts, lasts)], np.intp),
            np.array([self.high[a : b + 1].max() for a, b in zip(firsts, lasts)], np.intp),
        )


@dataclass(frozen=True)
class Field:
    """Receptive fields of all positions of a feature map: rows (`down`) and columns (`across`).

    Attributes
    ----------
    down, across : Span
    """

    down: Span
    across: Span

    def box(self, row: int, column: int) -> tuple[slice, slice]:
        """Rows and columns of the pixels on which one position depends, within the image."""
        return (
            slice(int(self.down.low[row]), int(self.down.high[row])),
            slice(int(self.across.low[column]), int(self.across.high[column])),
        )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the largest box."""
        return (
            int((self.down.high - self.down.low).max()),
            int((self.across.high - self.across.low).max()),
        )


def receptive_field(network: nn.Module, layer: Layer, size: tuple[int, int]) -> Field:
    """Compute the receptive fields of a layer.

    Parameters
    ----------
    network : torch.nn.Module
        In eval mode. It is run once, on an image of zeros.
    layer : Layer
    size : tuple of int
        Height and width of the images in px.

    Returns
    -------
    Field
        For a layer without feature maps, one position that depends on the whole image. After
        operations whose effect on positions is not tracked, such as attention, every position
        depends on the whole image.

    Examples
    --------
    >>> from featx import list_layers
    >>> from featx.networks.configs import find_config
    >>> network = find_config("featxnet", weights="random").network().module
    >>> receptive_field(network, list_layers("featxnet").find("pool1"), (112, 112)).size
    (9, 9)
    """
    tensors: dict[str, Tensor] = {}

    def visit(name: str, kind: str, value: Tensor, source: Tensor | None, *, is_new: bool) -> None:
        tensors.setdefault(name, value)

    parameter = next(network.parameters(), torch.zeros(0))
    # Every tensor carries its receptive fields; in the input, each pixel depends on itself.
    shape = 1, count_input_bands(network), *size
    batch = torch.zeros(shape, device=parameter.device, dtype=parameter.dtype)
    setattr(batch, _FIELD, Field(*(_pixels(length) for length in size)))
    with torch.no_grad(), _FieldTracker(size):
        Trace(network, visit).run(batch)
    maps = tensors[layer.node]
    field = getattr(maps, _FIELD, None)
    if layer.axes != "chw" or field is None or maps.dim() != 4:
        return _whole(size, (1, 1))
    return field


class _FieldTracker(TorchFunctionMode):
    """Attaches receptive fields to the result of every function, derived from its inputs'."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        fields = [getattr(item, _FIELD) for item in _tensors(args, kwargs) if hasattr(item, _FIELD)]
        value = result[0] if isinstance(result, tuple) and result else result
        if isinstance(value, Tensor) and fields:
            field = self._field(function_name(func), value, fields, args, kwargs)
            if field is not None:
                setattr(value, _FIELD, field)
        return result

    def _field(
        self, name: str, value: Tensor, fields: list[Field], args: Any, kwargs: Any
    ) -> Field | None:
        if value.dim() != 4:
            return _whole(self.size, (1, 1))
        shape = (value.shape[2], value.shape[3])
        operation = name.strip("_")
        # Operations that move or mix positions are not tracked: each may depend on every pixel.
        if operation in ("permute", "transpose", "movedim", "interpolate", "roll"):
            return _whole(self.size, shape)
        if operation.startswith("adaptive"):
            return _per_axis(fields[0], shape, _adaptive_windows)
        if operation in ("conv2d", "max_pool2d", "avg_pool2d", "max_pool2d_with_indices"):
            return _sliding(operation, fields[0], shape, args, kwargs)
        return _pointwise(fields, shape) or _whole(self.size, shape)


def _per_axis(field: Field, shape: tuple[int, int], windows: Any) -> Field:
    """Receptive fields of an output of `shape` whose positions are windows on the input's."""
    spans = []
    for axis, (span, n_positions) in enumerate(zip((field.down, field.across), shape)):
        firsts, lasts = windows(len(span.low), n_positions, axis)
        spans.append(span.windows(firsts, lasts))
    return Field(*spans)


def _adaptive_windows(n_inputs: int, n_positions: int, axis: int) -> tuple[Ends, Ends]:
    positions = np.arange(n_positions)
    # Torch's rule: from floor(i * n / m) up to ceil((i + 1) * n / m), exclusive.
    return positions * n_inputs // n_positions, -(-(positions + 1) * n_inputs // n_positions) - 1


def _sliding(name: str, field: Field, shape: tuple[int, int], args: Any, kwargs: Any) -> Field:
    """Receptive fields of a convolution or pooling."""
    kernel, stride, padding, dilation = _geometry(name, args, kwargs)

    def windows(n_inputs: int, n_positions: int, axis: int) -> tuple[Ends, Ends]:
        # Distance between the first and the last input of a (dilated) kernel.
        reach = dilation[axis] * (kernel[axis] - 1)
        before = reach // 2 if padding is None else padding[axis]
        # Window i starts at i * stride - padding.
        firsts = np.arange(n_positions) * stride[axis] - before
        # Padding depends on no pixel: clip the windows to the input.
        lasts = np.clip(firsts + reach, 0, n_inputs - 1)
        return np.clip(firsts, 0, n_inputs - 1), lasts

    return _per_axis(field, shape, windows)


def _geometry(name: str, args: Any, kwargs: Any) -> tuple[Any, Any, Any, Any]:
    """Kernel, stride, padding (None for "same") and dilation of a call, each as a pair."""
    names = {
        "conv2d": ("input", "weight", "bias", "stride", "padding", "dilation"),
        "avg_pool2d": ("input", "kernel_size", "stride", "padding"),
    }.get(name, ("input", "kernel_size", "stride", "padding", "dilation"))
    arguments = dict(zip(names, args)) | kwargs
    kernel = arguments["weight"].shape[2:] if name == "conv2d" else _pair(arguments["kernel_size"])
    # Without a stride, convolutions move by one, and pooling by its kernel.
    stride = arguments.get("stride")
    stride = (
        _pair(stride) if stride not in (None, (), []) else (1, 1) if name == "conv2d" else kernel
    )
    padding = arguments.get("padding", 0)
    padding = (
        {"same": None, "valid": (0, 0)}[padding] if isinstance(padding, str) else _pair(padding)
    )
    return kernel, stride, padding, _pair(arguments.get("dilation", 1))


def _pointwise(fields: Sequence[Field], shape: tuple[int, int]) -> Field | None:
    """Union of the inputs' fields, for sums, concatenations and elementwise functions.

    None if the inputs cannot be broadcast to the output's shape.
    """
    union = fields[0]
    # Spans are intervals, so the union of two may include pixels between them.
    for field in fields[1:]:
        if not all(
            _can_broadcast(len(a.low), len(b.low))
            for a, b in ((union.down, field.down), (union.across, field.across))
        ):
            return None
        union = Field(union.down.union(field.down), union.across.union(field.across))
    return union if (len(union.down.low), len(union.across.low)) == shape else None


def _can_broadcast(first: int, second: int) -> bool:
    return first == second or 1 in (first, second)


def _pixels(length: int) -> Span:
    """Each pixel depends on itself."""
    return Span(np.arange(length), np.arange(length) + 1)


def _whole(size: tuple[int, int], shape: tuple[int, int]) -> Field:
    """Each of ``shape`` positions depends on the whole image of `size`."""
    down, across = (
        Span(np.zeros(n, np.intp), np.full(n, length)) for n, length in zip(shape, size)
    )
    return Field(down, across)


def _tensors(args: Any, kwargs: Any) -> Iterator[Tensor]:
    for item in (*args, *kwargs.values()):
        if isinstance(item, Tensor):
            yield item
        elif isinstance(item, list | tuple):
            yield from (inner for inner in item if isinstance(inner, Tensor))


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    values = [int(item) for item in value]
    return (values[0], values[-1])
