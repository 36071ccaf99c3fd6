from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import featx.cli

# Of random weights there is no second network to measure as a control.
SMALL = ("--model", "lenet", "--weights", "random", "--no-store", "-q")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve dark and twelve light images of noise, and one that cannot be read."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for low, label in ((0, "dark"), (150, "light")):
        (root / label).mkdir()
        for i in range(12):
            pixels = rng.integers(low, low + 100, (12, 12, 3), np.uint8)
            Image.fromarray(pixels).save(root / label / f"{i}.png")
    (root / "dark" / "broken.png").write_bytes(b"?")
    return root


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["featx", "advise", *arguments])
    with pytest.raises(SystemExit) as stop:
        featx.cli.main()
    return int(stop.value.code or 0)


def test_advice_ends_with_the_command_to_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, str(folder), *SMALL) == 0

    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert [line.partition(":")[0] for line in lines[-2:]] == ["Advice", "Run"]
    assert f"{folder} --model lenet" in lines[-1]
    assert "broken.png" in printed.err


def test_strict_exits_3_after_printing_the_whole_result(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, str(folder), *SMALL, "--strict", "--json") == 3

    result = json.loads(capsys.readouterr().out)
    assert result["command"] == "advise"
    assert [Path(path).name for path, _ in result["failures"]] == ["broken.png"]
    assert {row["spec"] for row in result["rows"]} >= {"shuffled labels", "color"}


def test_images_without_classes_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, str(folder / "light"), *SMALL) == 1
    assert "no labels" in capsys.readouterr().err


def test_groups_are_on_one_side_of_every_split(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, str(folder), *SMALL, "--groups", r"re:(\d+).png", "--json") == 0

    result = json.loads(capsys.readouterr().out)
    assert "No group is on both sides of a split (12 groups)." in result["sentences"]
