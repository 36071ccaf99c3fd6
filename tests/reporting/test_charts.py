from __future__ import annotations

from typing import Any

import numpy as np

from featx.reporting.charts import (
    cost_chart,
    curve_charts,
    depth_charts,
    pareto_front,
    transfer_chart,
)
from featx.reporting.matrices import MAX_LABELED, confused_pairs, confusion_chart


def rows(*pairs: tuple[float, float]) -> list[dict[str, Any]]:
    return [{"spec": f"s{i}", "accuracy": a, "ms_per_image": c} for i, (a, c) in enumerate(pairs)]


def test_front_holds_what_nothing_beats_in_both() -> None:
    found = pareto_front(rows((0.5, 1), (0.6, 2), (0.55, 3), (0.6, 4), (0.9, 5)), "ms_per_image")

    assert [row["spec"] for row in found] == ["s0", "s1", "s4"]


def test_cost_chart_wants_two_rows_that_say_both() -> None:
    assert cost_chart(rows((0.5, 1)), "k") is None
    assert cost_chart([*rows((0.5, 1)), {"spec": "x", "accuracy": None}], "k") is None


def test_cost_chart_leaves_out_rows_without_a_cost() -> None:
    found = cost_chart([*rows((0.5, 1), (0.6, 2)), {"accuracy": 0.9, "ms_per_image": None}], "k")

    assert found is not None
    assert found[0].renderers[1].data_source.data["x"] == [1, 2]


def test_depth_charts_go_in_the_order_of_execution() -> None:
    layers = [{"layer": name, "index": i, "purity": i / 4} for name, i in (("b", 2), ("a", 1))]

    charts = depth_charts(layers, "k")

    assert list(charts) == ["purity"]
    assert charts["purity"].xaxis[0].major_label_overrides == {0: "a", 1: "b"}


def test_curves_of_two_runs_are_drawn_apart() -> None:
    run = {"name": "head", "epoch": [1, 2], "train_loss": [0.9, 0.5]}

    charts = curve_charts([{**run, "seed": 0}, {**run, "seed": 1}], "k")

    assert list(charts) == ["train_loss"]
    assert len(charts["train_loss"].renderers) == 5  # Each a line and its dots, and their mean.


def test_confusion_draws_only_what_happened() -> None:
    plot = confusion_chart(["a", "b"], [[3, 0], [1, 2]], "k")

    data = plot.renderers[0].data_source.data
    assert list(zip(data["i"], data["j"])) == [(0, 0), (1, 0), (1, 1)]
    assert data["tip"] == ["3 of 3", "1 of 3", "2 of 3"]


def test_confusion_of_102_classes_names_none_on_the_axes() -> None:
    plot = confusion_chart([f"c{i}" for i in range(102)], np.eye(102, dtype=int).tolist(), "k")

    assert MAX_LABELED < 102
    assert plot.xaxis[0].ticker.ticks == []


def test_class_without_pictures_confuses_nothing() -> None:
    plot = confusion_chart(["a", "b"], [[0, 0], [0, 2]], "k")

    assert plot.renderers[0].data_source.data["i"] == [1]
    assert confused_pairs(["a", "b"], [[0, 0], [0, 2]]) == []


def test_tex_in_a_name_is_not_typeset() -> None:
    plot = confusion_chart(["$$x$$", r"\(y\)"], [[1, 0], [0, 1]], "k")

    labels = plot.xaxis[0].major_label_overrides.values()
    assert not any("$$" in label or r"\(" in label for label in labels)


def test_transfer_is_drawn_of_the_averages() -> None:
    pair = {"spec": "hog", "alignment": "none", "source": "a", "target": "b"}
    mean = {"spec": "hog", "alignment": "coral", "source": "mean", "target": "mean"}
    scores = {"source_accuracy": 0.8, "target_accuracy": 0.5}

    plot = transfer_chart([pair | scores, mean | scores], "k")

    assert plot is not None
    assert plot.yaxis[0].major_label_overrides == {0: "hog + coral"}
    assert transfer_chart([pair | scores], "k") is None


def test_names_in_the_plot_of_costs_do_not_run_over_each_other() -> None:
    many = [
        {"spec": f"a long name of features {i}", "accuracy": 0.5 + i / 1000, "ms_per_image": 1 + i}
        for i in range(50)
    ]

    found = cost_chart([{"spec": "cheap", "accuracy": 0.1, "ms_per_image": 0.1}, *many], "k")

    assert found is not None
    named = [text for label in found[0].center[-2:] for text in label.source.data["text"]]
    assert "a long name of features 49" in named
    assert len(named) < 10
