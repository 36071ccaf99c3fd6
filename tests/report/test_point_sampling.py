from __future__ import annotations

import pytest

from featx.report.point_sampling import sample_points


def test_sample_keeps_every_class_and_its_share() -> None:
    labels = ["a"] * 900 + ["b"] * 90 + ["c"]

    kept = sample_points(len(labels), labels, max_points=100)

    found = [labels[i] for i in kept]
    assert len(found) == 100
    assert found.count("c") == 1
    assert found.count("b") == pytest.approx(9, abs=2)


def test_sample_is_repeatable() -> None:
    labels = ["a", "b"] * 400

    assert (
        sample_points(800, labels, max_points=50) == sample_points(800, labels, max_points=50)
    ).all()
