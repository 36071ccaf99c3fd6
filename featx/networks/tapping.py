"""Trace a network to a graph, cut it after the deepest layer asked for, pool inside.

What is left is an `nn.Module` of its own that any back end can compile.
"""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn

from featx.errors import ModelError
from featx.networks.hooks import HookedNetwork
from featx.networks.input_bands import count_input_bands
from featx.networks.pooling import Tap, tap_rows
from featx.networks.tracing import (
    MARK,
    Namer,
    first_tensor,
    is_in_place,
    is_leaf,
    is_new,
)

PATH = "featx_path"

_TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 5e-2}
"""Largest deviation of a graph's tensor from the network's."""


class Traced:
    """A network's graph, its nodes under featx's names.

    Parameters
    ----------
    network : torch.nn.Module
        In eval mode.
    size : tuple of int
        Height and width of an image.

    Raises
    ------
    Exception
        Whatever torch.fx raises for a network that it cannot trace.
    """

    def __init__(self, network: nn.Module, size: tuple[int, int]) -> None:
        self.network = network
        self.graph = _trace(network)
        self._size = size

    @cached_property
    def nodes(self) -> Mapping[str, fx.Node]:
        """Every node that makes a tensor, by the name that the tensor has in the network."""
        return self._run(frozenset(), noise(self.network, self._size)).nodes

    def cut(
        self, taps: Sequence[Tap], size: tuple[int, int] | None = None, n_images: int = 2
    ) -> fx.GraphModule:
        """Module that gives the rows of each tap, and stops after the deepest.

        The graph is not always the network: code that looks at its input's type, or catches an
        error of the tracer, goes another way while it is traced. So every tapped tensor is
        compared with the one that the network makes when it runs.

        Parameters
        ----------
        taps : sequence of Tap
        size : tuple of int, optional
            Height and width of the images of this comparison; by default the network's own.
        n_images : int, default=2
            Of this comparison.

        Raises
        ------
        KeyError
            If a tap is not a node of the graph.
        ModelError
            If a tap's tensor is not the network's.
        """
        images = noise(self.network, size or self._size, n_images)
        named = self._run(frozenset(tap.names[0] for tap in taps), images)
        nodes = [named.nodes[tap.names[0]] for tap in taps]
        self._compare(taps, [named.values[tap.names[0]] for tap in taps], images)
        graph = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        graph.graph_copy(self.graph, copies)
        tapped = [copies[node] for node in nodes]
        _erase_after(graph, tapped)
        _switch_off_in_place(graph)
        rows = [_insert_rows(graph, node, tap) for node, tap in zip(tapped, taps)]
        graph.output(tuple(rows))
        return fx.GraphModule(self.network, graph).eval()

    def _run(self, until: Set[str], images: Tensor) -> _NamingInterpreter:
        """A run of the graph up to the last of some names; all of it without."""
        module = fx.GraphModule(self.network, self.graph)
        named = _NamingInterpreter(module, Namer(self.network), until)
        with torch.no_grad():
            named.run_until(images.clone())  # Its marks are those of this run.
        return named

    def _compare(self, taps: Sequence[Tap], values: Sequence[Tensor], images: Tensor) -> None:
        """Raise unless the graph's tensors are those of the network as it runs."""
        flat = [replace(tap, pooling="flatten", norm="") for tap in taps]
        with torch.no_grad():
            expected = HookedNetwork(self.network, flat)(images)
        for tap, value, rows in zip(taps, values, expected):
            share = deviation(value, rows) if len(value) == len(rows) else math.inf
            tolerance = _TOLERANCES.get(rows.dtype, _TOLERANCES[torch.float32])
            if not share <= tolerance:
                raise ModelError(f"the graph's {tap.layer.node!r} deviates by {share:.1e}")


def noise(network: nn.Module, size: tuple[int, int], n_images: int = 2) -> Tensor:
    """Images of noise ``(n, 3, h, w)`` for a comparison: blank ones would hide differences.

    They are not as many as in the recorded run, so that a tensor of which the first dimension
    is not that of the images shows itself by its shape.
    """
    parameter = next(network.parameters(), torch.zeros(0))
    images = torch.randn(
        n_images, count_input_bands(network), *size, generator=torch.Generator().manual_seed(0)
    )
    return images.to(parameter.device)


def deviation(values: Tensor, expected: Tensor) -> float:
    """Length of the difference from what is expected, as a share of its length.

    Examples
    --------
    >>> deviation(torch.tensor([2.0, 1.0]), torch.tensor([2.0, 2.0]))  # doctest: +ELLIPSIS
    0.353...
    """
    if values.numel() != expected.numel():
        return math.inf
    values, expected = values.float().flatten(), expected.float().flatten()
    is_same = (values == expected) | (values.isnan() & expected.isnan())  # infinities too
    difference = (values - expected).masked_fill(is_same, 0).norm()
    length = expected.nan_to_num(0, 0, 0).norm()
    return float(difference / length) if length > 0 else float(difference)


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
    """Runs a graph and gives the nodes that make tensors their names.

    Parameters
    ----------
    module : torch.fx.GraphModule
    namer : Namer
    until : set of str
        Names whose tensors are kept, and after the last of which the run ends.
    """

    def __init__(self, module: fx.GraphModule, namer: Namer, until: Set[str]) -> None:
        super().__init__(module)
        self.namer = namer
        self.until = until
        self.nodes: dict[str, fx.Node] = {}
        self.values: dict[str, Tensor] = {}

    def run_until(self, batch: Tensor) -> None:
        """Run the graph up to the last of the names; all of it where it lacks one."""
        # Not `run`: what is raised inside of it makes torch import its compiler.
        self.args_iter = iter([batch])
        for node in self.module.graph.nodes:  # type: ignore[union-attr]
            self.env[node] = self.run_node(node)
            for dead in self.user_to_last_uses.get(node, ()):
                del self.env[dead]
            if self.until and len(self.values) == len(self.until):
                return

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        value = first_tensor(result)
        if value is None:
            return result
        if n.op == "placeholder":
            setattr(value, MARK, "")
        elif n.op == "call_module":
            self._name(n, value, self.namer.module(str(n.target)))
        elif self._is_call(n) and is_new(value, n.target, dict(n.kwargs)):
            self._name(n, value, self.namer.function(n.meta[PATH], n.target))
        return result

    def _is_call(self, node: fx.Node) -> bool:
        """Whether a node is a call in the running network too; unpacking a tuple is none."""
        if node.target is operator.getitem:
            return isinstance(self.env[node.args[0]], Tensor)  # type: ignore[index]
        return node.op in ("call_function", "call_method")

    def _name(self, node: fx.Node, value: Tensor, name: str) -> None:
        self.nodes[name] = node
        setattr(value, MARK, name)
        if name in self.until:
            # Clone: a later operation of the graph may write in place.
            self.values[name] = value.clone()


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
    if tap.norm:
        with graph.inserting_after(node):
            node = graph.call_module(tap.norm, (node,))
    with graph.inserting_after(node):
        return graph.call_function(
            tap_rows,
            (node, tap.pooling, tap.layer.axes, tap.layer.n_prefix),
            {"must_copy": must_copy},
        )
