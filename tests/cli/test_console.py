from __future__ import annotations

from pathlib import Path

import pytest

from featx.cli.console import _print_report
from featx.features.results import Result


def test_a_report_saves_its_figures_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders: list[Path] = []
    monkeypatch.setattr(
        "featx.figures.result_figures.save_figures", lambda _, folder: folders.append(folder)
    )

    _print_report(Result("compare", "photos", [{"spec": "hog"}]), str(tmp_path))

    assert folders == [tmp_path / "figures"]
