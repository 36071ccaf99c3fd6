"""Layers of a network with their shapes, parameters and what is trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from featx.finetuning.freezing import TrainingPlan
from featx.finetuning.heads import Prepared

_COLUMNS = ("layer", "node", "kind", "shape", "parameters", "state", "lr")


@dataclass(frozen=True)
class StageSummary:
    """The layers of a network in one stage of training.

    Attributes
    ----------
    name : str
        ``head`` or ``tune``.
    n_epochs : int
    rows : list of dict
        As `summarize` returns them.
    """

    name: str
    n_epochs: int
    rows: list[dict[str, Any]]


def summarize(prepared: Prepared, plan: TrainingPlan) -> list[dict[str, Any]]:
    """Rows of a table: one per layer in order of execution, then totals.

    Returns
    -------
    list of dict
        ``layer``, ``node``, ``kind``, ``shape``, ``parameters``, ``state`` (``trainable``,
        ``frozen``, ``partly`` or empty), ``lr``; the last three rows are ``total``,
        ``trainable`` and ``frozen``.
    """
    rows = list(_layer_rows(prepared, plan))
    counts = {name: p.numel() for name, p in prepared.network.named_parameters()}
    trainable = sum(n for name, n in counts.items() if name in plan.rates)
    total = sum(counts.values())
    for name, n in (("total", total), ("trainable", trainable), ("frozen", total - trainable)):
        rows.append(dict(zip(_COLUMNS, (name, "", "", (), n, "", None), strict=True)))
    return rows


def count_parameters(prepared: Prepared, plan: TrainingPlan) -> dict[str, int]:
    """Numbers of all, trainable and frozen parameters."""
    return {row["layer"]: row["parameters"] for row in summarize(prepared, plan)[-3:]}


def _layer_rows(prepared: Prepared, plan: TrainingPlan) -> Iterator[dict[str, Any]]:
    """Executed layers, then modules with parameters that are not executed."""
    seen: set[str] = set()
    modules = dict(prepared.network.named_modules())
    for layer in prepared.table:
        module = modules.get(layer.node)
        is_first = module is not None and layer.node not in seen
        own = _own_parameters(module, layer.node) if module is not None and is_first else {}
        seen.add(layer.node)
        yield _describe(layer.alias, layer.node, layer.kind, layer.shape, own, plan)
    for path, module in modules.items():
        own = _own_parameters(module, path)
        if own and path not in seen:
            yield _describe("", path or "(own)", type(module).__name__, (), own, plan)


def _own_parameters(module: nn.Module, path: str) -> dict[str, int]:
    own = module.named_parameters(path, recurse=False)
    return {name: parameter.numel() for name, parameter in own}


def _describe(
    alias: str,
    node: str,
    kind: str,
    shape: tuple[int, ...],
    own: dict[str, int],
    plan: TrainingPlan,
) -> dict[str, Any]:
    rates = [plan.rates[name] for name in own if name in plan.rates]
    state = "" if not own else "frozen" if not rates else "trainable"
    if rates and len(rates) < len(own):
        state = "partly"
    values = alias, node, kind, shape, sum(own.values()), state, max(rates, default=None)
    return dict(zip(_COLUMNS, values, strict=True))
