"""Check that loaded weights are those of the network, up to the deepest requested layer."""

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
"""Modules that a network without a classifier, or without a second head, does not have."""

_TOKENS = re.compile(r"(cls|class|dist|reg|register|storage)_tokens?")
"""Top-level parameters whose presence changes what a network computes."""

_DERIVED = re.compile(
    r"(.*\.)?(num_batches_tracked|relative_position_index|relative_coords_table|attn_mask"
    r"|position_ids|total_ops|total_params)"
)
"""Tensors that follow from the architecture or count calls: no learned values."""


def needed_tensors(module: nn.Module, entered: Mapping[str, int], index: int) -> list[str]:
    """Return the names of the parameters and buffers that the node at `index` depends on.

    These belong to the modules called up to that node, including submodules whose parameters are
    used without calling them, such as the projections of `torch.nn.MultiheadAttention`.
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
    """Raise if weights lack a tensor that a layer depends on, or have others that it would use.

    The latter happens if the weights are those of a deeper network of the same family: they
    contain every tensor that is needed, and more.

    Parameters
    ----------
    report : LoadReport
        Which tensors were loaded.
    module : torch.nn.Module
        The network.
    entered : mapping of str to int
        As in `featx.networks.layers.Recording`.
    index : int
        Index of the layer in the network's layer table.
    weights, model, layer : str
        Their names, for the message.

    Raises
    ------
    WeightsError
        Names the tensors that are missing, have a wrong shape or are unexpected.
    """
    cure = 'To load only some of the tensors, pass load="PATTERN".'
    missing = [name for name in needed_tensors(module, entered, index) if name in report.new]
    if missing:
        listed = _listed([f"{name}: {report.new[name]}" for name in missing])
        raise WeightsError(
            f"Weights {weights} are not those of {model} up to layer {layer!r} ({listed}). {cure}"
        )
    unexpected = [name for name in report.unknown if _is_unexpected(name, module, entered, index)]
    if unexpected:
        raise WeightsError(
            f"Weights {weights} are those of another network than {model}: up to layer {layer!r} "
            f"they contain tensors that {model} lacks ({_listed(unexpected)}). {cure}"
        )


def _is_unexpected(name: str, module: nn.Module, entered: Mapping[str, int], index: int) -> bool:
    """Whether a tensor that the network lacks would affect its nodes up to `index`."""
    if _DERIVED.fullmatch(name) or "." not in name:
        return bool(_TOKENS.fullmatch(name))
    parents, part = name.split(".")[:-1], module
    path: list[str] = []
    for parent in parents:
        children = dict(part.named_children())
        if parent not in children:
            first = _missing_child_use(parent, children, ".".join(path), entered)
            return first is not None and first <= index
        part = children[parent]
        path.append(parent)
    is_empty = next(iter(part.state_dict()), None) is None
    if is_empty and any(_HEADS.fullmatch(parent) for parent in path):
        return False  # The network has an identity in place of the weights' classifier.
    first = _first_use(".".join(path), entered) if path else None
    return first is not None and first <= index


def _missing_child_use(
    child: str, siblings: Iterable[str], parent: str, entered: Mapping[str, int]
) -> int | None:
    """Index of the node at which a missing child would be called; None if it never would.

    A numbered child, such as the 7th block of a network that has 6, would follow its siblings.
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
    """Index of the first node computed in a module or, if it is never called, in its parent."""
    while path:
        if path in entered:
            return int(entered[path])
        path = path.rpartition(".")[0]
    return None


def _listed(items: list[str]) -> str:
    more = f"; and {len(items) - _N_LISTED} more" if len(items) > _N_LISTED else ""
    return "; ".join(items[:_N_LISTED]) + more
