from __future__ import annotations

from typing import Any

from featx.features.results import Result
from featx.figures.learning_data import LearningPanel, prepare_learning


def panel_of(*curves: dict[str, Any], measure: str = "valid_accuracy") -> LearningPanel | None:
    result = Result("finetune", "photos", [], details={"curves": list(curves)})
    return prepare_learning(result).panel("epoch", measure)


def run(name: str, *values: float | None, **more: Any) -> dict[str, Any]:
    return {"name": name, "valid_accuracy": list(values), **more}


def test_run_that_stopped_early_keeps_its_last_value_in_the_mean() -> None:
    panel = panel_of(run("full", 0.5, 0.75), run("full", 0.25))

    assert panel is not None
    assert panel.means == {"full": ([1, 2], [0.375, 0.5])}


def test_level_is_the_mean_of_what_does_not_train() -> None:
    levels = [run("frozen", value, is_level=True) for value in (0.5, 0.75)]

    panel = panel_of(*levels, run("full", 0.5, 0.6))

    assert panel is not None
    assert panel.levels == {"frozen": 0.625}


def test_network_of_one_epoch_is_no_level() -> None:
    panel = panel_of(run("head", 0.5, is_level=False), run("full", 0.5, 0.6))

    assert panel is not None
    assert panel.levels == {}


def test_values_that_were_not_measured_make_no_panel() -> None:
    assert panel_of(run("full", None, None)) is None
    assert panel_of(run("full", 0.5), measure="train_loss") is None


def test_several_runs_of_one_strategy_are_seeds() -> None:
    one, two = panel_of(run("a", 0.5), run("b", 0.5)), panel_of(run("a", 0.5), run("a", 0.6))

    assert one is not None
    assert two is not None
    assert not one.has_seeds
    assert two.has_seeds


def test_strategies_are_named_once_in_the_order_of_the_runs() -> None:
    details = {"curves": [run("b", 0.5), run("a", 0.5)], "label_curves": [run("c"), run("b")]}

    assert prepare_learning(Result("finetune", "photos", [], details=details)).names == (
        *("b", "a", "c"),
    )
