"""Head replacement: a network with its weights and a new head for other classes."""

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
    """The new head, which replaces a network's classifier.

    Parameters
    ----------
    layer : str, optional
        Input of the head. By default the input of the old classifier, or, for a dense head, the
        last feature maps, averaged over their positions.
    hidden : tuple of int, default=()
        Sizes of dense layers with a rectifier before the logits.
    dropout : float, default=0.0
        Dropout rate before each dense layer.
    batch_norm : bool, default=False
        Whether to add batch norm before each dense layer.
    pooling : str, default="auto"
        Pooling of the network's feature maps or tokens, as in
        `featx.extractors.cnn.CNNFeatures`; ``auto`` leaves it to the network.

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
        """Whether the classifier is merely replaced by one for other classes."""
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
        In evaluation mode, float32, with the new head.
    table : LayerTable
        Its layers, including the new ones.
    config : NetworkConfig
        Source, weights and preprocessing.
    report : LoadReport
        Which tensors of the weights were loaded, renamed, skipped or newly initialized.
    replacements : list of Replacement
        Modules of the original network that were replaced.
    heads : list of str
        Paths of the new head, and of further heads like it.
    body : str
        Path of the original network if the head follows it; else empty.
    """

    network: nn.Module
    table: LayerTable
    config: NetworkConfig
    report: LoadReport
    replacements: list[Replacement] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    body: str = ""

    def original(self, layer: Layer) -> str:
        """Name of a layer in the original network; empty if it is new."""
        prefix = f"{self.body}." if self.body else ""
        originals = {name for node in self.config.table.recording.nodes for name in node.names}
        names = self.table.recording.nodes[layer.index].names
        unprefixed = (name.removeprefix(prefix) for name in names if name.startswith(prefix))
        return next((name for name in unprefixed if name in originals), "")

    @property
    def head(self) -> str:
        """Path of the new head, or of the first of several."""
        return self.heads[0]

    def is_head(self, path: str) -> bool:
        """Whether a path is that of a new head, or of a part of one."""
        return any(path == head or path.startswith(f"{head}.") for head in self.heads)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its input."""
        return self.config.preprocessing.crop

    @property
    def is_random(self) -> bool:
        """Whether no weights were loaded."""
        return not self.report.loaded

    @property
    def new_tensors(self) -> set[str]:
        """Names of the tensors that the weights did not provide, including the head's."""
        return set(self.report.new)

    def take_as_loaded(self) -> None:
        """Treat every tensor except the head's as loaded."""
        self.report.loaded = [n for n in self.network.state_dict() if not self.is_head(n)]
        self.report.new = {n: why for n, why in self.report.new.items() if self.is_head(n)}

    def trace(self) -> Traced:
        """Graph of the network."""
        return Traced(self.network, self.size)


def prepare_network(
    config: NetworkConfig, n_classes: int, head: Head | None = None, *, random_state: int = 0
) -> Prepared:
    """Build a network, load its weights, and give it a new head.

    Parameters
    ----------
    config : NetworkConfig
    n_classes : int
    head : Head, optional
        By default the classifier for other classes.
    random_state : int, default=0
        Seed of all tensors that the weights do not provide.

    Raises
    ------
    WeightsError
        If the weights lack a tensor before the head and `load` does not select a part.
    LayerError
        If the head's layer is not in the network.
    """
    head = head or Head()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_state)
        network, report = build_network(config)
        replacement = _design_head(
            network, config.table, head, n_classes, config.preprocessing.crop
        )
        _check_weights(config, network, report, replacement["at"])
        network = replace_modules(network, [replacement])
        paths = [replacement["at"] or "head", *replacement.get("also_at", ())]
        for path in paths:
            _init_small(network.get_submodule(path))
    network = network.eval().float()
    state = network.state_dict()
    body = "" if replacement["at"] else "body.network" if replacement.get("features") else "body"
    report = report.within(body) if body else report
    heads = tuple(f"{path}." for path in paths)
    replaced = *heads, *(f"{body}.{path}.".lstrip(".") for path in replacement["removed"])
    report.loaded = [name for name in report.loaded if not name.startswith(replaced)]
    report.renamed = {
        old: new for old, new in report.renamed.items() if not new.startswith(replaced)
    }
    report.new = {name: why for name, why in report.new.items() if name in state}
    report.new |= {name: "the new head" for name in state if name.startswith(heads)}
    table = record_layers(config.source.name, network, config.preprocessing.crop)
    replacements = [*_earlier_replacements(config), replacement]
    prepared = Prepared(network, table, config, report, replacements, paths, body)
    _check_output(prepared, n_classes)
    return prepared


def _init_small(head: nn.Module) -> None:
    """Initialize logits near zero: features of a network may be large."""
    last = [m for m in head.modules() if isinstance(m, nn.Linear | nn.Conv2d)][-1]
    nn.init.normal_(last.weight, std=0.01)
    if last.bias is not None:
        nn.init.zeros_(last.bias)


def build_network(config: NetworkConfig) -> tuple[nn.Module, LoadReport]:
    """The network of a config with its weights, and which of their tensors were loaded."""
    source, weights = config.source, config.weights
    with name_network(source.name, "cannot be built"):
        network = source.build(weights)
    if weights.read is not None:
        report = fit_state(network, weights.read(), load=config.load)
    elif weights.name == RANDOM:
        report = LoadReport(new=dict.fromkeys(network.state_dict(), "random weights"))
    else:
        report = LoadReport(loaded=list(network.state_dict()))
    switch_off_in_place(network)
    return network, report


