from __future__ import annotations

import json
import sys

import pytest

from featx.cli import main


def printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> str:
    """What a command that must succeed prints on stdout."""
    monkeypatch.setattr(sys, "argv", ["featx", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    return capsys.readouterr().out


def test_layers_stand_in_order_with_shape_and_cost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(monkeypatch, capsys, "layers", "alexnet").splitlines()
    assert lines[3].split() == [
        "pool1", "features.2", "MaxPool2d", "64x27x27", "46,656", "64", "9.8%",
    ]  # fmt: skip
    assert lines[-1].startswith("fc8")


def test_layers_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = json.loads(printed(monkeypatch, capsys, "layers", "alexnet", "--json"))
    assert result["model"] == "alexnet"
    assert result["rows"][2]["shape"] == [64, 27, 27]


def test_models_are_filtered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = json.loads(printed(monkeypatch, capsys, "models", "squeezenet", "--json"))
    assert [row["name"] for row in result["rows"]] == ["squeezenet1_0", "squeezenet1_1"]


def test_bundled_network_shows_its_card(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(monkeypatch, capsys, "models", "featxnet")
    assert "taught by squeezenet1_0" in text
    assert "Not for:" in text


def test_extractors_are_listed_with_a_line_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(monkeypatch, capsys, "extractors").splitlines()
    assert [line.split()[0] for line in lines[1:]][:12] == [
        "bovw", "cnn", "color", "gabor", "gist", "glcm", "hog", "hsv", "lbp", "mean_color", "phog",
        "pixels",
    ]  # fmt: skip
