"""Pool feature maps or tokens to one row per image."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from featx.networks.layers import Layer
from featx.networks.tracing import first_tensor

_GEM_POWER = 3.0
_GEM_FLOOR = 1e-6
_POOLINGS = ("auto", "flatten", "gap", "mean", "max", "gem", "cls", "cls+mean", "grid=N")


@dataclass(frozen=True)
class Tap:
    """A layer to extract from a network, and how to pool it.

    Parameters
    ----------
    layer : Layer
    pooling : str
        Result of `featx.networks.pooling.choose_pooling`.
    names : tuple of str
        All names of the layer in the network.
    norm : str, default=""
        Path of a module that is applied to the layer's output before pooling.
    """

    layer: Layer
    pooling: str
    names: tuple[str, ...]
    norm: str = ""

    @property
    def width(self) -> int:
        """Number of columns of the pooled rows."""
        return pooled_width(self.pooling, self.layer)


def choose_pooling(pooling: str, layer: Layer) -> str:
    """Resolve `pooling` for a layer: ``auto`` and synonyms to one name per operation.

    Parameters
    ----------
    pooling : str
        One of `_POOLINGS`. ``auto`` is ``cls`` if there is a class token, else ``flatten``;
        ``mean`` is a synonym of ``gap``; vectors are always ``flatten``.
    layer : Layer

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If there is no such pooling, or the layer cannot be pooled that way.
    """
    grid = re.fullmatch(r"grid=([1-9]\d*)", pooling)
    if pooling not in _POOLINGS[:-1] and not grid:
        raise ValueError(f"pooling must be one of {', '.join(_POOLINGS)}; got {pooling!r}.")
    if layer.axes == "c":
        return "flatten"
    has_class_token = layer.axes == "tc" and layer.has_class_token
    if pooling == "auto":
        return "cls" if has_class_token else "flatten"
    needs_token = pooling in ("cls", "cls+mean")
    name = layer.alias or layer.node
    if (needs_token and not has_class_token) or (grid and layer.axes not in ("chw", "hwc")):
        requirement = "a class token" if needs_token else "feature maps"
        raise ValueError(
            f"pooling={pooling!r} needs {requirement}; layer {name!r} has shape {layer.shape} "
            f"({layer.axes})."
        )
    if layer.axes == "?" and pooling != "flatten":
        raise ValueError(
            f"pooling={pooling!r} needs feature maps or tokens; layer {name!r} has shape "
            f"{layer.shape} with unknown axes. Use pooling='flatten'."
        )
    return "gap" if pooling == "mean" else pooling


def pooled_width(pooling: str, layer: Layer) -> int:
    """Return the number of columns of a layer's rows; `pooling` is from `choose_pooling`."""
    if pooling == "flatten":
        return layer.n_features
    if pooling.startswith("grid="):
        return layer.n_pooled * int(pooling[5:]) ** 2
    return layer.n_pooled * (2 if pooling == "cls+mean" else 1)


def pool(value: Tensor, pooling: str, axes: str, n_prefix: int) -> Tensor:
    """Pool a batch of feature maps, tokens or vectors to rows.

    Parameters
    ----------
    value : Tensor of shape (n, ...)
    pooling : str
        Result of `choose_pooling`.
    axes : str
        Meaning of the dimensions after the first: ``c``, ``chw``, ``hwc``, ``tc``, ``ct``.
    n_prefix : int
        Number of tokens before the patch tokens; only ``cls`` and ``flatten`` use them.

    Returns
    -------
    Tensor of shape (n, d)
        Flattened in the order of the axes, whatever the memory format.
    """
    if pooling == "flatten":
        return value.flatten(1) if value.dim() > 1 else value[:, None]
    if pooling == "cls":
        return value[:, 0]  # (n, c)
    if pooling == "cls+mean":  # As in the linear evaluation of DINOv2.
        return torch.cat([value[:, 0], value[:, n_prefix:].mean(1)], dim=1)  # (n, 2 * c)
    if axes == "tc":
        value = value[:, n_prefix:].transpose(1, 2)[..., None]  # (n, c, t, 1)
    elif axes == "ct":
        value = value[..., n_prefix:, None]  # (n, c, t, 1)
    elif axes == "hwc":
        value = value.movedim(-1, 1)  # (n, c, h, w)
    return _pool_maps(value, pooling)


def tap_rows(
    value: Any, pooling: str, axes: str, n_prefix: int, *, must_copy: bool = False
) -> Tensor:
    """Pool a layer's output; with `must_copy`, rows never share memory with it."""
    value = first_tensor(value)
    rows = pool(value, pooling, axes, n_prefix)
    # Clone: a later operation writes in place.
    return rows.clone() if must_copy and rows.data_ptr() == value.data_ptr() else rows


def _pool_maps(maps: Tensor, pooling: str) -> Tensor:
    if pooling == "gap":
        return maps.mean((2, 3))  # (n, c)
    if pooling == "max":
        return maps.amax((2, 3))  # (n, c)
    if pooling == "gem":
        powers = maps.float().clamp(min=_GEM_FLOOR) ** _GEM_POWER
        return torch.pow(powers.mean((2, 3)), 1 / _GEM_POWER)  # (n, c)
    n_cells = int(pooling[5:])
    return F.adaptive_avg_pool2d(maps, n_cells).flatten(1)  # (n, c * N * N)
