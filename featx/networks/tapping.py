"""Trace a network to a graph, cut it after the deepest requested layer, and pool inside it.

The result is an `nn.Module` that any backend can compile.
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
"""Maximum relative deviation of a graph's tensor from the network's."""


class Traced:
    """A network's graph, whose nodes have the same names as in `featx.networks.tracing`.

    Parameters
    ----------
    network : torch.nn.Module
        In eval mode.
    size : tuple of int
        Height and width of the images in px.

    Raises
    ------
    Exception
        Any exception of torch.fx, if it cannot trace the network.
    """

    def __init__(self, network: nn.Module, size: tuple[int, int]) -> None:
        self.network = network
        self.graph = _trace(network)
        self._size = size

    @cached_property
    def nodes(self) -> Mapping[str, fx.Node]:
        """Name of a tensor in the network -> graph node that computes it."""
        return self._run(frozenset(), noise(self.network, self._size)).nodes

    def cut(
        self, taps: Sequence[Tap], size: tuple[int, int] | None = None, n_images: int = 2
    ) -> fx.GraphModule:
        """Return a module that computes the rows of each tap, and nothing after the deepest.

        A graph may differ from its network: code that checks the type of its input, or catches the
        tracer's exceptions, takes another branch when traced. Therefore every tapped tensor is
        compared with the one that the running network computes.

        Parameters
        ----------
        taps : sequence of Tap
        size : tuple of int, optional
            Height and width of the images used for this comparison; by default the network's.
        n_images : int, default=2
            Number of images used for this comparison.

        Returns
        -------
        torch.fx.GraphModule
            Maps images ``(n, 3, h, w)`` to a tuple of rows ``(n, d)``, one per tap.

        Raises
        ------
        KeyError
            If a tap is not a node of the graph.
        ModelError
            If a tap's tensor differs from the network's.
        """
        images = noise(self.network, size or self._size, n_images)
        run = self._run(frozenset(tap.names[0] for tap in taps), images)
        self._compare(taps, [run.values[tap.names[0]] for tap in taps], images)
        graph = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        graph.graph_copy(self.graph, copies)
        tapped = [copies[run.nodes[tap.names[0]]] for tap in taps]
        _erase_after(graph, tapped)
        _switch_off_in_place(graph)
        rows = [_insert_rows(graph, node, tap) for node, tap in zip(tapped, taps)]
        graph.output(tuple(rows))
        return fx.GraphModule(self.network, graph).eval()

    def _run(self, until: Set[str], images: Tensor) -> _NamingInterpreter:
        """Run the graph until all names in `until` are computed; the whole graph if it is empty."""
        module = fx.GraphModule(self.network, self.graph)
        interpreter = _NamingInterpreter(module, Namer(self.network), until)
        with torch.no_grad():
            interpreter.run_until(images.clone())  # A run leaves marks on its input.
        return interpreter

    def _compare(self, taps: Sequence[Tap], values: Sequence[Tensor], images: Tensor) -> None:
        """Raise if a tensor of the graph differs from that of the running network."""
        flat = [replace(tap, pooling="flatten", norm="") for tap in taps]
        with torch.no_grad():
            expected = HookedNetwork(self.network, flat)(images)
        for tap, value, rows in zip(taps, values, expected):
            relative = deviation(value, rows) if len(value) == len(rows) else math.inf
            tolerance = _TOLERANCES.get(rows.dtype, _TOLERANCES[torch.float32])
            if not relative <= tolerance:
                raise ModelError(f"the graph's {tap.layer.node!r} deviates by {relative:.1e}")


def noise(network: nn.Module, size: tuple[int, int], n_images: int = 2) -> Tensor:
    """Return random images ``(n, 3, h, w)`` for a comparison: blank ones would hide differences.

    Their number differs from that of the recorded run, so that a tensor whose first dimension is
    not the images is recognized by its shape.
    """
    parameter = next(network.parameters(), torch.zeros(0))
    images = torch.randn(
        n_images, count_input_bands(network), *size, generator=torch.Generator().manual_seed(0)
    )
    return images.to(parameter.device)


def deviation(values: Tensor, expected: Tensor) -> float:
    """Return the norm of the difference of two tensors, relative to the norm of `expected`.

    Examples
    --------
    >>> deviation(torch.tensor([2.0, 1.0]), torch.tensor([2.0, 2.0]))  # doctest: +ELLIPSIS
    0.353...
    """
    if values.numel() != expected.numel():
        return math.inf
    values, expected = values.float().flatten(), expected.float().flatten()
    # Equal infinities and NaNs count as equal; their difference would be NaN.
    is_equal = (values == expected) | (values.isnan() & expected.isnan())
    difference = (values - expected).masked_fill(is_equal, 0).norm()
    norm = expected.nan_to_num(0, 0, 0).norm()
    return float(difference / norm) if norm > 0 else float(difference)


class _Tracer(fx.Tracer):
    """Traces into all modules but leaves, and stores with each node which module computed it."""

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
    """Graph of a network of one input; its other arguments have their default values."""
    parameters = list(inspect.signature(network.forward).parameters.values())[1:]
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    return _Tracer().trace(network, concrete_args=defaults or None)


class _NamingInterpreter(fx.Interpreter):
    """Runs a graph and names the nodes that compute tensors.

    Parameters
    ----------
    module : torch.fx.GraphModule
    namer : Namer
    until : set of str
        Names of the tensors to store; the run stops once it has all of them.
    """

    def __init__(self, module: fx.GraphModule, namer: Namer, until: Set[str]) -> None:
        super().__init__(module)
        self.namer = namer
        self.until = until
        self.nodes: dict[str, fx.Node] = {}
        self.values: dict[str, Tensor] = {}

    def run_until(self, batch: Tensor) -> None:
        """Run the graph until all names are computed; the whole graph if one is not."""
        # Not `run`, in which an exception makes torch import its compiler.
        self.args_iter = iter([batch])
        for node in self.module.graph.nodes:  # type: ignore[union-attr]
            self.env[node] = self.run_node(node)
            for unused in self.user_to_last_uses.get(node, ()):
                del self.env[unused]
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
        """Whether a node is a call in the running network, too: unpacking a tuple is not."""
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
    """Erase every node after the last of `tapped`, including the output."""
    for node in reversed(list(graph.nodes)):
        if node in tapped:
            return
        graph.erase_node(node)


def _switch_off_in_place(graph: fx.Graph) -> None:
    """Make functions such as ``F.relu(x, inplace=True)`` return a new tensor."""
    for node in graph.nodes:
        if node.kwargs.get("inplace") is True:
            node.kwargs = {**node.kwargs, "inplace": False}


def _insert_rows(graph: fx.Graph, node: fx.Node, tap: Tap) -> fx.Node:
    """Add pooling after a node; returns the node of the rows."""
    must_copy = any(
        is_in_place(other.target, dict(other.kwargs))
        for other in graph.nodes
        if other.op in ("call_function", "call_method")
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
