"""Replacements at a network's end: what takes the place of its classifier, as plain values.

A saved network is its original's name, the replacements made in it, and its weights; so a folder
that was fine-tuned from another folder needs neither that folder nor any class of featx.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from featx.errors import ModelError
from featx.networks.pooling import pool

Replacement = Mapping[str, Any]
"""``at``: module replaced; ``layers``: names and settings; ``removed``: modules left out.

``also_at``: further modules replaced by the same layers: distilled networks have two classifiers.
Where ``at`` is empty nothing is replaced: the layers follow the whole network, as ``head``; with
``features`` they follow its ``forward_features``, which timm's networks have.
"""


class _Pool(nn.Module):
    """Maps or tokens pooled, as `featx.networks.pooling.pool` does."""

    def __init__(self, pooling: str, axes: str, n_prefix: int) -> None:
        super().__init__()
        self.pooling, self.axes, self.n_prefix = pooling, axes, n_prefix

    def forward(self, values: Tensor) -> Tensor:
        """From maps or tokens to rows ``(n, d)``."""
        return pool(values, self.pooling, self.axes, self.n_prefix)


class FeaturesOf(nn.Module):
    """A network up to the maps or tokens that it pools for its classifier."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Any:
        """What the network's ``forward_features`` gives."""
        return self.network.forward_features(x)  # type: ignore[operator]


_KINDS: dict[str, Any] = {
    "linear": nn.Linear,
    "conv": nn.Conv2d,
    "gap": lambda: nn.AdaptiveAvgPool2d(1),
    "flatten": nn.Flatten,
    "pool": _Pool,
    "unflatten": lambda *shape: nn.Unflatten(1, shape),
    "dropout": nn.Dropout,
    "batch_norm": nn.BatchNorm1d,
    "relu": nn.ReLU,
}


def replace_modules(network: nn.Module, replacements: Sequence[Replacement]) -> nn.Module:
    """Replace modules of a network, in place where that is possible; new layers are random.

    Parameters
    ----------
    network : torch.nn.Module
    replacements : sequence of mapping
        ``at``, the path of the module to replace; ``layers``, a list of ``[name, kind,
        *settings]``, of which a single one is put there as it is; ``removed``, paths of modules
        that become identities; ``also_at``, paths of modules replaced as ``at`` is.

    Returns
    -------
    torch.nn.Module
        The same network, or one that holds it as ``body`` before its ``head``.

    Raises
    ------
    ModelError
        If a module or kind of layer is not known.

    Examples
    --------
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(12, 1000))
    >>> replace_modules(network, [{"at": "1", "layers": [["logits", "linear", 12, 2]]}])[1]
    Linear(in_features=12, out_features=2, bias=True)
    """
    for replacement in replacements:
        layers = _build_layers(replacement["layers"])
        if not replacement["at"]:
            for path in replacement.get("removed", ()):
                put(network, path, nn.Identity())
            body = FeaturesOf(network) if replacement.get("features") else network
            network = nn.Sequential(OrderedDict(body=body, head=layers))
            continue
        put(network, replacement["at"], layers)
        for path in replacement.get("also_at", ()):
            put(network, path, _build_layers(replacement["layers"]))
        for path in replacement.get("removed", ()):
            put(network, path, nn.Identity())
    return network


def _build_layers(layers: Sequence[Sequence[Any]]) -> nn.Module:
    """The layers one after the other; a single one as it is.

    Raises
    ------
    ModelError
        If a kind is not known.
    """
    built = OrderedDict((name, _build_layer(kind, settings)) for name, kind, *settings in layers)
    return next(iter(built.values())) if len(built) == 1 else nn.Sequential(built)


def put(network: nn.Module, path: str, module: nn.Module) -> None:
    """Set the module at a path.

    Raises
    ------
    ModelError
        If the network has none there.
    """
    parent, _, name = path.rpartition(".")
    try:
        holder = network.get_submodule(parent)
        holder.get_submodule(name)
    except AttributeError as error:
        raise ModelError(f"{type(network).__name__} has no module {path!r}.") from error
    setattr(holder, name, module)


def _build_layer(kind: str, settings: Sequence[Any]) -> nn.Module:
    if kind not in _KINDS:
        raise ModelError(f"Layer kind {kind!r} is not known; expected one of {', '.join(_KINDS)}.")
    layer: nn.Module = _KINDS[kind](*settings)
    return layer


def replace_head(network: nn.Module, n_classes: int) -> nn.Module:
    """Give the last layer with weights another number of outputs, at random, in place."""
    kinds = (nn.Linear, nn.Conv2d)
    path, head = [(p, m) for p, m in network.named_modules() if isinstance(m, kinds)][-1]
    if isinstance(head, nn.Linear):
        new: nn.Module = nn.Linear(head.in_features, n_classes, head.bias is not None)
    else:
        new = nn.Conv2d(head.in_channels, n_classes, **_geometry(head))
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, new)
    return network


def _geometry(head: nn.Conv2d) -> dict[str, Any]:
    return {
        "kernel_size": head.kernel_size,
        "stride": head.stride,
        "padding": head.padding,
        "dilation": head.dilation,
        "bias": head.bias is not None,
        "padding_mode": head.padding_mode,
    }
