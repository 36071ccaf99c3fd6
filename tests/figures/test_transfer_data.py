from __future__ import annotations

from typing import Any

from featx.features.results import Result
from featx.figures.transfer_data import prepare_transfer


def row(**changes: Any) -> dict[str, Any]:
    mean = {"spec": "hog", "source": "mean", "target": "mean", "alignment": "none"}
    return {**mean, "source_accuracy": 0.8, "target_accuracy": 0.5, **changes}


def test_only_averages_with_both_accuracies_are_drawn() -> None:
    rows = [row(source="photo", target="sketch"), row(target_accuracy=None), row(low=0.4)]

    data = prepare_transfer(Result("transfer", "photos", rows))

    assert data is not None
    assert [(point.target, point.low) for point in data.points] == [(0.5, 0.4)]


def test_only_coral_is_an_alignment() -> None:
    rows = [row(alignment=name) for name in ("coral", "none", None)]

    data = prepare_transfer(Result("transfer", "photos", rows))

    assert data is not None
    assert [point.alignment for point in data.points] == ["coral", "", ""]


def test_a_result_without_pairs_has_none() -> None:
    assert prepare_transfer(Result("compare", "photos", [{"spec": "hog"}])) is None
