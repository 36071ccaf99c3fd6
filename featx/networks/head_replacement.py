"""Replace modules of a network, above all its classifier, as described by plain values.

A saved network consists of the original network's name, the replacements made in it, and its
weights. A model that was fine-tuned from another saved folder therefore does not need that folder.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from featx.errors import ModelError
from featx.networks.pooling import pool

Replacement = Mapping[str, Any]
"""One replacement, with these keys:

``at``
    Path of the module to replace. If empty, the layers are appended to the whole network as
    ``head`` or, with ``features``, to its ``forward_features``, which timm's networks have.
``layers``
    New layers, each ``[name, kind, *arguments]``.
``removed`` (optional)
    Paths of modules that become identities.
``also_at`` (optional)
    Paths of further modules to replace by the same layers: distilled networks have two classifiers.
``features`` (optional)
    Whether to append to ``forward_features``.
"""


class _Pool(nn.Module):
    """Module that applies `featx.networks.pooling.pool`."""

    def __init__(self, pooling: str, axes: str, n_prefix: int) -> None:
        super().__init__()
        self.pooling, self.axes, self.n_prefix = pooling, axes, n_prefix

    def forward(self, values: Tensor) -> Tensor:
        """Rows ``(n, d)`` of feature maps or tokens."""
        return pool(values, self.pooling, self.axes, self.n_prefix)


class FeaturesOf(nn.Module):
    """A timm network up to the feature maps or tokens that its classifier pools."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Any:
        """Output of the network's ``forward_features``."""
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
    """Replace modules of a network by randomly initialized layers, in place if possible.

    Parameters
    ----------
    network : torch.nn.Module
    replacements : sequence of mapping
        See `Replacement`. A single layer replaces the module itself, several become a
        `torch.nn.Sequential`.

    Returns
    -------
    torch.nn.Module
        The same network or, if layers were appended, a sequence of ``body`` and ``head``.

    Raises
    ------
    ModelError
        If there is no module at a path, or the kind of a layer is unknown.

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
    """A single layer as it is; several in a `torch.nn.Sequential`."""
    modules = OrderedDict((name, _build_layer(kind, args)) for name, kind, *args in layers)
    return next(iter(modules.values())) if len(modules) == 1 else nn.Sequential(modules)


def put(network: nn.Module, path: str, module: nn.Module) -> None:
    """Replace the module at a path.

    Raises
    ------
    ModelError
        If the network has no module at that path.
    """
    parent_path, _, name = path.rpartition(".")
    try:
        parent = network.get_submodule(parent_path)
        parent.get_submodule(name)
    except AttributeError as error:
        raise ModelError(f"{type(network).__name__} has no module {path!r}.") from error
    setattr(parent, name, module)


def _build_layer(kind: str, arguments: Sequence[Any]) -> nn.Module:
    if kind not in _KINDS:
        raise ModelError(f"Layer kind {kind!r} is not known; expected one of {', '.join(_KINDS)}.")
    layer: nn.Module = _KINDS[kind](*arguments)
    return layer


def replace_head(network: nn.Module, n_classes: int) -> nn.Module:
    """Replace the last linear layer or convolution by a random one with `n_classes` outputs."""
    kinds = (nn.Linear, nn.Conv2d)
    path, head = [(p, m) for p, m in network.named_modules() if isinstance(m, kinds)][-1]
    if isinstance(head, nn.Linear):
        new: nn.Module = nn.Linear(head.in_features, n_classes, head.bias is not None)
    else:
        new = nn.Conv2d(head.in_channels, n_classes, **_conv_arguments(head))
    put(network, path, new)
    return network


def _conv_arguments(head: nn.Conv2d) -> dict[str, Any]:
    return {
        "kernel_size": head.kernel_size,
        "stride": head.stride,
        "padding": head.padding,
        "dilation": head.dilation,
        "bias": head.bias is not None,
        "padding_mode": head.padding_mode,
    }
