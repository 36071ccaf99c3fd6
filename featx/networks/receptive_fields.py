"""Receptive fields: the pixels that each place of a network's maps depends on, exactly."""

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
    """First pixel and the one after the last that each place along one side depends on."""

    low: Ends
    high: Ends

    def joined(self, other: Span) -> Span:
        """What either depends on; a side of one place goes with every place of the other."""
        return Span(np.minimum(self.low, other.low), np.maximum(self.high, other.high))

    def windows(self, firsts: Ends, lasts: Ends) -> Span:
        """Places that each see those from a first to a last one."""
        return Span(
            np.array([self.low[a : b + 1].min() for a, b in zip(firsts, lasts)], np.intp),
            np.array([self.high[a : b + 1].max() for a, b in zip(firsts, lasts)], np.intp),
        )


@dataclass(frozen=True)
class Field:
    """What the places of a map depend on, down and across.

    Attributes
    ----------
    down, across : Span
    """

    down: Span
    across: Span

    def box(self, row: int, column: int) -> tuple[slice, slice]:
        """Rows and columns of pixels that one place depends on, none outside the image."""
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
    """What each place of a layer's maps depends on.

    Parameters
    ----------
    network : torch.nn.Module
        In eval mode; nothing is computed with it, only sizes are followed.
    layer : Layer
    size : tuple of int
        Height and width of an image.

    Returns
    -------
    Field
        Of a layer without maps, one place that depends on the whole image. So does what comes
        after an operation that mixes places in a way that is not followed, as attention does.

    Examples
    --------
    >>> from featx import list_layers
    >>> from featx.networks.configs import find_config
    >>> network = find_config("featxnet", weights="random").network().module
    >>> receptive_field(network, list_layers("featxnet").find("pool1"), (112, 112)).size
    (9, 9)
    """
    found: dict[str, Tensor] = {}

    def see(name: str, kind: str, value: Tensor, source: Tensor | None, *, is_new: bool) -> None:
        found.setdefault(name, value)

    parameter = next(network.parameters(), torch.zeros(0))
    # An image of zeros goes through the network once; every pixel starts as its own field.
    shape = 1, count_input_bands(network), *size
    batch = torch.zeros(shape, device=parameter.device, dtype=parameter.dtype)
    setattr(batch, _FIELD, Field(*(_pixels(length) for length in size)))
    with torch.no_grad(), _Following(size):
        Trace(network, see).run(batch)
    value = found[layer.node]
    field = getattr(value, _FIELD, None)
    if layer.axes != "chw" or field is None or value.dim() != 4:
        return _whole(size, (1, 1))
    return field


class _Following(TorchFunctionMode):
    """Notes on every tensor what its places depend on."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        # What the result depends on follows from what the inputs depend on and from the operation.
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
        positions = (value.shape[2], value.shape[3])
        bare = name.strip("_")
        # Places are mixed or moved in ways that are not followed: each depends on everything.
        if bare in ("permute", "transpose", "movedim", "interpolate", "roll"):
            return _whole(self.size, positions)
        if bare.startswith("adaptive"):
            return _by_side(fields[0], positions, _adaptive)
        if bare in ("conv2d", "max_pool2d", "avg_pool2d", "max_pool2d_with_indices"):
            return _windowed(bare, fields[0], positions, args, kwargs)
        return _pointwise(fields, positions) or _whole(self.size, positions)


def _by_side(field: Field, positions: tuple[int, int], find: Any) -> Field:
    """A field whose places along each side are windows on another's."""
    sides = []
    for side, (span, n_places) in enumerate(zip((field.down, field.across), positions)):
        firsts, lasts = find(len(span.low), n_places, side)
        sides.append(span.windows(firsts, lasts))
    return Field(*sides)


def _adaptive(n_before: int, n_places: int, side: int) -> tuple[Ends, Ends]:
    positions = np.arange(n_places)
    # Torch's rule: from floor(i * n / m) up to ceil((i + 1) * n / m), exclusive.
    return positions * n_before // n_places, -(-(positions + 1) * n_before // n_places) - 1


def _windowed(name: str, field: Field, positions: tuple[int, int], args: Any, kwargs: Any) -> Field:
    kernel, stride, padding, dilation = _geometry(name, args, kwargs)

    def find(n_before: int, n_places: int, side: int) -> tuple[Ends, Ends]:
        # A dilated kernel covers as much as an ordinary one of `reach` + 1.
        reach = dilation[side] * (kernel[side] - 1)
        before = reach // 2 if padding is None else padding[side]
        # Place i of a window operation covers i * stride - padding and `reach` places after it.
        firsts = np.arange(n_places) * stride[side] - before
        lasts = np.clip(firsts + reach, 0, n_before - 1)
        # A window that begins outside sees what is inside.
        return np.clip(firsts, 0, n_before - 1), lasts

    return _by_side(field, positions, find)


def _geometry(name: str, args: Any, kwargs: Any) -> tuple[Any, Any, Any, Any]:
    """Kernel, stride, padding (None: as much as keeps the size) and dilation of a call."""
    names = {
        "conv2d": ("input", "weight", "bias", "stride", "padding", "dilation"),
        "avg_pool2d": ("input", "kernel_size", "stride", "padding"),
    }.get(name, ("input", "kernel_size", "stride", "padding", "dilation"))
    given = dict(zip(names, args)) | kwargs
    kernel = given["weight"].shape[2:] if name == "conv2d" else _pair(given["kernel_size"])
    stride = given.get("stride")
    stride = (
        _pair(stride) if stride not in (None, (), []) else (1, 1) if name == "conv2d" else kernel
    )
    padding = given.get("padding", 0)
    padding = (
        {"same": None, "valid": (0, 0)}[padding] if isinstance(padding, str) else _pair(padding)
    )
    return kernel, stride, padding, _pair(given.get("dilation", 1))


def _pointwise(fields: Sequence[Field], positions: tuple[int, int]) -> Field | None:
    """Of operations place by place: what any of the inputs depends on."""
    # Sums and concatenations of branches: the union of what each branch depends on.
    joined = fields[0]
    for field in fields[1:]:
        if not all(
            _fits(len(a.low), len(b.low))
            for a, b in ((joined.down, field.down), (joined.across, field.across))
        ):
            return None
        joined = Field(joined.down.joined(field.down), joined.across.joined(field.across))
    is_same = (len(joined.down.low), len(joined.across.low)) == positions
    return joined if is_same else None


def _fits(first: int, second: int) -> bool:
    return first == second or 1 in (first, second)


def _pixels(length: int) -> Span:
    return Span(np.arange(length), np.arange(length) + 1)


def _whole(size: tuple[int, int], positions: tuple[int, int]) -> Field:
    down, across = (
        Span(np.zeros(n, np.intp), np.full(n, length)) for n, length in zip(positions, size)
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
