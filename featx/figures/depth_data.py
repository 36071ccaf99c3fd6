"""Measures against depth, prepared once for the figure and for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import featx.analysis.metrics  # noqa: F401 - registers its columns
from featx.features.columns import Column, depth_columns
from featx.features.results import Result

Values = tuple[float | None, ...]


@dataclass(frozen=True)
class DepthCurve:
    """One measure at every layer; None where a layer lacks it.

    Attributes
    ----------
    measure : str
    values, low, high : tuple of (float or None)
        Of the trained network, with the ends of the interval.
    shuffled, random : tuple of (float or None)
        Controls: with shuffled labels, and of the network with random weights.
    """

    measure: str
    values: Values
    low: Values
    high: Values
    shuffled: Values
    random: Values

    @property
    def n_values(self) -> int:
        """Number of layers with a value."""
        return sum(value is not None for value in self.values)


@dataclass(frozen=True)
class DepthData:
    """Layers in order of execution, and the curve of each measure that some layer has."""

    layers: tuple[str, ...]
    curves: tuple[DepthCurve, ...]

    @property
    def has_random(self) -> bool:
        """Whether the network with random weights was measured."""
        return any(value is not None for curve in self.curves for value in curve.random)


def prepare_depth(result: Result) -> DepthData | None:
    """Curves of a depth profile, None for a result without one.

    Examples
    --------
    >>> rows = [{"layer": "fc7", "index": 9, "purity": 0.5}, {"layer": "pool1", "index": 1}]
    >>> data = prepare_depth(Result("depth", "photos", rows))
    >>> data.layers, [(curve.measure, curve.values) for curve in data.curves]
    (('pool1', 'fc7'), [('purity', (None, 0.5))])
    """
    rows = [row for row in result.rows if row.get("layer") and row.get("index") is not None]
    rows.sort(key=lambda row: row["index"])
    curves = tuple(curve for column in depth_columns() if (curve := _curve(rows, column)).n_values)
    return DepthData(tuple(str(row["layer"]) for row in rows), curves) if curves else None


def _curve(rows: Sequence[dict[str, Any]], column: Column) -> DepthCurve:
    name, (low, high) = column.name, column.bounds
    return DepthCurve(
        measure=name,
        values=_column(rows, name),
        low=_column(rows, low),
        high=_column(rows, high),
        shuffled=_column(rows, f"{name}_shuffled"),
        random=_column(rows, f"{name}_random"),
    )


def _column(rows: Sequence[dict[str, Any]], name: str) -> Values:
    return tuple(row.get(name) for row in rows)
