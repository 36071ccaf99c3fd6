from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import pytest

from featx.cli.console import Reporter, print_result
from featx.errors import ResultFileError
from featx.features.results import Result

RESULT = Result("compare", "photos", [{"spec": "hog"}])


def test_a_report_saves_its_figures_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders: list[Path] = []
    monkeypatch.setattr(
        "featx.figures.result_figures.save_figures", lambda _, folder: folders.append(folder)
    )

    print_result(RESULT, report=str(tmp_path))

    assert folders == [tmp_path / "figures"]


def test_names_move_no_cursor_and_begin_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    name = "\x1b[2J\nfeatx: done\u202e.png"
    result = Result(
        "predict", "photos", [{"path": name, "said": name}], sentences=[f"Best: {name}."],
        failures=[(name, "no image")],
    )  # fmt: skip

    print_result(result)
    Reporter().note(name)
    printed = capsys.readouterr()
    print(result.to_markdown())

    assert "\\x1b[2J\\nfeatx: done\\u202e.png" in printed.out
    assert "\\x1b[2J\\nfeatx: done\\u202e.png: no image" in printed.err
    assert len(capsys.readouterr().out.splitlines()) == 4  # With one empty line at the end.
    assert not any(sign in printed.out + printed.err for sign in "\x1b\u202e")


def test_report_is_written_though_nothing_can_be_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(OSError, match="No space left"):
            print_result(RESULT, report=str(tmp_path))
        monkeypatch.undo()
        with suppress(OSError):
            full.close()
    assert Result.load(tmp_path).rows == RESULT.rows


def test_table_is_printed_though_the_report_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResultFileError, match="Cannot write"):
        print_result(RESULT, report=str(tmp_path / "file"))
    assert "hog" in capsys.readouterr().out
