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


def test_kernels_are_drawn_without_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "kernels.png"
    assert run(monkeypatch, "filters", "featxnet", "-o", str(file)) == 0
    assert file.read_bytes().startswith(b"\x89PNG")
    assert "32 kernels of 5x5 px" in capsys.readouterr().out


def test_kernels_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["-o", str(tmp_path / "kernels.png"), "--json"]
    assert run(monkeypatch, "filters", "featxnet", *options) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == [{"n_kernels": 32, "size_px": [5, 5]}]


def test_what_excites_channels_is_drawn_and_told(
    photos: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "pool2.svg"
    options = ["--layer", "pool2", "--channels", "3,7", "-o", str(file), "--json", "-q"]
    assert run(monkeypatch, "filters", "featxnet", *photos, *options) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["channel"] for row in rows] == [3, 7]
    assert file.exists()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["-o", "a.gif"], 1, "a.gif: expected a name that ends in .png, .svg, .pdf; got .gif"),
        (["--layer", "conv5"], 2, "name DATA too"),
        (["digits", "--layer", "pool1,pool2"], 2, "Expected one value"),
        (["digits", "--channels", "a"], 2, "Expected integers"),
    ],
)
def test_what_is_wrong_is_said(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    code: int,
    message: str,
) -> None:
    assert run(monkeypatch, "filters", "featxnet", *options) == code
    assert message in capsys.readouterr().err
