from __future__ import annotations

from typing import Any

import pytest

from featx.features.results import Result
from featx.figures.learning_data import LearningData, prepare_learning
from featx.figures.learning_figure import draw_learning
from tests.figures.conftest import boxes_of, overlapping


def prepared(*curves: dict[str, Any], labels: tuple[dict[str, Any], ...] = ()) -> LearningData:
    details = {"curves": list(curves), "label_curves": list(labels)}
    return prepare_learning(Result("finetune", "photos", [], details=details))


def two_seeds(name: str) -> list[dict[str, Any]]:
    """A run of three epochs and one that stopped after two."""
    accuracy = [0.2, 0.5, 0.6]
    return [
        {"name": name, "seed": 0, "epoch": [1, 2, 3], "valid_accuracy": accuracy},
        {"name": name, "seed": 1, "epoch": [1, 2], "valid_accuracy": accuracy[:2]},
    ]


LABELS = {"name": "frozen", "seed": 0, "n_labels": [5, 20], "accuracy": [0.3, 0.4]}


def test_learning_is_drawn_with_a_mean_over_the_seeds() -> None:
    """A run that stopped early counts on with its last value."""
    [axes] = draw_learning(prepared(*two_seeds("full"))).axes

    *runs, mean = axes.get_lines()
    assert len(runs) == 2
    assert mean.get_xydata().tolist() == [[1, 0.2], [2, 0.5], [3, pytest.approx(0.55)]]


def test_each_strategy_has_one_color_in_lines_and_legend() -> None:
    data = prepared(*two_seeds("scratch"), *two_seeds("full"), labels=(LABELS,))

    figure = draw_learning(data)

    colors = [{line.get_color() for line in axes.get_lines()} for axes in figure.axes]
    assert [len(found) for found in colors] == [2, 1]
    assert not set.intersection(*colors)
    legend = {line.get_label(): line.get_color() for line in figure.legends[0].get_lines()}
    assert {legend["scratch"], legend["full"]} == colors[0]
    assert {legend["frozen"]} == colors[1]


def test_a_strategy_that_does_not_train_is_a_level() -> None:
    level = {"name": "frozen", "epoch": [0], "valid_accuracy": [0.4], "is_level": True}

    [axes] = draw_learning(prepared(level, two_seeds("full")[0])).axes

    across, curve = axes.get_lines()
    assert list(across.get_ydata()) == [0.4, 0.4]
    assert len(curve.get_xdata()) == 3


def test_losses_are_not_drawn() -> None:
    run = two_seeds("full")[0] | {"train_loss": [1.0, 0.5, 0.2]}

    figure = draw_learning(prepared(run, labels=(LABELS,)))

    assert [axes.get_xlabel() for axes in figure.axes] == ["Epoch", "Training images per class"]


def test_no_text_covers_another_under_a_title() -> None:
    figure = draw_learning(prepared(*two_seeds("full"), labels=(LABELS,)), "Learning, photos")

    assert overlapping(boxes_of(figure)) == 0
