"""``featx probe``, ``compare``, ``predict``: what a user types, and what comes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

import featx.cli

SAMPLES = "data/samples/photo"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["featx", *arguments])
    with pytest.raises(SystemExit) as stop:
        featx.cli.main()
    return int(stop.value.code or 0)


def test_compare_prints_a_table_and_advice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "compare", SAMPLES, "-e", "color", "--n-splits", "2", "-q") == 0

    out, err = capsys.readouterr()
    assert out.splitlines()[0].split()[:3] == ["features", "accuracy", "low"]
    assert "shuffled labels" in out
    assert "Best: " in out
    assert err == ""


def test_json_is_one_object_of_the_promised_form(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "compare", SAMPLES, "-e", "color", "--n-splits", "2", "--json") == 0

    found = json.loads(capsys.readouterr().out)
    assert {"command", "version", "data", "protocol", "rows", "failures"} <= set(found)
    assert {"spec", "layer", "accuracy", "low", "high", "balanced_accuracy", "n_features",
            "ms_per_image"} <= set(found["rows"][0])  # fmt: skip


def test_markdown_is_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "probe", SAMPLES, "-e", "color", "--markdown", "-q") == 0

    assert capsys.readouterr().out.startswith("| spec ")


def test_probe_saves_what_predict_reads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    saved = str(tmp_path / "probe.skops")
    assert run(monkeypatch, "probe", SAMPLES, "-e", "color", "--save", saved, "-q") == 0
    assert "recall" in capsys.readouterr().out

    assert run(monkeypatch, "predict", saved, SAMPLES, "--csv", "-q") == 0

    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 80
    assert {"path", "predicted", "probability", "probabilities.fish"} <= set(rows[0])


@pytest.mark.parametrize("text", ["", "0,1", "a", "1.5"])
def test_wrong_numbers_of_training_images_are_refused(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "probe", SAMPLES, "--train-per-class", text) == 2


def test_unknown_classifier_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "probe", SAMPLES, "-e", "color", "--classifier", "svn", "-q") == 1

    error = capsys.readouterr().err
    assert error.startswith("featx: ")
    assert len(error.splitlines()) == 1
    assert "logistic" in error
