from __future__ import annotations

from typing import Any

from featx.features.results import Result
from featx.figures.learning_data import LearningData, prepare_learning
from featx.report.learning_plot import plot_learning, strategy_colors


def prepared(*curves: dict[str, Any]) -> LearningData:
    return prepare_learning(Result("finetune", "photos", [], details={"curves": list(curves)}))


def test_curves_of_two_runs_are_drawn_apart() -> None:
    run = {"name": "head", "epoch": [1, 2], "train_loss": [0.9, 0.5]}

    plots = plot_learning(prepared({**run, "seed": 0}, {**run, "seed": 1}), "epoch", "k")

    assert list(plots) == ["train_loss"]
    assert len(plots["train_loss"].renderers) == 5  # Each a line and its dots, and their mean.


def test_strategy_keeps_its_color_where_another_is_not_measured() -> None:
    data = prepared(
        {"name": "frozen", "valid_accuracy": [0.5], "is_level": True},
        {"name": "head", "valid_accuracy": [0.5, 0.6], "train_loss": [0.9, 0.5]},
    )

    plots = plot_learning(data, "epoch", "k")

    assert plots["train_loss"].renderers[0].glyph.line_color == strategy_colors(data)["head"]


def test_tex_in_a_name_is_not_typeset() -> None:
    plots = plot_learning(prepared({"name": "$$x$$", "train_loss": [0.5]}), "epoch", "k")

    assert "$$" not in plots["train_loss"].renderers[0].data_source.data["run"][0]
