from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import featx.cli

SAMPLES = Path("data/samples/photo")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("checked") / "photo"
    shutil.copytree(SAMPLES, root)
    shutil.copy(root / "fish" / "00.jpg", root / "house" / "copy.jpg")
    return root


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["featx", "check", *arguments])
    with pytest.raises(SystemExit) as stop:
        featx.cli.main()
    return int(stop.value.code or 0)


def test_people_get_a_summary_and_programs_every_image(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, str(folder), "-q", "--only", "duplicates") == 0
    printed = capsys.readouterr().out
    assert "copy.jpg" not in printed
    assert "exact copy" in printed
    assert "--report DIR shows the images" in printed

    assert run(monkeypatch, str(folder), "-q", "--only", "duplicates", "--json") == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    copies = {Path(row["path"]).name for row in rows if row["problem"] == "exact copy"}
    assert copies == {"00.jpg", "copy.jpg"}


def test_report_shows_the_images_beside_each_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run(monkeypatch, str(folder), "-q", "--report", str(tmp_path / "report")) == 0

    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    assert "Exact copy: 2" in page
    assert page.count('class="shots"') >= 2


def test_clean_manifest_is_not_replaced_unasked(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clean = tmp_path / "clean.csv"
    command = (str(folder), "-q", "--only", "duplicates", "--write", str(clean))
    assert run(monkeypatch, *command) == 0
    assert clean.read_text().count("\n") == 80
    assert run(monkeypatch, *command) == 1
    assert "clean.csv" in capsys.readouterr().err
    assert run(monkeypatch, *command, "--force") == 0
