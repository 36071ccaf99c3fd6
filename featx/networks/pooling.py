"""Maps and tokens -> one row per image."""

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
    """A layer to take from a network, and how it is pooled.

    Parameters
    ----------
    layer : Layer
    pooling : str
        As `featx.networks.pooling.choose_pooling` gave it.
    names : tuple of str
        Every name that the layer goes by in the network.
    norm : str, default=""
        Path of a module that the layer's values go through before they are pooled.
    """

    layer: Layer
    pooling: str
    names: tuple[str, ...]
    norm: str = ""

    @property
    def width(self) -> int:
        """Columns of its rows."""
        return pooled_width(self.pooling, self.layer)


def choose_pooling(pooling: str, layer: Layer) -> str:
    """What `pooling` comes to at a layer, one word for each way of pooling.

    Parameters
    ----------
    pooling : str
        One of `_POOLINGS`; ``auto`` is ``cls`` where there is a class token, else ``flatten``;
        ``mean`` is another word for ``gap``.
    layer : Layer
        What is pooled. A vector is left as it is.

    Raises
    ------
    ValueError
        If there is no such pooling, or it does not suit the layer.
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
    if (needs_token and not has_class_token) or (grid and layer.axes not in ("chw", "hwc")):
        what = "a class token" if needs_token else "maps"
        name = layer.alias or layer.node
        raise ValueError(
            f"pooling={pooling!r} needs {what}; layer {name!r} gives {layer.shape} ({layer.axes})."
        )
    if layer.axes == "?" and pooling != "flatten":
        raise ValueError(
            f"pooling={pooling!r} needs maps or tokens; layer {layer.node!r} gives {layer.shape}: "
            "use pooling='flatten'."
        )
    return "gap" if pooling == "mean" else pooling


def pooled_width(pooling: str, layer: Layer) -> int:
    """Columns of a row of `layer` under a pooling that `choose_pooling` gave."""
    if pooling == "flatten":
        return layer.n_features
    if pooling.startswith("grid="):
        return layer.n_pooled * int(pooling[5:]) ** 2
    return layer.n_pooled * (2 if pooling == "cls+mean" else 1)


def pool(value: Tensor, pooling: str, axes: str, n_prefix: int) -> Tensor:
    """Rows of a batch of maps, tokens or vectors.

    Parameters
    ----------
    value : Tensor of shape (n, ...)
    pooling : str
        As `choose_pooling` gave it.
    axes : str
        What the dimensions after the first are: ``c``, ``chw``, ``hwc``, ``tc``.
    n_prefix : int
        Tokens that belong to no patch; ``cls`` and ``flatten`` alone see them.

    Returns
    -------
    Tensor of shape (n, d)
        Flattened in the order of its axes, whatever the memory format.
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
    """Rows of what a layer returned; a copy where a later layer would write into it."""
    value = first_tensor(value)
    rows = pool(value, pooling, axes, n_prefix)
    # Clone: an operation after this layer writes in place.
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
