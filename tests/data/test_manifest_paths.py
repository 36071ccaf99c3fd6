from __future__ import annotations

from pathlib import Path

import pytest

from featx.data.manifest_paths import resolve_paths, suggest_location


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder of a manifest, beside one of images, with the user in the folder above both."""
    for name in ("m/cat/1.jpg", "m/cat/2.png", "m/dog/2.jpg", "far/my cat.jpg", "b/x.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return "m"


@pytest.mark.parametrize(
    ("names", "paths"),
    [
        (["cat/1.jpg", "cat/9.jpg"], ["m/cat/1.jpg", "m/cat/9.jpg"]),
        (["cat\\1.jpg"], ["m/cat/1.jpg"]),
        (["b/x.jpg"], ["b/x.jpg"]),
        (["cat/1", "1"], ["m/cat/1.jpg", "m/cat/1.jpg"]),
        (["dog/2", "2", "9"], ["m/dog/2.jpg", "m/2", "m/9"]),
        (["nowhere.jpg"], ["m/nowhere.jpg"]),
        (["/data/upload/7/1.jpg"], ["m/1.jpg"]),
        (["/data/local-files/?d=cat/1.jpg"], ["m/cat/1.jpg"]),
        ([], []),
    ],
)
def test_path_means_the_file_that_is_there(folder: str, names: list[str], paths: list[str]) -> None:
    assert resolve_paths(folder, names) == paths


def test_home_and_file_addresses_are_absolute(folder: str, tmp_path: Path) -> None:
    address = (tmp_path / "far/my cat.jpg").as_uri()
    path = f"{tmp_path}/far/my cat.jpg"
    assert resolve_paths(folder, ["~/far/my cat.jpg", address]) == [path, path]


def test_backslash_in_a_name_that_is_there_stays(folder: str) -> None:
    Path("m/a\\b.jpg").touch()
    assert resolve_paths(folder, ["a\\b.jpg"]) == ["m/a\\b.jpg"]


def test_hint_names_a_file_that_is_elsewhere_in_the_folder(folder: str) -> None:
    assert (
        suggest_location(folder, "m/1.jpg")
        == " There is cat/1.jpg: write paths like this, or move the manifest."
    )
    assert suggest_location(folder, "m/x.jpg").startswith(" There is ../b/x.jpg: ")
    assert suggest_location(folder, "m/nowhere.jpg") == ""
