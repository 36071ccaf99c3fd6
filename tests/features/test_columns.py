from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from featx.analysis import metrics as measures
from featx.analysis.metrics import measure, measure_names
from featx.analysis.similarity import Space
from featx.cli.console import print_result
from featx.features import columns
from featx.features.columns import (
    Column,
    all_columns,
    cost_names,
    depth_columns,
    find_column,
    register_columns,
    shown_columns,
)
from featx.features.results import Result
from featx.figures.depth_data import prepare_depth
from featx.figures.depth_figure import draw_depth
from featx.report.depth_plot import plot_depth
from featx.report.page_table import make_table

COMMANDS = ("probe", "compare", "transfer", "depth", "advise", "finetune", "predict", "check")


@pytest.fixture
def margin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Column]:
    """A measure of the layers added as a developer would: one decorated function."""
    find_column("purity")  # What is built in is registered before.
    monkeypatch.setattr(columns, "_registered", dict(columns._registered))
    monkeypatch.setattr(measures, "_measures", list(measures._measures))
    column = Column("margin", "Margin", commands=("depth",), has_curve=True, axis="signed")

    @measures._reported(column)
    def _margin(layer: Any, labels: Any) -> Any:
        return np.where(labels == "a", 0.75, 0.25)

    yield column
    monkeypatch.undo()
    columns._by_name.cache_clear()


def layer_rows() -> list[dict[str, Any]]:
    X = np.repeat(np.eye(2), 20, axis=0) + 0.01 * np.random.default_rng(0).normal(size=(40, 2))
    metrics = measure(Space(X), np.repeat(["a", "b"], 20))
    return [{"layer": name, "index": i, **metrics} for i, name in enumerate(("pool1", "fc7"))]


def test_a_new_measure_has_an_interval_and_a_control(margin: Column) -> None:
    row = layer_rows()[0]

    assert list(row)[-4:] == ["margin", "margin_low", "margin_high", "margin_shuffled"]
    assert row["margin_low"] < row["margin"] == 0.5 < row["margin_high"]
    assert measure_names()[-1] == "margin"


def test_a_new_measure_reaches_every_output(
    margin: Column, capsys: pytest.CaptureFixture[str]
) -> None:
    result = Result("depth", "photos", layer_rows())

    print_result(result)
    head, first = capsys.readouterr().out.splitlines()[:2]
    assert (head.split()[-1], first.split()[-1]) == ("margin", "0.500")
    assert "Margin" in [heading.label for heading in make_table(result.rows).columns]
    data = prepare_depth(result)
    assert data is not None
    assert "Margin" in [axes.get_title("left") for axes in draw_depth(data).axes]
    assert "margin" in plot_depth(data, "k")
    assert "margin_shuffled" in result.to_csv().splitlines()[0]


def test_two_columns_of_one_name_are_refused() -> None:
    register_columns(find_column("purity"))  # The same again does no harm.
    with pytest.raises(ValueError, match="'purity'"):
        register_columns(Column("purity", "Purity of something else"))
    with pytest.raises(ValueError, match="'accuracy'"):
        register_columns(Column("accuracy", "Another accuracy"))


@pytest.mark.parametrize("command", COMMANDS)
def test_no_two_headings_of_a_command_are_alike(command: str) -> None:
    headings = [column.heading(command) for column in shown_columns(command)]

    assert headings
    assert len(set(headings)) == len(headings)


def test_names_of_columns_are_unique() -> None:
    assert len({column.name for column in columns.COLUMNS}) == len(columns.COLUMNS)


def test_every_command_that_shows_a_column_exists() -> None:
    assert {name for column in all_columns() for name in column.commands} == {*COMMANDS, "demo"}


def test_depth_shows_scores_then_measures_then_costs_then_controls() -> None:
    assert [column.name for column in shown_columns("depth")] == [
        *("layer", "accuracy", "low", "high", *measure_names(), "n_features"),
        *("accuracy_shuffled", "accuracy_random", "purity_random"),
    ]
    assert [column.name for column in depth_columns()] == ["accuracy", *measure_names()]


def test_controls_are_labeled_after_their_measure() -> None:
    assert find_column("purity_random").label == "Purity, random"
    assert find_column("accuracy_shuffled").unit == "share"
    assert find_column("purity_shuffled").commands == ()
    assert find_column("accuracy_random").commands == ("depth",)


def test_time_is_the_preferred_cost() -> None:
    assert cost_names() == ["ms_per_image", "n_features", "bytes_per_image", "train_seconds"]


def test_a_fine_tuned_row_is_named_by_its_strategy() -> None:
    row = {"spec": "featxnet head", "accuracy": 0.5}

    assert find_column("spec").heading("finetune") == "strategy"
    assert make_table([row], command="finetune").columns[0].label == "Strategy"
    assert make_table([row], command="compare").columns[0].label == "Features"


def test_terminal_formats_by_the_column(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"spec": "hog", "source": "mean", "target": "mean", "target_accuracy": 0.5}
    result = Result("transfer", "photos", [{**row, "points_lost": 12.345, "C": 0.01}])

    print_result(result)
    assert capsys.readouterr().out.splitlines()[1].split()[-2:] == ["0.500", "12.3"]
    print_result(result, as_markdown=True)
    assert capsys.readouterr().out.splitlines()[2].split()[-2] == "12.3"
