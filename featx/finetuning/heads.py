"""A network with a head of one's own: built, its weights in, its classifier replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from featx._lists import parse_integers
from featx.errors import ModelError, SpecError
from featx.networks.completeness import check_complete
from featx.networks.head_replacement import FeaturesOf, Replacement, replace_modules
from featx.networks.layers import (
    CONVOLUTIONS,
    LINEARS,
    RECTIFIERS,
    Layer,
    LayerTable,
    Node,
)
from featx.networks.network import NetworkConfig, record_layers, switch_off_in_place
from featx.networks.network_errors import name_network
from featx.networks.pooling import choose_pooling, pooled_width
from featx.networks.sources.base import RANDOM
from featx.networks.sources.saved_folder import FolderSource
from featx.networks.tapping import Traced
from featx.networks.weights import LoadReport, fit_state

WEIGHTED = CONVOLUTIONS | LINEARS


@dataclass(frozen=True)
class Head:
    """What takes the place of a network's classifier.

    Parameters
    ----------
    layer : str, optional
        The layer that it takes its features from. Without it: where nothing else is said, what
        the old classifier took; else the last maps, averaged over all places.
    hidden : tuple of int, default=()
        Sizes of dense layers with a rectifier before the classes.
    dropout : float, default=0.0
        Before each dense layer.
    batch_norm : bool, default=False
        Before each dense layer.
    pooling : str, default="auto"
        Of what the network gives before it pools, as in `featx.extractors.cnn.CNNFeatures`;
        ``auto`` leaves pooling to the network where it does any.

    Examples
    --------
    >>> Head().is_plain, Head(hidden=(256,), dropout=0.5).is_plain
    (True, False)
    """

    layer: str | None = None
    hidden: tuple[int, ...] = ()
    dropout: float = 0.0
    batch_norm: bool = False
    pooling: str = "auto"

    @property
    def is_plain(self) -> bool:
        """Whether the classifier is only replaced by one for other classes."""
        return self == Head()

    def dense(self, n_features: int, n_classes: int) -> list[list[Any]]:
        """Its dense layers, as `featx.networks.head_replacement.replace_modules` takes them."""
        layers: list[list[Any]] = []
        sizes = [n_features, *self.hidden, n_classes]
        for i, (n_in, n_out) in enumerate(pairwise(sizes), 1):
            is_last = i == len(sizes) - 1
            layers += [[f"norm{i}", "batch_norm", n_in]] if self.batch_norm else []
            layers += [[f"dropout{i}", "dropout", self.dropout]] if self.dropout else []
            layers += [["logits" if is_last else f"dense{i}", "linear", n_in, n_out]]
            layers += [] if is_last else [[f"relu{i}", "relu"]]
        return layers


@dataclass
class Prepared:
    """A network ready to be trained.

    Parameters
    ----------
    network : torch.nn.Module
        In eval mode, float32, its head new.
    table : LayerTable
        Its layers, the new ones too.
    plan : Plan
        Where it comes from.
    report : LoadReport
        What became of each tensor of the weights; the head's are new.
    replacements : list of Replacement
        What was done to the original network.
    heads : list of str
        Paths of the new head, and of others like it.
    body : str
        Path of the original network where the head follows it; else empty.
    """

    network: nn.Module
    table: LayerTable
    plan: NetworkConfig
    report: LoadReport
    replacements: list[Replacement] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    body: str = ""

    def original(self, layer: Layer) -> str:
        """Name that a layer has in the original network; empty where it is new."""
        prefix = f"{self.body}." if self.body else ""
        known = {name for node in self.plan.table.recording.nodes for name in node.names}
        names = self.table.recording.nodes[layer.index].names
        own = (name.removeprefix(prefix) for name in names if name.startswith(prefix))
        return next((name for name in own if name in known), "")

    @property
    def head(self) -> str:
        """Path of the new head; of several the first."""
        return self.heads[0]

    def is_head(self, path: str) -> bool:
        """Whether a path is that of a new head, or of a part of one."""
        return any(path == head or path.startswith(f"{head}.") for head in self.heads)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its images."""
        return self.plan.preprocessing.crop

    @property
    def is_random(self) -> bool:
        """Whether no weights were loaded."""
        return not self.report.loaded

    @property
    def new_tensors(self) -> set[str]:
        """Names of the tensors that no weights gave, the head's among them."""
        return set(self.report.new)

    def take_as_loaded(self) -> None:
        """Treat every tensor but the head's as if weights had given it."""
        self.report.loaded = [n for n in self.network.state_dict() if not self.is_head(n)]
        self.report.new = {n: why for n, why in self.report.new.items() if self.is_head(n)}

    def trace(self) -> Traced:
        """Its graph."""
        return Traced(self.network, self.size)


