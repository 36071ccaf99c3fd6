from __future__ import annotations

import json
from pathlib import Path

import pytest

import featx.cli

SAMPLES = "data/samples/photo"
SMALL = ("--size", "32", "--head-epochs", "2", "--epochs", "1", "-q")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["featx", *arguments])
    with pytest.raises(SystemExit) as stop:
        featx.cli.main()
    return int(stop.value.code or 0)


@pytest.mark.slow
def test_finetune_prints_a_table_and_the_freeze_check_and_saves_a_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = str(tmp_path / "mine")

    assert run(monkeypatch, "finetune", SAMPLES, *SMALL, "-o", folder) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].split()[:2] == ["strategy", "accuracy"]
    assert "bit for bit" in out
    assert err == ""

    assert run(monkeypatch, "predict", folder, SAMPLES, "--json", "-q") == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["probability"] > 0


@pytest.mark.slow
def test_summary_prints_layers_and_totals_of_each_stage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--model", "vgg16", "--hidden", "256", "--train-from", "conv5_1", "--summary")

    assert run(monkeypatch, "finetune", SAMPLES, *arguments) == 0

    lines = capsys.readouterr().out.splitlines()
    frozen = [line.split()[-2] for line in lines if line.startswith("frozen")]
    assert frozen[0] == "14,714,688"
    assert frozen[1] == "7,635,264"
    assert lines[0] == "head: 30 epochs"


def test_train_and_train_from_exclude_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("--train", "all", "--train-from", "conv5")

    assert run(monkeypatch, "finetune", SAMPLES, *arguments) == 2


def test_finetune_takes_one_value_where_others_take_several(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--augment", "light", "--augment", "strong")
    assert run(monkeypatch, "finetune", SAMPLES, *arguments) == 2
    assert "Expected one value here, got 2" in capsys.readouterr().err


def test_several_numbers_of_training_images_are_a_learning_curve(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    arguments = ("--compare", "frozen", "--train-per-class", "2,3", "--no-store")
    assert run(monkeypatch, "finetune", SAMPLES, *arguments, "--report", str(tmp_path)) == 0
    (curve,) = json.loads((tmp_path / "results.json").read_text())["details"]["label_curves"]
    assert curve["n_labels"][:2] == [2, 3]
