from __future__ import annotations

from pathlib import Path

import pytest

from featx.cli.console import Reporter, _print_report, print_result
from featx.features.results import Result


def test_a_report_saves_its_figures_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders: list[Path] = []
    monkeypatch.setattr(
        "featx.figures.result_figures.save_figures", lambda _, folder: folders.append(folder)
    )

    _print_report(Result("compare", "photos", [{"spec": "hog"}]), str(tmp_path))

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
