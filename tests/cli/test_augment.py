from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from typer.testing import CliRunner

import featx.cli

SAMPLES = sorted(str(path) for path in Path("data/samples/photo/fish").glob("*.jpg"))
SIDE_PX = 16


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["featx", "augment", *arguments])
    with pytest.raises(SystemExit) as stop:
        featx.cli.main()
    return int(stop.value.code or 0)


def cells(file: Path, *arguments: str) -> npt.NDArray[np.uint8]:
    """The grid that the command draws of a sample, by row and column."""
    command = ["augment", SAMPLES[0], "-o", str(file), "--size", str(SIDE_PX), *arguments]
    done = CliRunner().invoke(featx.cli.app, command)
    assert done.exit_code == 0, done.output
    with Image.open(file) as image:
        pixels = np.asarray(image)
    rows = pixels.reshape(-1, SIDE_PX, pixels.shape[1] // SIDE_PX, SIDE_PX, 3)
    return rows.transpose(0, 2, 1, 3, 4)


def test_augment_draws_a_row_for_each_preset(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    grid = tmp_path / "grid.png"

    assert run(monkeypatch, SAMPLES[0], "-o", str(grid), "--size", str(SIDE_PX)) == 0

    with Image.open(grid) as image:
        assert image.size == (9 * SIDE_PX, 4 * SIDE_PX)
    assert "rows none, light, standard, strong" in capsys.readouterr().out


def test_rows_are_the_augmentations_asked_for_in_their_order(tmp_path: Path) -> None:
    arguments = ("--augment", "none,flip=1", "--augment", "none", "--n-views", "2")

    mirrored, plain = cells(tmp_path / "grid.png", *arguments)

    np.testing.assert_array_equal(plain[1:], [plain[0]] * 2)
    np.testing.assert_array_equal(mirrored[1:], [plain[0][:, ::-1]] * 2)


def test_no_flip_mirrors_no_image(tmp_path: Path) -> None:
    [row] = cells(tmp_path / "grid.png", "--augment", "none,flip=1", "--no-flip")

    np.testing.assert_array_equal(row[1:], [row[0]] * 8)


def test_a_seed_repeats_the_views_and_another_does_not(tmp_path: Path) -> None:
    first, again, other = (
        cells(tmp_path / "grid.png", "--augment", "strong", "--random-state", seed)
        for seed in ("0", "0", "1")
    )

    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_several_images_take_turns_after_the_first(tmp_path: Path) -> None:
    arguments = (SAMPLES[1], "--augment", "none", "--n-views", "3")

    [[plain, first, second, third]] = cells(tmp_path / "grid.png", *arguments)

    np.testing.assert_array_equal([first, third], [plain, plain])
    assert (second != plain).any()


def test_augment_checks_its_output_before_it_reads_an_image(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "no/such.jpg", "-o", "grid.gif") == 1
    assert "grid.gif: expected a name that ends in .png" in capsys.readouterr().err


def test_a_folder_for_the_grid_is_made(tmp_path: Path) -> None:
    assert cells(tmp_path / "new" / "grid.JPG", "--augment", "none").shape[:2] == (1, 9)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["grid.JPG"]


def test_a_grid_that_cannot_be_written_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    grid = str(tmp_path / "file" / "grid.png")

    assert run(monkeypatch, SAMPLES[0], "-o", grid, "--size", str(SIDE_PX)) == 1
    assert f"featx: Cannot write {grid}: " in capsys.readouterr().err
