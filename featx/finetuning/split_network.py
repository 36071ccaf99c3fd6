"""The part of a network that trains, cut off from the fixed part before it."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn

from featx.finetuning.heads import Prepared
from featx.networks.hooks import HookedNetwork
from featx.networks.layers import Layer
from featx.networks.pooling import Tap
from featx.networks.tapping import deviation, noise

_TOLERANCE = 1e-4


def find_tail(prepared: Prepared, boundary: int) -> tuple[Layer, nn.Module] | None:
    """The deepest layer that all the rest goes through, and what comes after it.

    Parameters
    ----------
    prepared : Prepared
    boundary : int
        Place of the first module that trains.

    Returns
    -------
    (Layer, torch.nn.Module) or None
        The layer is one of the original network too. The module takes its output and shares
        its parts with the network. None where the network cannot be cut before `boundary`.
    """
    try:
        nodes = (traced := prepared.trace()).nodes
    except Exception:  # torch.fx fails in as many ways as networks are written.
        return None
    original = {node.name for node in prepared.plan.table.recording.nodes}
    for layer in reversed(list(prepared.table)[:boundary]):
        names = prepared.table.recording.nodes[layer.index].names
        node = next((nodes[name] for name in names if name in nodes), None)
        if layer.node in original and node is not None and layer.axes in ("c", "chw"):
            tail = _after(prepared.network, traced.graph, node)
            if tail is not None:
                is_same = _is_rest(prepared, Tap(layer, "flatten", names), tail)
                return (layer, tail) if is_same else None
    return None


def _is_rest(prepared: Prepared, tap: Tap, tail: nn.Module) -> bool:
    """Whether a layer and its tail give what the network gives: a graph may go another way."""
    images = noise(prepared.network, prepared.size)
    with torch.no_grad():
        (rows,) = HookedNetwork(prepared.network, [tap])(images)
        share = deviation(tail(rows.reshape(-1, *tap.layer.shape)), prepared.network(images))
    return share <= _TOLERANCE


def _after(network: nn.Module, graph: fx.Graph, node: fx.Node) -> nn.Module | None:
    """What comes after a node; None where something goes past it."""
    rest = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    output: Any = rest.graph_copy(graph, copies)
    rest.output(output)
    start = copies[node]
    inputs = [n.name for n in rest.nodes if n.op == "placeholder"]
    with rest.inserting_before(next(iter(rest.nodes))):  # After an input with a default none may.
        features = rest.placeholder("features")
    start.replace_all_uses_with(features)
    whole = fx.GraphModule(network, rest)
    whole.graph.eliminate_dead_code()
    for placeholder in [n for n in whole.graph.nodes if n.name in inputs]:
        if placeholder.users:
            return None
        whole.graph.erase_node(placeholder)
    return fx.GraphModule(network, whole.graph)
