"""Accuracy against cost, prepared once for the figure and for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from featx.features.columns import cost_names
from featx.features.results import Result


@dataclass(frozen=True)
class CostPoint:
    """One feature set: its cost, and its accuracy with the interval where it has one."""

    spec: str
    cost: float
    accuracy: float
    low: float | None
    high: float | None
    is_control: bool

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the interval; a missing end is the accuracy itself."""
        low, high = (self.accuracy if end is None else end for end in (self.low, self.high))
        return low, high


@dataclass(frozen=True)
class CostData:
    """Feature sets in the order of the result's rows, and the column that is their cost."""

    column: str
    points: tuple[CostPoint, ...]


def prepare_cost(result: Result, column: str | None = None) -> CostData | None:
    """Cost and accuracy of every row that has both.

    Parameters
    ----------
    result : Result
    column : str, optional
        The cost; by default the first of `cost_names` that at least two rows have.

    Returns
    -------
    CostData or None
        None where there is nothing to draw.

    Examples
    --------
    >>> rows = [{"spec": "hog", "accuracy": 0.6, "n_features": 324}, {"spec": "none"}]
    >>> prepare_cost(Result("compare", "photos", rows), "n_features").points[0].cost
    324
    >>> prepare_cost(Result("compare", "photos", rows)) is None
    True
    """
    if column is None:
        column = next((name for name in cost_names() if len(_points(result, name)) > 1), "")
    points = _points(result, column)
    return CostData(column, points) if points else None


def _points(result: Result, column: str) -> tuple[CostPoint, ...]:
    return tuple(
        CostPoint(
            spec=str(row.get("spec", "")),
            cost=row[column],
            accuracy=row["accuracy"],
            low=row.get("low"),
            high=row.get("high"),
            is_control=bool(row.get("is_control")),
        )
        for row in result.rows
        # The axis is logarithmic: zero cannot be drawn on it.
        if row.get("accuracy") is not None and (row.get(column) or 0) > 0
    )


def pareto_front(points: Sequence[CostPoint]) -> list[CostPoint]:
    """Points than which none is both cheaper and better, the cheapest first.

    Examples
    --------
    >>> points = [CostPoint("", c, a, None, None, False) for c, a in [(1, 0.5), (2, 0.4), (3, 0.9)]]
    >>> [point.cost for point in pareto_front(points)]
    [1, 3]
    """
    front: list[CostPoint] = []
    for point in sorted(points, key=lambda point: (point.cost, -point.accuracy)):
        if not front or point.accuracy > front[-1].accuracy:
            front.append(point)
    return front
