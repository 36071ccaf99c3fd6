from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featx.cli import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Current folder with ``images/<class>``, two images each."""
    for name, value in {"dark": 10, "light": 240}.items():
        index = tmp_path / "images" / name
        index.mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (9, 9), (value, value, i)).save(index / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Exit code of the command line, run in this process."""
    monkeypatch.setattr(sys, "argv", ["featx", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    code = stop.value.code
    return code if isinstance(code, int) else 0


def test_features_go_to_features_npz(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "extract", "images", "-e", "mean_color") == 0
    out, err = capsys.readouterr()
    assert out == "features.npz: 4 images x 3 features (mean_color 3)\n"
    assert "mean_color: 4 images, 0 cached, 3 columns, 48 B" in err
    with np.load("features.npz", allow_pickle=False) as file:
        assert file["X"][:, 0].tolist() == [10, 10, 240, 240]
        assert file["labels"].tolist() == ["dark", "dark", "light", "light"]


def test_no_images_means_the_digits_and_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "extract", "-e", "mean_color") == 0
    out, err = capsys.readouterr()
    assert "built-in digits" in err
    assert "1,797 images" in out


def test_json_holds_the_result(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "images/dark/broken.png").write_bytes(b"?")
    assert run(monkeypatch, "extract", "images", "-e", "mean_color", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["command"] == "extract"
    assert [(row["spec"], row["n_features"]) for row in result["rows"]] == [("mean_color", 3)]
    assert result["failures"][0]["path"] == "images/dark/broken.png"


def test_layers_repeat_and_take_commas(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = ("--layer", "pool1,fc7", "--layer", "pool2")
    assert run(monkeypatch, "extract", "images", *layers, "--pooling", "gap", "--json") == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["layer"] for row in rows] == ["pool1", "fc7", "pool2"]


def test_strict_exits_3_when_an_image_failed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "images/dark/broken.png").write_bytes(b"?")
    assert run(monkeypatch, "extract", "images", "-e", "mean_color", "--strict") == 3
    assert "1 image could not be read:" in capsys.readouterr().err
    assert Path("features.npz").exists()


def test_a_dash_only_fills_the_store(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "extract", "images", "-e", "mean_color", "-o", "-") == 0
    assert not Path("features.npz").exists()
    assert run(monkeypatch, "extract", "images", "-e", "mean_color") == 0
    assert "4 cached" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("extract", "images", "-e", "hgo"), 1, "Did you mean 'hog'"),
        (("extract", "nowhere", "-e", "hog"), 1, "nowhere"),
        (("extract", "images", "-e", "hog", "-o", "f.xyz"), 1, ".xyz"),
        (("extract", "images", "--no-store", "-o", "-"), 2, "--no-store"),
        (("extract", "images", "--nonsense"), 2, "--nonsense"),
        (("extrat",), 2, "extrat"),
    ],
)
def test_mistakes_have_a_code_and_a_line(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    assert run(monkeypatch, *arguments) == code
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err
    if code == 1:
        assert [line.startswith("featx: ") for line in err.splitlines()].count(True) == 1
        assert err.splitlines()[-1].startswith("featx: ")


def test_quiet_prints_the_result_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "extract", "images", "-e", "mean_color", "-q") == 0
    assert capsys.readouterr().err == ""


def test_names_come_from_stdin(folder: Path) -> None:
    names = "images/dark/1.png\nimages/light/0.png\n"
    command = [sys.executable, "-m", "featx", "extract", "-", "-e", "mean_color", "-q"]
    subprocess.run(command, input=names, text=True, check=True, capture_output=True)
    with np.load("features.npz") as file:
        assert file["paths"].tolist() == names.split()


@pytest.fixture
def scans(folder: Path) -> Path:
    """``scans/<split>/<class>``: twelve bits in sixteen."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in ("a", "b"):
            (folder / "scans" / split / label).mkdir(parents=True)
            for i in range(2):
                values = rng.integers(0, 4096, (9, 9)).astype(np.uint16)
                Image.fromarray(values).save(folder / "scans" / split / label / f"{i}.png")
    return folder


@pytest.mark.filterwarnings("always::featx.errors.ValueRangeWarning")
def test_a_range_that_nobody_said_is_one_line_for_all_images(
    scans: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "extract", "scans", "-e", "mean_color", "-e", "color", "-q") == 0
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("note: scans/")
    assert "--value-range=0,4095" in line


@pytest.mark.parametrize(
    ("options", "low", "high"),
    [
        (["--value-range", "0,4095"], 100, 155),
        (["--value-range=-4096,4096"], 170, 215),
        (["--window", "2048,1000"], 90, 165),
        (["--value-range", "dtype"], 5, 10),
    ],
)
def test_options_say_what_is_black_and_white(
    scans: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], low: float, high: float
) -> None:
    assert run(monkeypatch, "extract", "scans", "-e", "mean_color", "-q", *options) == 0
    with np.load("features.npz", allow_pickle=False) as file:
        assert low < file["X"].min() <= file["X"].max() < high


def test_percentiles_are_measured_on_train_and_printed(
    scans: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "extract", "scans", "-e", "color", "--value-range", "p1,p99") == 0
    assert "value range p1,p99 of 4 images of the train split: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["--value-range", "5"], ["--window", "x"], ["--bands", "0"], ["--pages", "last"]]
)
def test_a_reading_that_means_nothing_is_one_line(
    scans: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
) -> None:
    assert run(monkeypatch, "extract", "scans", "-e", "color", *options) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "expected" in line or "must be" in line or "LEVEL,WIDTH" in line


def test_a_part_fills_only_the_store(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = []
    for part in ("1/2", "2/2"):
        assert run(monkeypatch, "extract", "images", "-e", "mean_color", "--part", part) == 0
        counts.append(int(capsys.readouterr().out.split()[0]))
    assert sum(counts) == 4
    assert not Path("features.npz").exists()


def test_tar_of_class_folders_is_extracted_and_shares_rows_with_its_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with tarfile.open("images.tar", "w") as tar:
        tar.add("images")
    store = ("--store", str(folder / "store"))
    assert run(monkeypatch, "extract", "images.tar", "-e", "mean_color", *store) == 0
    assert "images.tar: 2 classes (dark, light), 4 images" in capsys.readouterr().err
    with np.load("features.npz", allow_pickle=False) as file:
        assert file["paths"][0] == "images.tar/images/dark/0.png"
        assert file["labels"].tolist() == ["dark", "dark", "light", "light"]
    arguments = ("extract", "images", "-e", "mean_color", *store, "-o", "folder.npz")
    assert run(monkeypatch, *arguments) == 0
    assert "4 images, 4 cached" in capsys.readouterr().err


def test_broken_member_of_a_tar_is_a_failure(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "images/dark/broken.png").write_bytes(b"?")
    with tarfile.open("images.tar", "w") as tar:
        tar.add("images")
    assert run(monkeypatch, "extract", "images.tar", "-e", "mean_color", "--strict") == 3
    assert "images.tar/images/dark/broken.png" in capsys.readouterr().err
