from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from featx.cli import app
from featx.features.results import Result


def test_report_joins_what_earlier_commands_left(tmp_path: Path) -> None:
    Result("compare", "photos", [{"spec": "hog", "accuracy": 0.5}]).save(tmp_path / "first")
    Result("depth", "photos", [{"layer": "pool1", "accuracy": 0.5}]).save(tmp_path / "second")
    folders = [str(tmp_path / "first"), str(tmp_path / "second")]

    done = CliRunner().invoke(app, ["report", *folders, "-o", str(tmp_path / "both")])

    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(tmp_path / "both" / "report.html")
    text = (tmp_path / "both" / "report.html").read_text("utf-8")
    assert text.index("Comparison of feature sets") < text.index("Classes by depth")
