"""Trace a network to a graph, cut it after the deepest layer asked for, pool inside.

What is left is an `nn.Module` of its own that any back end can compile.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from featx.networks.layers import Layer
from featx.networks.pooling import pool, pooled_width
from featx.networks.tracing import (
    MARK,
    Namer,
    first_tensor,
    is_in_place,
    is_leaf,
    is_new,
)

PATH = "featx_path"


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
    """

    layer: Layer
    pooling: str
    names: tuple[str, ...]

    @property
    def width(self) -> int:
        """Columns of its rows."""
        return pooled_width(self.pooling, self.layer)


class Traced:
    """A network's graph, its nodes under featx's names.

    Parameters
    ----------
    network : torch.nn.Module
        In eval mode.
    size : tuple of int
        Height and width of a picture.

    Raises
    ------
    Exception
        Whatever torch.fx raises for a network that it cannot trace.
    """

    def __init__(self, network: nn.Module, size: tuple[int, int]) -> None:
        self.network = network
        self.graph = _trace(network)
        names = _NamingInterpreter(fx.GraphModule(network, self.graph), Namer(network))
        parameter = next(network.parameters(), torch.zeros(0))
        with torch.no_grad():
            names.run(torch.zeros(1, 3, *size, device=parameter.device))
        self.nodes: Mapping[str, fx.Node] = names.nodes

    def cut(self, taps: Sequence[Tap]) -> fx.GraphModule:
        """Module that gives the rows of each tap, and stops after the deepest.

        Raises
        ------
        KeyError
            If a tap is not a node of the graph.
        """
        graph = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        graph.graph_copy(self.graph, copies)
        tapped = [copies[self.nodes[tap.names[0]]] for tap in taps]
        _erase_after(graph, tapped)
        _switch_off_in_place(graph)
        rows = [_insert_rows(graph, node, tap) for node, tap in zip(tapped, taps)]
        graph.output(tuple(rows))
        return fx.GraphModule(self.network, graph).eval()


def tap_rows(
    value: Any, pooling: str, axes: str, n_prefix: int, *, must_copy: bool = False
) -> Tensor:
    """Rows of what a layer returned; a copy where a later layer would write into it."""
    value = first_tensor(value)
    rows = pool(value, pooling, axes, n_prefix)
    # Clone: an operation after this layer writes in place.
    return rows.clone() if must_copy and rows.data_ptr() == value.data_ptr() else rows


class _Tracer(fx.Tracer):
    """Traces through everything but single steps, and notes which module made each node."""

    def __init__(self) -> None:
        super().__init__()
        self.paths = [""]

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return is_leaf(m)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        self.paths.append(self.path_of_module(m))
        try:
            return super().call_module(m, forward, args, kwargs)
        finally:
            self.paths.pop()

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        node.meta[PATH] = self.paths[-1]
        return node


def _trace(network: nn.Module) -> fx.Graph:
    """Graph of a network of one input; its other arguments stand at their defaults."""
    parameters = list(inspect.signature(network.forward).parameters.values())[1:]
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    return _Tracer().trace(network, concrete_args=defaults or None)


class _NamingInterpreter(fx.Interpreter):
    """Runs a graph and gives the nodes that make tensors their names."""

    def __init__(self, module: fx.GraphModule, namer: Namer) -> None:
        super().__init__(module)
        self.namer = namer
        self.nodes: dict[str, fx.Node] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        value = first_tensor(result)
        if value is None:
            return result
        if n.op == "placeholder":
            setattr(value, MARK, "")
        elif n.op == "call_module":
            self._name(n, value, self.namer.module(str(n.target)))
        elif n.op in ("call_function", "call_method") and is_new(value, n.target, dict(n.kwargs)):
            self._name(n, value, self.namer.function(n.meta[PATH], n.target))
        return result

    def _name(self, node: fx.Node, value: Tensor, name: str) -> None:
        self.nodes[name] = node
        setattr(value, MARK, name)


def _erase_after(graph: fx.Graph, tapped: Sequence[fx.Node]) -> None:
    """Drop every node after the last of `tapped`, the output with them."""
    for node in reversed(list(graph.nodes)):
        if node in tapped:
            return
        graph.erase_node(node)


def _switch_off_in_place(graph: fx.Graph) -> None:
    """Let functions such as ``F.relu(x, inplace=True)`` leave their input alone."""
    for node in graph.nodes:
        if node.kwargs.get("inplace") is True:
            node.kwargs = {**node.kwargs, "inplace": False}


def _insert_rows(graph: fx.Graph, node: fx.Node, tap: Tap) -> fx.Node:
    must_copy = any(
        is_in_place(later.target, dict(later.kwargs))
        for later in graph.nodes
        if later.op in ("call_function", "call_method")
    )
    with graph.inserting_after(node):
        return graph.call_function(
            tap_rows,
            (node, tap.pooling, tap.layer.axes, tap.layer.n_prefix),
            {"must_copy": must_copy},
        )
