from __future__ import annotations

import io
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from featx.data.datasets import load_dataset
from featx.errors import DatasetError


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch):
    def feed(content: bytes) -> None:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))

    return feed


@pytest.mark.parametrize("content", [b"b.jpg\n a.jpg\r\n\n", b"b.jpg\0 a.jpg\0"])
def test_names_on_standard_input_are_lines_or_end_in_nul(type_in, content: bytes) -> None:
    type_in(content)
    assert load_dataset("-").names == ["b.jpg", " a.jpg"]


def test_nul_separated_name_may_hold_a_newline(type_in) -> None:
    type_in(b"a\nb.jpg\0")
    assert load_dataset("-").names == ["a\nb.jpg"]


def test_name_on_standard_input_may_be_any_bytes(type_in) -> None:
    type_in(b"caf\xe9.jpg\n")
    dataset = load_dataset("-")
    assert dataset.names == ["caf\\xe9.jpg"]
    assert os.fsencode(dataset.images.path(0)) == b"caf\xe9.jpg"


def test_folder_on_standard_input_is_read(type_in, tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/1.jpg").touch()
    type_in(os.fsencode(tmp_path) + b"\nalone.jpg\n")
    assert load_dataset("-").labels.tolist() == ["cat", ""]


def test_empty_standard_input_is_refused(type_in) -> None:
    type_in(b"\n")
    with pytest.raises(DatasetError, match="No names on standard input; expected one path a line"):
        load_dataset("-")


def test_image_named_twice_on_standard_input_is_taken_once(type_in) -> None:
    type_in(b"a.jpg\nb.jpg\n./a.jpg\n")
    assert load_dataset("-").names == ["a.jpg", "b.jpg"]


def test_work_on_each_name_is_for_folders_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("featx.data.listings.normalize_split", asked.append)
    monkeypatch.setattr("featx.data.listings._join", None)
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "1.jpg").touch()
    (tmp_path / "2.jpg").touch()
    (tmp_path / "circle").symlink_to("circle")
    assert len(load_dataset(tmp_path)) == 2
    assert sorted(asked) == ["circle", "train"]


def test_empty_folder_beside_images_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/1.jpg").touch()
    dataset = load_dataset([tmp_path / "none", tmp_path / "cat"])
    assert len(dataset) == 1
    assert dataset.notes == [f"No picture in {tmp_path}/none: it holds no files but hidden ones."]
