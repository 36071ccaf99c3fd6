from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import featx.cli
from featx.cli.demo import _print


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command asks for; the whole demo takes minutes."""
    asked: dict[str, Any] = {}

    def tell_story(data: Any, **parameters: Any) -> None:
        asked.update(parameters, data=data)

    monkeypatch.setattr("featx.demo.tell_story", tell_story)
    monkeypatch.setattr("featx.data.samples.fetch_photographs", lambda: Path("photographs"))
    return asked


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["featx", "demo", *arguments])
    with pytest.raises(SystemExit) as stop:
        featx.cli.main()
    return int(stop.value.code or 0)


def test_demo_takes_500_drawings_unless_told_otherwise(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(monkeypatch) == 0
    assert (asked["data"], asked["max_images"]) == ("drawings", 500)

    assert run(monkeypatch, "digits") == 0
    assert asked["data"] == "digits"

    assert run(monkeypatch, "mine", "--all", "--report", "out", "--no-store") == 0
    assert (asked["data"], asked["max_images"]) == ("mine", None)
    assert (asked["report"], asked["store"]) == ("out", None)


@pytest.mark.parametrize(
    ("arguments", "model"), [((), "squeezenet1_0"), (("--model", "resnet18"), "resnet18")]
)
def test_online_takes_photographs_and_an_imagenet_network(
    arguments: tuple[str, ...],
    model: str,
    asked: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run(monkeypatch, "--online", *arguments) == 0
    assert (asked["data"], asked["model"]) == (Path("photographs"), model)


@pytest.mark.parametrize(
    ("sentence", "printed"),
    [
        ("4. Depth", "\n4. Depth\n"),
        ("500 images. All of digits", "   500 images. All of digits\n"),
        ("| a |\n| - |\n", "   | a |\n   | - |\n"),
    ],
)
def test_headings_stand_out_and_all_else_is_indented(
    sentence: str, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _print(sentence)

    assert capsys.readouterr().out == printed


def test_images_without_classes_are_one_line_of_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")

    assert run(monkeypatch, str(tmp_path), "--no-store") == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"featx: {tmp_path}: no labels")