def _design_head(
    network: nn.Module, table: LayerTable, head: Head, n_classes: int, size: tuple[int, int]
) -> dict[str, Any]:
    """Replacement that adds the new head to a network.

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
        settings = _layer_like(network.get_submodule(last), n_classes)
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
    """Further classifiers whose logits are averaged with the first: distilled networks have two.

    These are linear layers with as many outputs in another module whose name contains "head".
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
    """A head after a network without a classifier, such as a self-supervised one."""
    has_class_token = output.axes == "tc" and output.has_class_token
    default = "cls" if has_class_token else "flatten" if output.axes == "?" else "gap"
    pooling = choose_pooling(default if head.pooling == "auto" else head.pooling, output)
    is_flat = len(output.shape) == 1
    layers = [] if is_flat else [["pool", "pool", pooling, output.axes, output.n_prefix]]
    n_features = pooled_width(pooling, output)
    return {"at": "", "layers": layers + head.dense(n_features, n_classes), "removed": []}


def _follow_features(
    network: nn.Module, table: LayerTable, head: Head, n_classes: int, size: tuple[int, int]
) -> dict[str, Any]:
    """A head after the features that the network would pool itself, with the head's pooling.

    Raises
    ------
    ModelError
        If the network does not return these features.
    """
    if head.layer or not hasattr(network, "forward_features"):
        layer = f"layer {head.layer!r}" if head.layer else "its pooled vector"
        raise ModelError(
            f"pooling={head.pooling!r} needs a network of timm, which returns features before "
            f"pooling; the head of {table.model} takes {layer}."
        )
    features = record_layers(table.model, FeaturesOf(network), size).find("output")
    last = [node.name for node in _weighted_after(table, table.find("penultimate").index)][-1:]
    removed = [path for name in last for path in (name, *_further_classifiers(network, name))]
    replacement = _follow_output(features, head, n_classes)
    return {**replacement, "features": True, "removed": removed}


def _check_weights(config: NetworkConfig, network: nn.Module, report: LoadReport, at: str) -> None:
    """Require all weights before the head, unless `load` selects a part."""
    if config.weights.read is None or config.load:
        return
    entered = config.table.recording.entered
    before = config.table[entered[at] - 1] if at else config.table.find("penultimate")
    check_complete(
        report,
        network,
        entered,
        before.index,
        weights=config.weights.name,
        model=config.source.name,
        layer=before.alias or before.node,
    )


def _earlier_replacements(config: NetworkConfig) -> list[Replacement]:
    """Replacements in the network of a saved folder."""
    return list(config.source.replacements) if isinstance(config.source, FolderSource) else []


def _check_output(prepared: Prepared, n_classes: int) -> None:
    """Require that the network returns the logits of the head."""
    logits = prepared.table.find("logits")
    if logits.shape != (n_classes,):
        raise ModelError(
            f"{prepared.table.model} with a new head at {prepared.head!r} returns {logits.shape}; "
            f"expected ({n_classes},). Name the head's layer, or use a plain head."
        )


def _weighted_after(table: LayerTable, index: int) -> list[Node]:
    """Convolutions and linear layers after an index that are modules."""
    leaves = set(_leaves(table))
    nodes = table.recording.nodes[index + 1 :]
    return [node for node in nodes if node.kind in WEIGHTED and node.name in leaves]


def _leaves(table: LayerTable) -> list[str]:
    """Paths of modules that contain no others."""
    holders = {container.name for container in table.recording.containers}
    return [path for path in table.recording.entered if path and path not in holders]


def _rectifiers(table: LayerTable, path: str) -> list[str]:
    """Rectifiers after the classifier, as in SqueezeNet: with them new logits could stay zero."""
    leaves, index = set(_leaves(table)), table.find(path).index
    later = table.recording.nodes[index + 1 :]
    return [node.name for node in later if node.kind in RECTIFIERS and node.name in leaves]


def _layer_like(last: nn.Module, n_classes: int) -> list[Any]:
    """Type and settings of a layer like the last one, for other classes."""
    if isinstance(last, nn.Conv2d):
        is_name = isinstance(last.padding, str)  # "same" or "valid".
        padding = last.padding if is_name else list(map(int, last.padding))
        geometry = [list(last.kernel_size), list(last.stride), padding]
        return ["conv", last.in_channels, n_classes, *geometry]
    if isinstance(last, nn.Linear):
        return ["linear", last.in_features, n_classes]
    raise ModelError(f"The classifier is a {type(last).__name__}; expected a linear layer.")


def _shape_before(table: LayerTable, node: Node) -> tuple[int, ...]:
    return table.find(node.source).shape


def last_maps(table: LayerTable) -> Layer:
    """The last feature maps before the classifier, or its input if that is tokens."""
    last = table.find("penultimate")
    spatial = [layer for layer in table if layer.index <= last.index and len(layer.shape) > 1]
    return spatial[-1] if spatial and spatial[-1].axes == "chw" else last


def parse_sizes(text: str | Sequence[int]) -> tuple[int, ...]:
    """Sizes of dense layers from ``256,64`` or from numbers.

    Raises
    ------
    ModelError
        If one is not a whole number above zero.

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
