"""Results: they survive saving and loading."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from featx.errors import ResultFileError
from featx.features.results import Result


@pytest.fixture
def result() -> Result:
    rows = [
        {"spec": "hog", "accuracy": np.float64(0.5), "n_features": 8100},
        {"spec": "a|b", "accuracy": float("nan"), "low": 0.1},
    ]
    return Result("compare", "photos", rows, failures=[("a.jpg", "empty file")])


def test_saved_results_come_back(result: Result, tmp_path: Path) -> None:
    again = Result.load(result.save(tmp_path / "out"))

    assert again.to_dict() == result.to_dict()
    assert again.failures == [("a.jpg", "empty file")]


def test_json_is_standard_json(result: Result) -> None:
    text = json.dumps(result.to_dict(), allow_nan=False)

    assert json.loads(text)["rows"][1]["accuracy"] is None


def test_table_has_every_column_once(result: Result) -> None:
    assert result.to_csv().splitlines()[0] == "spec,accuracy,n_features,low"


def test_markdown_keeps_its_columns_whatever_a_name_holds(result: Result) -> None:
    lines = result.to_markdown(["spec", "accuracy", "n_features"]).splitlines()

    assert lines[2].split() == ["|", "hog", "|", "0.500", "|", "8,100", "|"]
    assert len(set(map(len, lines))) == 1
    assert lines[3].replace(r"\|", "").count("|") == 4


def test_folder_without_results_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResultFileError, match="--report"):
        Result.load(tmp_path)


def test_damaged_results_are_named(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"command": 1')

    with pytest.raises(ResultFileError, match="damaged"):
        Result.load(tmp_path)


def test_endless_nesting_is_damage(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("[" * 100_000)
    with pytest.raises(ResultFileError, match="is damaged"):
        Result.load(tmp_path)


def test_a_pipe_in_place_of_results_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "results.json")
    with pytest.raises(ResultFileError, match=r"No results\.json"):
        Result.load(tmp_path)


def test_no_spreadsheet_takes_a_name_for_a_formula(tmp_path: Path) -> None:
    rows = [{"path": name, "difference": -0.5} for name in ("=cmd()", "@a", "-1.png", "a.png")]
    result = Result("predict", "photos", rows)

    lines = result.to_csv(is_safe=True).splitlines()

    assert lines == ["path,difference", "'=cmd(),-0.5", "'@a,-0.5", "'-1.png,-0.5", "a.png,-0.5"]
    assert result.to_csv().splitlines()[1] == "=cmd(),-0.5"
    table = next(result.save(tmp_path / "out").glob("*.csv"))
    assert table.read_text().splitlines() == lines
