"""Which layers are trained and at which learning rates, by featx's layer names."""

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
    """Which layers are trained, at which learning rates, and how batch norm behaves.

    Parameters
    ----------
    train : str, default="head"
        ``head`` (and layers that the weights do not provide), ``all``, or a layer: this one and
        all deeper ones.
    freeze : tuple of str, default=()
        Layers that are never trained.
    lr : float, default=1e-3
        Learning rate.
    head_lr : float, optional
        Learning rate of the head, if different.
    rates : mapping of str to float, default={}
        Learning rates of layers; zero freezes a layer.
    layer_decay : float, default=1.0
        Factor between the learning rates of a layer with weights and the one before it.
    batch_norm : {"frozen", "adapt"}, default="frozen"
        Whether the statistics, scale and shift of pre-trained batch norm stay as they are or
        adapt to the new data, in frozen layers too, unless `freeze` names them. Batch norm
        without pre-trained weights is trained with its layer.
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
    """Which tensors a stage of training updates, and how.

    Parameters
    ----------
    rates : dict of str to float
        Learning rate of each trained parameter.
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
        """Peak memory of training, without the images.

        The weights and their best values so far; the gradient and the two moments of Adam of
        each trained weight; the activations from the first trained layer on, which the backward
        pass needs; and the gradients of the two largest.
        """
        weights = {name: t.numel() for name, t in prepared.network.named_parameters()}
        n_values = 2 * sum(weights.values()) + 3 * sum(weights[name] for name in self.rates)
        sizes = [layer.n_features for layer in prepared.table]
        activations = sum(sizes[self.boundary :]) + 2 * max(sizes)
        return 4 * (n_values + batch_size * activations)

    def apply(self, network: nn.Module) -> None:
        """Require gradients of trained parameters only, and set the mode of every module."""
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name in self.rates)
        self.set_mode(network)

    def set_mode(self, network: nn.Module) -> None:
        """Put trained modules in training mode and all others in evaluation mode."""
        for path, module in network.named_modules():
            module.training = path in self.training_modules

    def groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """Parameters by learning rate, as an optimizer takes them."""
        named = dict(network.named_parameters())
        groups: dict[float, list[nn.Parameter]] = {}
        for name, rate in self.rates.items():
            groups.setdefault(rate, []).append(named[name])
        return [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]


def plan_training(prepared: Prepared, policy: Policy) -> TrainingPlan:
    """The plan of a policy for a network.

    Raises
    ------
    LayerError
        If a layer is not in the network.
    ModelError
        If nothing is left to train, or `batch_norm` is invalid.
    """
    if policy.batch_norm not in _BATCH_NORMS:
        raise ModelError(f"batch_norm must be frozen or adapt; got {policy.batch_norm!r}.")
    scope = _Scope(prepared)
    frozen = scope.covered(policy.freeze)
    trained = scope.trained(policy.train) - frozen
    norms = _norm_paths(prepared.network)
    adapts = policy.batch_norm == "adapt"
    live_norms = {
        p for p in norms if (p in trained if scope.is_new(p) else adapts and p not in frozen)
    }
    rates = _learning_rates(prepared, policy, scope, (trained - norms) | live_norms)
    return _make_plan(prepared, scope, rates, live_norms)


def _module_of(table: LayerTable, name: str) -> str:
    """Path of the module that a layer name means; ``fire9`` means the whole container.

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
    """Finds the modules of a network that layer names mean."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.table = prepared.table
        self.entered = self.table.recording.entered
        named = [name for name, _ in prepared.network.named_parameters()]
        self.owners = list(dict.fromkeys(name.rpartition(".")[0] for name in named))
        self.owners += sorted(_norm_paths(prepared.network) - set(self.owners))

    def index(self, path: str) -> int:
        """Index of the first call of a module; that of its parent if it is never called."""
        while path:
            if path in self.entered:
                return int(self.entered[path])
            path = path.rpartition(".")[0]
        return 0

    def covered(self, layers: Iterable[str]) -> set[str]:
        """Paths of the modules with parameters inside layers, and of the norms after them."""
        paths: set[str] = set()
        for layer in layers:
            path = _module_of(self.table, layer)
            inside = {p for p in self.owners if p == path or p.startswith(f"{path}.")}
            if not inside:
                raise ModelError(
                    f"Layer {layer!r} of {self.table.model} has no weights; name another."
                )
            paths |= inside | {norm for p in inside for norm in self._norms_after(p)}
        return paths

    def trained(self, train: str) -> set[str]:
        """Paths of the modules with parameters that ``train`` means."""
        new = {p for p in self.owners if self.prepared.is_head(p)}
        if train == "all":
            return set(self.owners)
        if train == "head":
            others = () if self.prepared.is_random else self.owners
            return new | {p for p in others if self.is_new(p)}
        start = self.index(_module_of(self.table, train))
        return new | {p for p in self.owners if self.index(p) >= start}

    def is_new(self, path: str) -> bool:
        """Whether the weights provided no tensor of a module."""
        new = self.prepared.new_tensors
        prefix = f"{path}." if path else ""
        own = self.prepared.network.get_submodule(path).state_dict(prefix=prefix)
        return bool(own) and all(name in new for name in own)

    def _norms_after(self, path: str) -> list[str]:
        nodes = self.table.recording.nodes
        return [n.name for n in nodes if n.kind in NORMS and n.source == path]


def _norm_paths(network: nn.Module) -> set[str]:
    return {path for path, module in network.named_modules() if isinstance(module, _NormBase)}


def _learning_rates(
    prepared: Prepared, policy: Policy, scope: _Scope, paths: set[str]
) -> dict[str, float]:
    """Learning rate of every trained parameter; zero excludes a parameter."""
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
            f"No layer of {prepared.table.model} is trainable; freeze fewer layers, or set a "
            "learning rate above zero."
        )
    return rates


def _depths(prepared: Prepared, scope: _Scope) -> dict[str, int]:
    """Number of layers with weights up to each module with parameters."""
    nodes = prepared.table.recording.nodes
    weighted = sorted(scope.index(node.name) for node in nodes if node.kind in WEIGHTED)
    return {path: sum(index <= scope.index(path) for index in weighted) for path in scope.owners}


def _make_plan(
    prepared: Prepared, scope: _Scope, rates: dict[str, float], live_norms: set[str]
) -> TrainingPlan:
    """The plan that follows from learning rates and from batch norms in training mode."""
    network = prepared.network
    active = {name.rpartition(".")[0] for name in rates}
    owners = {name.rpartition(".")[0] for name, _ in network.named_parameters()}
    norms = {
        p for p in live_norms if p in active or p not in owners
    }  # A rate of zero freezes statistics too.
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
    """Learning rates of layers written as ``conv5=1e-4``.

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
                f"Learning rate {text!r} is invalid; expected LAYER=NUMBER of 0 or more, such as "
                "conv5=1e-4."
            )
        rates[layer.strip()] = rate
    return rates
