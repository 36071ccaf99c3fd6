"""Which layers train and how fast, said in featx's own layer names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from featx.errors import ModelError
from featx.finetuning.heads import WEIGHTED, Prepared
from featx.networks.layers import NORMS, LayerTable

_BATCH_NORMS = ("frozen", "adapt")


@dataclass(frozen=True)
class Policy:
    """Which layers train, at which rate, and what batch norm does meanwhile.

    Parameters
    ----------
    train : str, default="head"
        ``head`` (and whatever else no weights gave), ``all``, or the name of a layer: that one
        and all deeper.
    freeze : tuple of str, default=()
        Layers that do not train in any case.
    lr : float, default=1e-3
        Learning rate.
    head_lr : float, optional
        That of the head, if another.
    rates : mapping of str to float, default={}
        Rates of layers by name; zero means frozen.
    layer_decay : float, default=1.0
        Factor on the rate from each layer with weights to the one before it.
    batch_norm : {"frozen", "adapt"}, default="frozen"
        Whether batch norm that came with the weights keeps statistics, scale and shift, or all
        three follow the new data, also in layers that are frozen otherwise, unless `freeze`
        names them. Batch norm that no weights gave trains with its layer.
    """

    train: str = "head"
    freeze: tuple[str, ...] = ()
    lr: float = 1e-3
    head_lr: float | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    layer_decay: float = 1.0
    batch_norm: str = "frozen"


@dataclass(frozen=True)
class TrainingPlan:
    """What moves in a stage of training, and what does not.

    Parameters
    ----------
    rates : dict of str to float
        Learning rate of each parameter that trains.
    training_modules : set of str
        Paths of the modules in training mode; the others are in evaluation mode.
    updated : set of str
        Names of the tensors that training updates: parameters with a learning rate, and
        statistics of batch norm that adapts.
    boundary : int
        Index, in order of execution, of the first module that is trained.
    """

    rates: dict[str, float]
    training_modules: set[str]
    updated: set[str]
    boundary: int

    def estimate_bytes(self, prepared: Prepared, batch_size: int) -> int:
        """Memory that training takes at its peak, images aside.

        Weights and the best ones so far; of each weight that trains its gradient and the two
        moments of Adam; the activations of all layers from the first that trains, which the
        backward pass needs, and the gradients of the two largest.
        """
        weights = {name: t.numel() for name, t in prepared.network.named_parameters()}
        n_values = 2 * sum(weights.values()) + 3 * sum(weights[name] for name in self.rates)
        sizes = [layer.n_features for layer in prepared.table]
        activations = sum(sizes[self.boundary :]) + 2 * max(sizes)
        return 4 * (n_values + batch_size * activations)

    def apply(self, network: nn.Module) -> None:
        """Let only what has a rate have gradients, and set the mode of every module."""
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name in self.rates)
        self.set_mode(network)

    def set_mode(self, network: nn.Module) -> None:
        """Put modules that train in training mode and all others in eval mode."""
        for path, module in network.named_modules():
            module.training = path in self.training_modules

    def groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """Parameters by learning rate, as an optimiser takes them."""
        named = dict(network.named_parameters())
        groups: dict[float, list[nn.Parameter]] = {}
        for name, rate in self.rates.items():
            groups.setdefault(rate, []).append(named[name])
        return [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]


def plan_training(prepared: Prepared, policy: Policy) -> TrainingPlan:
    """What a policy comes to in a network.

    Raises
    ------
    LayerError
        If a layer is not in the network.
    ModelError
        If nothing is left to train, or batch norm is to do what it cannot.
    """
    if policy.batch_norm not in _BATCH_NORMS:
        raise ModelError(f"batch_norm must be frozen or adapt; got {policy.batch_norm!r}.")
    scope = _Scope(prepared)
    fixed = scope.covered(policy.freeze)
    trained = scope.trained(policy.train) - fixed
    norms = _norm_paths(prepared.network)
    adapts = policy.batch_norm == "adapt"
    live = {p for p in norms if (p in trained if scope.is_new(p) else adapts and p not in fixed)}
    rates = _rates(prepared, policy, scope, (trained - norms) | live)
    return _settle(prepared, scope, rates, live)


def _module_of(table: LayerTable, name: str) -> str:
    """Path of the module that a layer name means: of ``fire9`` the whole of it.

    Raises
    ------
    LayerError
        If the layer is not in the network.
    """
    recording = table.recording
    if name in recording.entered and name:
        return name
    return table.containers.get(name) or recording.nodes[table.find(name).index].name


class _Scope:
    """Modules of a network by the layer names that mean them."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.table = prepared.table
        self.entered = self.table.recording.entered
        named = [name for name, _ in prepared.network.named_parameters()]
        self.owners = list(dict.fromkeys(name.rpartition(".")[0] for name in named))
        self.owners += sorted(_norm_paths(prepared.network) - set(self.owners))

    def index(self, path: str) -> int:
        """Order in which a module is first called; what is never called counts by its parent."""
        while path:
            if path in self.entered:
                return int(self.entered[path])
            path = path.rpartition(".")[0]
        return 0

    def covered(self, layers: Iterable[str]) -> set[str]:
        """Paths of the modules with parameters inside layers, and of the norms after them."""
        found: set[str] = set()
        for layer in layers:
            path = _module_of(self.table, layer)
            inside = {p for p in self.owners if p == path or p.startswith(f"{path}.")}
            if not inside:
                raise ModelError(
                    f"Layer {layer!r} of {self.table.model} has no weights; name one that has."
                )
            found |= inside | {norm for p in inside for norm in self._norms_after(p)}
        return found

    def trained(self, train: str) -> set[str]:
        """Paths of the modules with parameters that ``train`` asks for."""
        new = {p for p in self.owners if self.prepared.is_head(p)}
        if train == "all":
            return set(self.owners)
        if train == "head":
            more = () if self.prepared.is_random else self.owners
            return new | {p for p in more if self.is_new(p)}
        start = self.index(_module_of(self.table, train))
        return new | {p for p in self.owners if self.index(p) >= start}

    def is_new(self, path: str) -> bool:
        """Whether no weights gave any tensor of a module."""
        new = self.prepared.new_tensors
        prefix = f"{path}." if path else ""
        own = self.prepared.network.get_submodule(path).state_dict(prefix=prefix)
        return bool(own) and all(name in new for name in own)

    def _norms_after(self, path: str) -> list[str]:
        nodes = self.table.recording.nodes
        return [n.name for n in nodes if n.kind in NORMS and n.source == path]


