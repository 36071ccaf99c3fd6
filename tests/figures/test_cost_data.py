from __future__ import annotations

from typing import Any

from featx.features.results import Result
from featx.figures.cost_data import (
    CostData,
    CostPoint,
    pareto_front,
    prepare_cost,
)


def prepared(*rows: dict[str, Any], column: str | None = None) -> CostData | None:
    return prepare_cost(Result("compare", "photos", list(rows)), column)


def point(cost: float, accuracy: float, low: float | None = None) -> CostPoint:
    return CostPoint("hog", cost, accuracy, low, high=None, is_control=False)


def test_front_has_what_nothing_beats_in_both() -> None:
    pairs = [(1, 0.5), (2, 0.6), (3, 0.55), (4, 0.6), (5, 0.9)]

    found = pareto_front([point(cost, accuracy) for cost, accuracy in pairs])

    assert [point.cost for point in found] == [1, 2, 5]


def test_the_first_cost_that_two_rows_have_is_taken() -> None:
    data = prepared(
        {"accuracy": 0.5, "n_features": 3, "ms_per_image": 2.0},
        {"accuracy": 0.6, "n_features": 9, "ms_per_image": None},
    )

    assert data is not None
    assert data.column == "n_features"
    assert prepared({"accuracy": 0.5, "ms_per_image": 2.0}) is None


def test_rows_without_accuracy_or_cost_are_left_out() -> None:
    data = prepared(
        {"spec": "a", "accuracy": None, "ms_per_image": 1.0},
        {"spec": "b", "accuracy": 0.5, "ms_per_image": 0.0},
        {"spec": "c", "accuracy": 0.5, "ms_per_image": 1.0, "is_control": True},
        column="ms_per_image",
    )

    assert data == CostData("ms_per_image", (CostPoint("c", 1.0, 0.5, None, None, True),))


def test_a_missing_end_of_an_interval_is_the_accuracy() -> None:
    assert point(1, 0.5, low=0.4).interval == (0.4, 0.5)