def prepare_network(
    plan: NetworkConfig, n_classes: int, head: Head | None = None, *, random_state: int = 0
) -> Prepared:
    """Build a network, load its weights, and give it a new head.

    Parameters
    ----------
    plan : Plan
    n_classes : int
    head : Head, optional
        By default the classifier for other classes.
    random_state : int, default=0
        Of everything that no weights give.

    Raises
    ------
    WeightsError
        If the weights lack a tensor before the head, and ``load`` did not ask for a part.
    LayerError
        If the head's layer is not in the network.
    """
    head = head or Head()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_state)
        network, report = build_network(plan)
        replacement = _design_head(network, plan.table, head, n_classes, plan.preprocessing.crop)
        _check_weights(plan, network, report, replacement["at"])
        network = replace_modules(network, [replacement])
        places = [replacement["at"] or "head", *replacement.get("also_at", ())]
        for place in places:
            _start_small(network.get_submodule(place))
    network = network.eval().float()
    own = network.state_dict()
    body = "" if replacement["at"] else "body.network" if replacement.get("features") else "body"
    report = report.within(body) if body else report
    heads = tuple(f"{place}." for place in places)
    lost = *heads, *(f"{body}.{path}.".lstrip(".") for path in replacement["removed"])
    report.loaded = [name for name in report.loaded if not name.startswith(lost)]
    report.renamed = {old: new for old, new in report.renamed.items() if not new.startswith(lost)}
    report.new = {name: why for name, why in report.new.items() if name in own}
    report.new |= {name: "the new head" for name in own if name.startswith(heads)}
    table = record_layers(plan.source.name, network, plan.preprocessing.crop)
    replacements = [*_earlier_replacements(plan), replacement]
    prepared = Prepared(network, table, plan, report, replacements, places, body)
    _check_output(prepared, n_classes)
    return prepared


def _start_small(head: nn.Module) -> None:
    """Begin with logits near zero: features of a network may be large."""
    last = [m for m in head.modules() if isinstance(m, nn.Linear | nn.Conv2d)][-1]
    nn.init.normal_(last.weight, std=0.01)
    if last.bias is not None:
        nn.init.zeros_(last.bias)


def build_network(plan: NetworkConfig) -> tuple[nn.Module, LoadReport]:
    """The network of a plan with its weights, and what became of each of their tensors."""
    source, weights = plan.source, plan.weights
    with name_network(source.name, "cannot be built"):
        network = source.build(weights)
    if weights.read is not None:
        report = fit_state(network, weights.read(), load=plan.load)
    elif weights.name == RANDOM:
        report = LoadReport(new=dict.fromkeys(network.state_dict(), "random weights"))
    else:
        report = LoadReport(loaded=list(network.state_dict()))
    switch_off_in_place(network)
    return network, report


def _design_head(
    network: nn.Module, table: LayerTable, head: Head, n_classes: int, size: tuple[int, int]
) -> dict[str, Any]:
    """Replacement that gives a network its new head.

    Parameters
    ----------
    network : torch.nn.Module
    table : LayerTable
    head : Head
    n_classes : int
    size : tuple of int
        Height and width of images.

    Raises
    ------
    ModelError
        If nothing with weights follows the head's layer.
    """
    classifier = _weighted_after(table, table.find("penultimate").index)
    if not classifier and head.layer in (None, "output"):
        output = table.find("output")
        if len(output.shape) > 1 or head.pooling == "auto":
            return _follow_output(output, head, n_classes)
    if head.pooling != "auto":
        return _follow_features(network, table, head, n_classes, size)
    if head.is_plain:
        last = classifier[-1].name
        settings = _same_kind(network.get_submodule(last), n_classes)
        replacement = {"at": last, "layers": [["logits", *settings]]}
        further = _further_classifiers(network, last)
        return replacement | {
            "removed": _rectifiers(table, last),
            **({"also_at": further} if further else {}),
        }
    layer = table.find(head.layer) if head.layer else last_maps(table)
    after = _weighted_after(table, layer.index)
    if not after:
        raise ModelError(f"No layer with weights follows {layer.node!r} in {table.model}.")
    first = after[0]
    is_flat = len(_shape_before(table, first)) == 1 and len(layer.shape) == 3
    layers: list[list[Any]] = [["maps", "unflatten", *layer.shape]] if is_flat else []
    if layer.axes == "chw":
        layers += [["gap", "gap"], ["flatten", "flatten"]]
    layers += head.dense(layer.n_pooled, n_classes)
    entered = table.recording.entered
    removed = [path for path in _leaves(table) if entered[path] > entered[first.name]]
    return {"at": first.name, "layers": layers, "removed": removed}


def _further_classifiers(network: nn.Module, head: str) -> list[str]:
    """Further classifiers, whose logits are averaged with the first: distilled networks have two.

    They are linear layers for as many classes in another module that is called a head.
    """
    last = network.get_submodule(head)
    if not isinstance(last, nn.Linear):
        return []
    return [
        path
        for path, module in network.named_modules()
        if isinstance(module, nn.Linear)
        and module.out_features == last.out_features
        and "head" in path.partition(".")[0]
        and path.partition(".")[0] != head.partition(".")[0]
    ]


