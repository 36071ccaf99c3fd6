"""Which layers of a network stand for its depth, and which of them are mapped."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from featx._lists import parse_names
from featx.errors import LayerError
from featx.networks.layers import Layer, LayerTable
from featx.networks.pooling import choose_pooling

N_MAPS = 6
_MANY_STEPS = 24


def choose_layers(
    table: LayerTable, layers: str | Sequence[str] = "all", pooling: str = "flatten"
) -> list[str]:
    """Names of the requested layers, in order of execution, each layer once.

    Parameters
    ----------
    table : LayerTable
    layers : str or sequence of str, default="all"
        ``all``, a name, or names with commas between them. ``all`` takes one layer for each
        step of the network up to the penultimate: what leaves a block, a pooling, or a
        rectified convolution or linear layer outside of blocks; where these are more than 24,
        stages stand for their blocks.
    pooling : str, default="flatten"
        ``all`` leaves out layers that cannot be pooled like that: none before the class token
        has one.

    Raises
    ------
    LayerError
        If a layer is not in the network.
    SpecError
        If a name is empty.

    Examples
    --------
    >>> from featx import list_layers
    >>> choose_layers(list_layers("alexnet"))[-4:]
    ['relu_conv5', 'pool5', 'relu_fc6', 'relu_fc7']
    """
    names = parse_names(layers)
    if names == ["all"]:
        return [name for name in _steps(table) if _can_be_pooled(table.find(name), pooling)]
    by_index: dict[int, str] = {}
    for name in names:
        by_index.setdefault(table.find(name).index, name)
    if not by_index:
        raise LayerError("", table.model, [layer.alias for layer in table if layer.alias][:1])
    return [by_index[index] for index in sorted(by_index)]


def choose_apart(values: Sequence[float], n_wanted: int = N_MAPS) -> list[int]:
    """Places on a curve that lie well apart, the first and the last among them.

    Parameters
    ----------
    values : sequence of float
        Of a measure, layer by layer.
    n_wanted : int, default=6

    Returns
    -------
    list of int, ascending
        Each is the farthest from those before it, in depth and in value alike.

    Examples
    --------
    >>> choose_apart([0.1, 0.1, 0.1, 0.1, 0.9], 3)
    [0, 3, 4]
    """
    depth = np.linspace(0, 1, len(values))
    span = float(np.ptp(values)) or 1.0
    points = np.stack([depth, np.asarray(values, float) / span], axis=1)
    chosen = sorted({0, len(values) - 1})
    while len(chosen) < min(n_wanted, len(values)):
        apart = np.linalg.norm(points[:, None] - points[chosen], axis=2).min(axis=1)
        apart[chosen] = -1
        chosen = sorted([*chosen, int(apart.argmax())])
    return chosen


def _steps(table: LayerTable) -> list[str]:
    last = table.find("penultimate")
    aliases = {layer.alias for layer in table}
    insides = tuple(
        f"{path}." for alias, path in table.containers.items() if not alias.startswith("stage")
    )
    names = [
        layer.alias
        for layer in table
        if layer.index < last.index
        and layer.alias
        and _is_step(layer, aliases)
        and not _is_inside(table, layer, insides)
    ]
    if len(names) >= _MANY_STEPS:
        names = [name for name in names if not name.startswith(("block", "fire"))]
    return [*names, last.alias or "penultimate"]


def _can_be_pooled(layer: Layer, pooling: str) -> bool:
    try:
        choose_pooling(pooling, layer)
    except ValueError:
        return False
    return True


def _is_step(layer: Layer, aliases: set[str]) -> bool:
    return f"relu_{layer.alias}" not in aliases


def _is_inside(table: LayerTable, layer: Layer, insides: tuple[str, ...]) -> bool:
    """Whether a layer is an inner one of a block; what leaves the block is not."""
    is_own = re.fullmatch(r"(?:block|fire|stage)\d+", layer.alias)
    names = table.recording.nodes[layer.index].names
    return not is_own and any(name.startswith(insides) for name in names)
