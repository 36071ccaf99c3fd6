"""Photographs from the net: those that are known, or none."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from featx import load_dataset
from featx.data import samples as photographs
from featx.errors import DatasetError


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photographs, "user_cache_path", lambda _: tmp_path / "cache")


def archive_of(folder: Path, file: Path) -> str:
    """Address of an archive of a folder's files, packed as the published one is."""
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(path, Path("hymenoptera_data") / path.relative_to(folder))
    return file.as_uri()


@pytest.mark.slow
def test_published_photographs_are_taken(shared: Callable[[str], Path], tmp_path: Path) -> None:
    url = archive_of(shared("data/ants_bees"), tmp_path / "all.zip")

    folder = photographs.fetch_photographs(url)

    assert len(load_dataset(folder)) == 398
    shutil.rmtree(tmp_path / "all.zip", ignore_errors=True)
    assert photographs.fetch_photographs("file:///nowhere") == folder


def test_other_photographs_are_refused(tmp_path: Path) -> None:
    url = archive_of(Path("data/samples/photo/fish"), tmp_path / "other.zip")

    with pytest.raises(DatasetError, match="expected photographs with digest"):
        photographs.fetch_photographs(url)
    assert not (tmp_path / "cache/ants_bees").exists()


def test_missing_network_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="name a folder of your own"):
        photographs.fetch_photographs((tmp_path / "none.zip").as_uri())


def test_damaged_archive_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(b"no archive")

    with pytest.raises(DatasetError, match="cannot be downloaded"):
        photographs.fetch_photographs((tmp_path / "bad.zip").as_uri())