def _follow_output(output: Layer, head: Head, n_classes: int) -> dict[str, Any]:
    """A head after a network that has no classifier, as self-supervised ones have none."""
    has_class_token = output.axes == "tc" and output.has_class_token
    usual = "cls" if has_class_token else "flatten" if output.axes == "?" else "gap"
    asked = usual if head.pooling == "auto" else head.pooling
    pooling = choose_pooling(asked, output)
    is_flat = len(output.shape) == 1
    layers = [] if is_flat else [["pool", "pool", pooling, output.axes, output.n_prefix]]
    n_features = pooled_width(pooling, output)
    return {"at": "", "layers": layers + head.dense(n_features, n_classes), "removed": []}


def _follow_features(
    network: nn.Module, table: LayerTable, head: Head, n_classes: int, size: tuple[int, int]
) -> dict[str, Any]:
    """A head after what the network would pool in its own way, pooled as asked.

    Raises
    ------
    ModelError
        If the network does not say what that is.
    """
    if head.layer or not hasattr(network, "forward_features"):
        where = f"layer {head.layer!r}" if head.layer else "its own vector"
        raise ModelError(
            f"pooling={head.pooling!r} needs a network of timm, whose features can be had before "
            f"they are pooled; the head of {table.model} takes {where}."
        )
    features = record_layers(table.model, FeaturesOf(network), size).find("output")
    last = [node.name for node in _weighted_after(table, table.find("penultimate").index)][-1:]
    removed = [path for name in last for path in (name, *_further_classifiers(network, name))]
    replacement = _follow_output(features, head, n_classes)
    return {**replacement, "features": True, "removed": removed}


def _check_weights(plan: NetworkConfig, network: nn.Module, report: LoadReport, at: str) -> None:
    """Everything before the head has to be there, unless a part was asked for."""
    if plan.weights.read is None or plan.load:
        return
    entered = plan.table.recording.entered
    before = plan.table[entered[at] - 1] if at else plan.table.find("penultimate")
    check_complete(
        report,
        network,
        entered,
        before.index,
        weights=plan.weights.name,
        model=plan.source.name,
        layer=before.alias or before.node,
    )


def _earlier_replacements(plan: NetworkConfig) -> list[Replacement]:
    """What was done to the network of a folder before."""
    return list(plan.source.replacements) if isinstance(plan.source, FolderSource) else []


def _check_output(prepared: Prepared, n_classes: int) -> None:
    """The head's classes are what the network returns, whatever the code around it does."""
    logits = prepared.table.find("logits")
    if logits.shape != (n_classes,):
        raise ModelError(
            f"{prepared.table.model} with a new head at {prepared.head!r} returns {logits.shape}; "
            f"wanted ({n_classes},). Name the layer that the head takes, or a plain head."
        )


def _weighted_after(table: LayerTable, index: int) -> list[Node]:
    """Convolutions and linear layers after a place, those that are modules."""
    leaves = set(_leaves(table))
    nodes = table.recording.nodes[index + 1 :]
    return [node for node in nodes if node.kind in WEIGHTED and node.name in leaves]


def _leaves(table: LayerTable) -> list[str]:
    """Paths of modules without others inside."""
    holders = {container.name for container in table.recording.containers}
    return [path for path in table.recording.entered if path and path not in holders]


def _rectifiers(table: LayerTable, path: str) -> list[str]:
    """Rectifiers after the classifier, as SqueezeNet has one: new logits could die under it."""
    leaves, index = set(_leaves(table)), table.find(path).index
    later = table.recording.nodes[index + 1 :]
    return [node.name for node in later if node.kind in RECTIFIERS and node.name in leaves]


def _same_kind(last: nn.Module, n_classes: int) -> list[Any]:
    """Kind and settings of a layer like the last one, for other classes."""
    if isinstance(last, nn.Conv2d):
        is_word = isinstance(last.padding, str)  # "same" or "valid", which Conv2d takes as it is.
        padding = last.padding if is_word else list(map(int, last.padding))
        geometry = [list(last.kernel_size), list(last.stride), padding]
        return ["conv", last.in_channels, n_classes, *geometry]
    if isinstance(last, nn.Linear):
        return ["linear", last.in_features, n_classes]
    raise ModelError(f"The classifier is a {type(last).__name__}; expected a linear layer.")


def _shape_before(table: LayerTable, node: Node) -> tuple[int, ...]:
    return table.find(node.source).shape


def last_maps(table: LayerTable) -> Layer:
    """The last maps before the classifier; what the classifier took where there are tokens."""
    last = table.find("penultimate")
    spatial = [layer for layer in table if layer.index <= last.index and len(layer.shape) > 1]
    return spatial[-1] if spatial and spatial[-1].axes == "chw" else last


def parse_sizes(text: str | Sequence[int]) -> tuple[int, ...]:
    """Sizes of dense layers: ``256,64`` or the numbers themselves.

    Raises
    ------
    ModelError
        If one is no whole number above zero.

    Examples
    --------
    >>> parse_sizes("256,64")
    (256, 64)
    """
    try:
        return tuple(parse_integers(text or (), minimum=1))
    except SpecError as error:
        raise ModelError(
            f"hidden must be sizes of dense layers, such as 256,64; got {text!r}."
        ) from error
