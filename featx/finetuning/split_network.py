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
    if (whole := _head_after_body(prepared, boundary)) is not None:
        return whole
    try:
        nodes = (traced := prepared.trace()).nodes
    except Exception:  # torch.fx fails in as many ways as networks are written.
        return None
    for layer in reversed(list(prepared.table)[:boundary]):
        names = prepared.table.recording.nodes[layer.index].names
        node = next((nodes[name] for name in names if name in nodes), None)
        is_known = layer.axes in ("c", "chw", "tc") and prepared.original(layer)
        if is_known and node is not None:
            tail = _after(prepared.network, traced.graph, node)
            if tail is not None:
                is_same = _is_rest(prepared, Tap(layer, "flatten", names), tail)
                return (layer, tail) if is_same else None
    return None


def _head_after_body(prepared: Prepared, boundary: int) -> tuple[Layer, nn.Module] | None:
    """Output of the original network, and the head after it: these need no graph."""
    start = prepared.table.recording.entered.get("head", 0)
    if not prepared.body or not 0 < start <= boundary:
        return None
    layer = prepared.table[start - 1]
    names = prepared.table.recording.nodes[layer.index].names
    tail = prepared.network.get_submodule("head")
    is_whole = "body" in names and layer.axes in ("c", "chw", "tc")
    if not is_whole or not prepared.original(layer):
        return None
    return (layer, tail) if _is_rest(prepared, Tap(layer, "flatten", names), tail) else None


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
    # What is not used goes, also checks of shapes, which the body has passed.
    whole.graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
    for placeholder in [n for n in whole.graph.nodes if n.name in inputs]:
        if placeholder.users:
            return None
        whole.graph.erase_node(placeholder)
    return fx.GraphModule(network, whole.graph)
