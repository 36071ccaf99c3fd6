"""Whether the weights loaded are those of the network, up to the deepest layer asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import nn

from featx.errors import WeightsError
from featx.networks.weights import LoadReport

_N_LISTED = 5

_HEADS = re.compile(
    r"(\w*head\w*|fc\d*|\w*classif\w*|logits?|last_linear|linear|output|predictor|aux\w*|\w*proj\w*)",
    re.IGNORECASE,
)
"""Modules that a network without classes, or without a second head, goes without."""

_TOKENS = re.compile(r"(cls|class|dist|reg|register|storage)_tokens?")
"""Parameters of the network itself that change what it computes where it has them."""

_DERIVED = re.compile(
    r"(.*\.)?(num_batches_tracked|relative_position_index|relative_coords_table|attn_mask"
    r"|position_ids|total_ops|total_params)"
)
"""Tensors that follow from the structure, or count what ran: no values that were learned."""


def needed_tensors(module: nn.Module, entered: Mapping[str, int], index: int) -> list[str]:
    """Names of the parameters and buffers that the node at `index` depends on.

    Those of every module called before it, and of modules inside these that are never called
    themselves, as attention's projections are.
    """
    needed = []
    persistent = set(module.state_dict())
    for path, part in module.named_modules():
        first = 0 if not path else _first_use(path, entered)
        if first is None or first > index:
            continue
        own = [*part.named_parameters(path, False), *part.named_buffers(path, False)]
        needed += [name for name, _ in own if name in persistent]
    return [name for name in needed if not name.endswith("num_batches_tracked")]


def check_complete(
    report: LoadReport,
    module: nn.Module,
    entered: Mapping[str, int],
    index: int,
    *,
    weights: str,
    model: str,
    layer: str,
) -> None:
    """Raise unless a layer has all its tensors, and the weights have no others for its modules.

    Parameters
    ----------
    report : LoadReport
        What became of each tensor.
    module : torch.nn.Module
        The network.
    entered : mapping of str to int
        As in `featx.networks.layers.Recording`.
    index : int
        The layer's index.
    weights, model, layer : str
        Their names, for the message.

    Raises
    ------
    WeightsError
        With the names of what is missing, has another shape, or is left over: a deeper network
        of the same family has every tensor that is needed, and more.
    """
    part = 'Give load="PATTERN" to take only a part.'
    lacking = [name for name in needed_tensors(module, entered, index) if name in report.new]
    if lacking:
        listed = _listed([f"{name}: {report.new[name]}" for name in lacking])
        raise WeightsError(
            f"Weights {weights} are not those of {model} up to layer {layer!r} ({listed}). {part}"
        )
    surplus = [name for name in report.unknown if _is_surplus(name, module, entered, index)]
    if surplus:
        raise WeightsError(
            f"Weights {weights} are those of another network than {model}: they have tensors "
            f"inside modules in use that it lacks ({_listed(surplus)}). {part}"
        )


def _is_surplus(name: str, module: nn.Module, entered: Mapping[str, int], index: int) -> bool:
    """Whether a tensor that the network lacks would be part of what it computes up to `index`."""
    if _DERIVED.fullmatch(name) or "." not in name:
        return bool(_TOKENS.fullmatch(name))
    parents, holder = name.split(".")[:-1], module
    path: list[str] = []
    for parent in parents:
        children = dict(holder.named_children())
        if parent not in children:
            first = _use_before(parent, children, ".".join(path), entered)
            return first is not None and first <= index
        holder = children[parent]
        path.append(parent)
    is_empty = next(iter(holder.state_dict()), None) is None
    if is_empty and any(_HEADS.fullmatch(parent) for parent in path):
        return False  # An identity stands where the weights have a classifier.
    first = _first_use(".".join(path), entered) if path else None
    return first is not None and first <= index


def _use_before(
    child: str, siblings: Iterable[str], parent: str, entered: Mapping[str, int]
) -> int | None:
    """When the network would come to a child that it lacks; None for one that it never uses.

    A numbered child, such as the 7th block where the network has 6, follows those before it.
    """
    stem, number = _numbered(child)
    before = [s for s in siblings if _numbered(s)[0] == stem and -1 < _numbered(s)[1] < number]
    if before:
        last = max(before, key=lambda sibling: _numbered(sibling)[1])
        return _first_use(f"{parent}.{last}" if parent else last, entered)
    return _first_use(parent, entered) if parent and not _HEADS.fullmatch(child) else None


def _numbered(name: str) -> tuple[str, int]:
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or -1)


def _first_use(path: str, entered: Mapping[str, int]) -> int | None:
    while path:
        if path in entered:
            return int(entered[path])
        path = path.rpartition(".")[0]
    return None


def _listed(items: list[str]) -> str:
    more = f"; and {len(items) - _N_LISTED} more" if len(items) > _N_LISTED else ""
    return "; ".join(items[:_N_LISTED]) + more
