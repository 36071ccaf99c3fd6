"""The frozen part of a network, split off so that its features are extracted only once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import fx, nn

from featx.data.images import Images
from featx.extractors.cnn import CNNFeatures
from featx.finetuning.heads import Prepared
from featx.networks.completeness import needed_tensors
from featx.networks.hooks import HookedNetwork
from featx.networks.layers import Layer
from featx.networks.pooling import Tap
from featx.networks.sources.base import RANDOM
from featx.networks.tapping import deviation, noise

_TOLERANCE = 1e-4


@dataclass(frozen=True)
class FrozenPart:
    """The part of a network up to a layer before which nothing is trained.

    Parameters
    ----------
    prepared : Prepared
    layer : Layer
        The last layer of the part; the original network has it too.
    tail : torch.nn.Module
        The rest of the network, which takes the output of the layer; shares its modules.
    source : mapping
        ``model``, ``weights``, ``load``, ``store`` and ``trust`` of the original network, as
        `featx.extractors.cnn.CNNFeatures` takes them.
    """

    prepared: Prepared
    layer: Layer
    tail: nn.Module
    source: Mapping[str, Any]

    def extract(self, images: Images) -> npt.NDArray[np.float32]:
        """Features of the layer, shape (n_images, n_features)."""
        rows: npt.NDArray[np.float32] = self._extractor().fit_transform(images)
        return rows

    def _extractor(self) -> CNNFeatures:
        """From the original network if possible: its features can be in the store."""
        prepared, config = self.prepared, self.prepared.config
        preprocessing = config.preprocessing
        parameters: dict[str, Any] = {
            "pooling": "flatten",
            "size": preprocessing.resize,
            "crop": preprocessing.crop,
            "interpolation": preprocessing.interpolation,
            "mean": preprocessing.mean,
            "std": preprocessing.std,
            "device": config.device,
        }
        entered = prepared.table.recording.entered
        needed = needed_tensors(prepared.network, entered, self.layer.index)
        if config.weights.name == RANDOM or not prepared.new_tensors.isdisjoint(needed):
            prepared.network.preprocessing = preprocessing  # type: ignore[assignment]
            return CNNFeatures(prepared.network, self.layer.node, **parameters)
        return CNNFeatures(layer=prepared.original(self.layer), **self.source, **parameters)


def split_off_frozen_part(
    prepared: Prepared, boundary: int, source: Mapping[str, Any]
) -> FrozenPart | None:
    """The largest part of a network before a layer whose output is all that the rest needs.

    Parameters
    ----------
    prepared : Prepared
    boundary : int
        Index of the first layer that is trained.
    source : mapping
        As in `FrozenPart`.

    Returns
    -------
    FrozenPart or None
        None if the network cannot be split before `boundary`.
    """
    split = _split_before_head(prepared, boundary) or _split_graph(prepared, boundary)
    return split and FrozenPart(prepared, *split, source)


def _split_graph(prepared: Prepared, boundary: int) -> tuple[Layer, nn.Module] | None:
    """The deepest layer whose output is all that the rest needs, and the rest."""
    try:
        nodes = (traced := prepared.trace()).nodes
    except Exception:  # torch.fx fails in as many ways as networks are written.
        return None
    for layer in reversed(list(prepared.table)[:boundary]):
        names = prepared.table.recording.nodes[layer.index].names
        node = next((nodes[name] for name in names if name in nodes), None)
        is_known = layer.axes in ("c", "chw", "tc") and prepared.original(layer)
        if is_known and node is not None:
            tail = _graph_after(prepared.network, traced.graph, node)
            if tail is not None:
                is_same = _is_equivalent(prepared, Tap(layer, "flatten", names), tail)
                return (layer, tail) if is_same else None
    return None


def _split_before_head(prepared: Prepared, boundary: int) -> tuple[Layer, nn.Module] | None:
    """Output of the original network and the head that follows it, which needs no graph."""
    start = prepared.table.recording.entered.get("head", 0)
    if not prepared.body or not 0 < start <= boundary:
        return None
    layer = prepared.table[start - 1]
    names = prepared.table.recording.nodes[layer.index].names
    tail = prepared.network.get_submodule("head")
    is_whole = "body" in names and layer.axes in ("c", "chw", "tc")
    if not is_whole or not prepared.original(layer):
        return None
    return (layer, tail) if _is_equivalent(prepared, Tap(layer, "flatten", names), tail) else None


def _is_equivalent(prepared: Prepared, tap: Tap, tail: nn.Module) -> bool:
    """Whether a layer and its tail compute the network's output: a graph records one branch."""
    images = noise(prepared.network, prepared.size)
    with torch.no_grad():
        (rows,) = HookedNetwork(prepared.network, [tap])(images)
        error = deviation(tail(rows.reshape(-1, *tap.layer.shape)), prepared.network(images))
    return error <= _TOLERANCE


def _graph_after(network: nn.Module, graph: fx.Graph, node: fx.Node) -> nn.Module | None:
    """The graph after a node; None if it needs more than the node's output."""
    rest = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    output: Any = rest.graph_copy(graph, copies)
    rest.output(output)
    start = copies[node]
    inputs = [n.name for n in rest.nodes if n.op == "placeholder"]
    with rest.inserting_before(next(iter(rest.nodes))):  # Before inputs with a default.
        features = rest.placeholder("features")
    start.replace_all_uses_with(features)
    whole = fx.GraphModule(network, rest)
    # Unused nodes are removed, also checks of shapes, which the frozen part has passed.
    whole.graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
    for placeholder in [n for n in whole.graph.nodes if n.name in inputs]:
        if placeholder.users:
            return None
        whole.graph.erase_node(placeholder)
    return fx.GraphModule(network, whole.graph)
