from pathlib import Path

import pytest

from featx.data.manifest_columns import PathResolver, is_known_column


def test_manifests_folder_comes_before_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sets").mkdir()
    monkeypatch.chdir(tmp_path)
    for file in ("a.jpg", "sets/a.jpg", "b.jpg"):
        (tmp_path / file).touch()
    resolver = PathResolver("sets/m.csv")
    assert resolver.resolve("a.jpg") == "sets/a.jpg"
    assert resolver.resolve("b.jpg") == "b.jpg"
    assert resolver.resolve("c.jpg") == "sets/c.jpg"


def test_home_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.jpg").touch()
    assert PathResolver("m.csv").resolve("~/a.jpg") == str(tmp_path / "a.jpg")


def test_name_without_suffix_is_that_of_an_image(tmp_path: Path) -> None:
    for file in ("1.txt", "1.png", "dr.smith.jpg"):
        (tmp_path / file).touch()
    resolver = PathResolver(str(tmp_path / "m.csv"))
    assert resolver.resolve("1") == str(tmp_path / "1.png")
    assert resolver.resolve("dr.smith") == str(tmp_path / "dr.smith.jpg")


def test_file_whose_name_has_a_backslash_is_itself(tmp_path: Path) -> None:
    (tmp_path / "a\\b.jpg").touch()
    found = PathResolver(str(tmp_path / "m.csv")).resolve("a\\b.jpg")
    assert found == str(tmp_path / "a\\b.jpg")


@pytest.mark.parametrize("name", ["Path", "file-name", " image_id ", "Species"])
def test_columns_are_known_however_they_are_written(name: str) -> None:
    assert is_known_column(name)
