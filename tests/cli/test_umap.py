from __future__ import annotations

import json
from pathlib import Path

import pytest

from featx.cli import main


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["featx", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty small images in two classes."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(10):
            pixels = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    return tmp_path / "photos"


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_map_is_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    file = tmp_path / f"map{suffix}"
    options = ["-e", "color", "--method", "pca", "-o", str(file), "-q"]
    assert run(monkeypatch, "umap", str(folder), *options) == 0
    assert file.read_bytes()[:5] in (b"\x89PNG\r", b"<?xml")


def test_json_says_how_far_the_map_can_be_trusted(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = str(tmp_path / "map.svg")
    options = ["-e", "color", "--method", "pca", "--color", "correct", "-o", file, "--json", "-q"]
    assert run(monkeypatch, "umap", str(folder), *options) == 0
    row = json.loads(capsys.readouterr().out)["rows"][0]
    assert 0 < row["trustworthiness"] <= 1
    assert 0 <= row["accuracy"] <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["-o", "map.gif"],
            "map.gif: expected a name that ends in .png, .svg, .pdf, .html; got .gif",
        ),
        (
            ["-e", "color", "--color", "domain"],
            "cannot color by domain: the data has none; expected",
        ),
        (["-e", "color", "--color", "hue"], "color must be one of class, domain, split, correct"),
        (["--layer", "fc7", "-e", "hog", "--model", "featxnet"], "shows one feature set"),
        (["--layer", "fc6,fc7"], "shows one feature set; got fc6, fc7"),
    ],
)
def test_what_is_wrong_is_one_line(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    assert run(monkeypatch, "umap", str(folder), *options) == 1
    assert message in capsys.readouterr().err
