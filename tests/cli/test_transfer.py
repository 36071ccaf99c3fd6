from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from featx.cli import main

SAMPLES = Path(__file__).parents[2] / "data" / "samples"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three domains of two classes of four images each."""
    for index, domain in enumerate(("photo", "sketch", "later")):
        for label in ("fish", "house"):
            (tmp_path / domain / label).mkdir(parents=True)
            source = SAMPLES / ("sketch" if domain == "sketch" else "photo") / label
            for file in sorted(source.iterdir())[4 * index : 4 * index + 4]:
                (tmp_path / domain / label / file.name).write_bytes(file.read_bytes())
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Exit code of the command line, run in this process."""
    options = ["--seeds", "1", "-C", "0.1", "-e", "mean_color", "--no-store", "-q"]
    monkeypatch.setattr(sys, "argv", ["featx", "transfer", *options, *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    code = stop.value.code
    return code if isinstance(code, int) else 0


def test_two_domains_show_averages_both_pairs_and_the_words(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, str(images), "--domains", "photo,sketch") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:5] == ["features", "alignment", "from", "to", "source"]
    assert len(lines[1:7]) == sum(line.startswith("mean_color ") for line in lines)
    assert any(line.startswith("Target accuracy: mean_color reaches") for line in lines)
    assert lines[-1].startswith("Accuracy of a linear classifier of the domains")


def test_more_domains_show_averages_alone_unless_pairs_are_asked_for(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = []
    for options in ([], ["--pairs"]):
        assert run(monkeypatch, str(images), *options) == 0
        lines = capsys.readouterr().out.splitlines()
        counts.append(sum(line.startswith("mean_color ") for line in lines))
    assert counts == [2, 14]


def test_json_holds_every_pair_and_the_protocol(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, str(images), "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["command"] == "transfer"
    assert len(result["rows"]) == 14
    assert result["protocol"]["domains"] == ["later", "photo", "sketch"]
    assert isinstance(result["rows"][0]["points_lost"], float)


def test_csv_holds_every_pair(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, str(images), "--csv") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 15
    assert lines[0].startswith("spec,alignment,source,target,source_accuracy,target_accuracy")


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--domains", "photo"], 1, "at least 2 domains; got photo"),
        (["--domains", "photo,oil"], 1, "'oil' is not in the data"),
        (["--regularization", "0"], 1, "regularization must be above 0; got 0.0"),
        (["--seeds", "0"], 2, "--seeds"),
    ],
)
def test_what_cannot_be_done_is_said(
    options: list[str],
    code: int,
    message: str,
    images: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, str(images), *options) == code
    assert message in capsys.readouterr().err


def test_strict_exits_3_when_an_image_failed(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "photo/fish/broken.png").write_bytes(b"?")
    assert run(monkeypatch, str(images), "--strict") == 3
    assert "broken.png" in capsys.readouterr().err
