from __future__ import annotations

import json
from pathlib import Path

import pytest

from featx.cli import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty small images of two classes, one red and one blue."""
    tmp_path = tmp_path / "photos"
    tmp_path.mkdir()
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for index, name in enumerate(["blue", "red"]):
        (tmp_path / name).mkdir()
        for i in range(20):
            pixels = rng.integers(0, 90, (32, 32, 3), dtype=np.uint8)
            pixels[..., 2 - 2 * index] += 120
            Image.fromarray(pixels).save(tmp_path / name / f"{i:02}.png")
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["featx", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_json_has_a_row_for_each_layer(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--layers", "pool1,fc7", "--maps", "none", "--no-controls", "--json", "-q"]
    assert run(monkeypatch, "depth", str(folder), *options) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["command"] == "depth"
    assert [row["layer"] for row in found["rows"]] == ["pool1", "fc7"]
    assert found["rows"][0]["purity"] > 0.9


@pytest.mark.parametrize(
    "layers", [["--layer", "fc7,pool1"], ["--layer", "pool1", "--layers", "fc7"]]
)
def test_layers_repeat_and_take_commas(
    layers: list[str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = [*layers, "--maps", "none", "--no-controls", "--json", "-q"]
    assert run(monkeypatch, "depth", str(folder), *options) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["layer"] for row in rows] == ["pool1", "fc7"]


def test_a_report_has_its_figures(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    options = ["--layers", "pool1,fc7", "--method", "pca", "--no-controls", "--report", str(out)]
    assert run(monkeypatch, "depth", str(folder), *options, "-q") == 0
    figures = {file.name for file in (out / "figures").iterdir()}
    assert figures == {f"{n}.{s}" for n in ("depth", "maps", "cka") for s in ("png", "svg")}
    assert (out / "report.html").exists()


def test_a_wrong_layer_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "depth", str(folder), "--layers", "pol1") == 1
    assert "Did you mean 'pool1'?" in capsys.readouterr().err
