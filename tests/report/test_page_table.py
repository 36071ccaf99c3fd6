from __future__ import annotations

from featx.report.page_table import make_table


def test_ends_of_an_interval_stand_beside_its_middle() -> None:
    table = make_table([{"spec": "hog", "accuracy": 0.5, "low": 0.4, "high": 0.6}])

    cell = table.rows[0][1]
    assert [column.name for column in table.columns] == ["spec", "accuracy"]
    assert (cell.text, cell.interval, cell.key) == ("50.0%", "40.0%–60.0%", 0.5)
    assert cell.bar == (40.0, 20.0, 50.0)


def test_interval_below_zero_reads_well() -> None:
    row = {"spec": "hog", "difference": -0.01, "difference_low": -0.03, "difference_high": 0.01}

    assert make_table([row]).rows[0][1].interval == "−3.0 to 1.0"


def test_interval_of_a_transfer_belongs_to_the_target() -> None:
    row = {"source": "a", "target": "b", "target_accuracy": 0.5, "low": 0.4, "high": 0.6}

    cells = dict(zip([c.name for c in make_table([row]).columns], make_table([row]).rows[0]))
    assert cells["target_accuracy"].interval == "40.0%–60.0%"


def test_columns_nobody_has_are_left_out() -> None:
    table = make_table([{"spec": "hog", "log_loss": None}])

    assert [column.name for column in table.columns] == ["spec"]


def test_less_asked_for_columns_are_a_click_away() -> None:
    table = make_table([{"spec": "hog", "accuracy": 0.5, "C": 0.1}])

    assert [column.is_main for column in table.columns] == [True, True, False]
    assert table.has_more


def test_layers_of_one_network_are_called_by_their_layer() -> None:
    table = make_table([{"spec": "cnn:m:pool1", "layer": "pool1", "index": 2, "purity": 0.5}])

    assert [column.name for column in table.columns if column.is_main] == ["layer", "purity"]


def test_columns_of_which_none_is_known_are_all_shown() -> None:
    assert not make_table([{"x": 1, "y": 2}]).has_more


def test_missing_value_sorts_as_missing() -> None:
    table = make_table([{"spec": "a", "accuracy": None}, {"spec": "b", "accuracy": 0.5}])

    assert table.rows[0][1].key == ""
    assert table.rows[0][1].text == ""


def test_control_and_average_are_marked() -> None:
    rows = [{"spec": "color", "is_control": True}, {"source": "mean", "target": "mean"}]

    assert make_table(rows).marks == ["control", "average"]