def _norm_paths(network: nn.Module) -> set[str]:
    return {path for path, module in network.named_modules() if isinstance(module, _NormBase)}


def _rates(prepared: Prepared, policy: Policy, scope: _Scope, paths: set[str]) -> dict[str, float]:
    """Learning rate of every parameter that trains; zero leaves it out."""
    named: dict[str, float] = {}
    for layer, rate in policy.rates.items():
        named |= dict.fromkeys(scope.covered([layer]), float(rate))
    depth = _depths(prepared, scope)
    deepest = max(depth.values(), default=0)
    rates: dict[str, float] = {}
    for name, _ in prepared.network.named_parameters():
        path = name.rpartition(".")[0]
        base = (
            policy.head_lr if prepared.is_head(path) and policy.head_lr is not None else policy.lr
        )
        rate = named.get(path, base * policy.layer_decay ** (deepest - depth[path]))
        if path in paths and rate:
            rates[name] = rate
    if not rates:
        raise ModelError(
            f"Nothing of {prepared.table.model} is left to train; freeze less, or give a rate "
            "above zero."
        )
    return rates


def _depths(prepared: Prepared, scope: _Scope) -> dict[str, int]:
    """Number of layers with weights up to each module with parameters."""
    nodes = prepared.table.recording.nodes
    weighted = sorted(scope.index(node.name) for node in nodes if node.kind in WEIGHTED)
    return {path: sum(index <= scope.index(path) for index in weighted) for path in scope.owners}


def _settle(
    prepared: Prepared, scope: _Scope, rates: dict[str, float], live: set[str]
) -> TrainingPlan:
    """Modes and moving tensors that rates and live batch norms lead to."""
    network = prepared.network
    active = {name.rpartition(".")[0] for name in rates}
    owners = {name.rpartition(".")[0] for name, _ in network.named_parameters()}
    norms = {p for p in live if p in active or p not in owners}  # A rate of zero holds all of it.
    boundary = min(map(scope.index, active | norms))
    others = {
        path
        for path, module in network.named_modules()
        if not isinstance(module, _NormBase) and scope.index(path) >= boundary
    }
    statistics = {
        name
        for path in norms
        for name, _ in network.get_submodule(path).named_buffers(path, recurse=False)
    }
    return TrainingPlan(rates, others | norms, set(rates) | statistics, boundary)


def parse_rates(texts: Sequence[str]) -> dict[str, float]:
    """Rates of layers written ``conv5=1e-4``.

    Raises
    ------
    ModelError
        If one cannot be read.

    Examples
    --------
    >>> parse_rates(["conv5=1e-4", "conv1=0"])
    {'conv5': 0.0001, 'conv1': 0.0}
    """
    rates = {}
    for text in texts:
        layer, _, number = text.partition("=")
        try:
            rate = float(number)
        except ValueError:
            rate = math.nan
        if not 0 <= rate < math.inf:
            raise ModelError(
                f"Rate {text!r} cannot be taken; expected LAYER=NUMBER of 0 or more, such as "
                "conv5=1e-4."
            )
        rates[layer.strip()] = rate
    return rates
