from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import load_file

import featx.cli
from featx.errors import DatasetError

FEW = ("digits", "--max-images", "40", "--epochs", "1", "--batch-size", "16")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["featx", "pretrain", "autoencoder", *arguments])
    with pytest.raises(SystemExit) as stop:
        featx.cli.main()
    return int(stop.value.code or 0)


def test_autoencoder_leaves_weights_and_an_image_and_names_both(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "new" / "auto.safetensors"

    assert run(monkeypatch, *FEW, "-o", str(file), "-q") == 0

    weights, image = capsys.readouterr().out.splitlines()
    assert weights.startswith(f"{file}: loss 0.")
    assert image.startswith(f"{file.with_suffix('.png')}: ")
    assert {"conv1.weight", "conv2.weight"} <= load_file(file).keys()
    with Image.open(file.with_suffix(".png")) as grid:
        assert grid.size == (10 * 28, 2 * 28)


def test_json_has_a_row_for_each_epoch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = str(tmp_path / "auto.safetensors")

    assert run(monkeypatch, *FEW, "--epochs", "2", "-o", file, "--json") == 0

    printed = json.loads(capsys.readouterr().out)
    assert [row["epoch"] for row in printed["rows"]] == [1, 2]
    assert printed["weights"] == file


def test_weights_under_another_suffix_are_refused_before_training(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *FEW, "--epochs", "100000", "-o", "weights.pt") == 1
    assert "weights.pt: weights are saved as .safetensors" in capsys.readouterr().err


@pytest.mark.parametrize("quiet", [(), ("-q",)])
def test_mnist_is_taken_where_no_images_are_named(
    quiet: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(data: Any, **_: Any) -> None:
        raise DatasetError(f"asked for {data}")  # MNIST is a download.

    monkeypatch.setattr("featx.finetuning.autoencoder.pretrain", refuse)

    assert run(monkeypatch, *quiet) == 1
    *notes, error = capsys.readouterr().err.splitlines()
    assert error == "featx: asked for torchvision:MNIST"
    assert len(notes) == (0 if quiet else 1)


@pytest.mark.parametrize(
    "wrong", [("--mask", "1.5"), ("--noise", "-1"), ("--code-size", "0"), ("--max-images", "0")]
)
def test_numbers_out_of_range_are_refused_with_their_option(
    wrong: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *FEW, *wrong) == 2
    error = capsys.readouterr().err
    assert wrong[0] in error
    assert "No such option" not in error
