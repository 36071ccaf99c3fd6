from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from featx.data.datasets import load_dataset
from featx.errors import FeatureFileError
from featx.features.feature_set import FeatureSet
from featx.features.formats.array_folder import read_folder, read_folder_meta, write_folder
from featx.features.formats.content import Content

X = np.arange(9, dtype=np.float32).reshape(3, 3)
COLUMNS = {"path": ["a.jpg", "b.jpg", "c.jpg"], "label": ["x", "y", "x"]}


def content(X: np.ndarray = X) -> Content:
    columns = {name: values[: len(X)] for name, values in COLUMNS.items()}
    return Content(X, columns, {"hog": (0, 2), "fc": (2, 3)}, provenance={"by": "test"})


def test_each_file_is_read_by_its_own_package(tmp_path: Path) -> None:
    write_folder(content(), tmp_path / "f")

    np.testing.assert_array_equal(np.load(tmp_path / "f/features.npy"), X)
    assert parquet.read_table(tmp_path / "f/manifest.parquet").to_pydict() == COLUMNS
    meta = json.loads((tmp_path / "f/meta.json").read_text("utf-8"))
    assert meta["blocks"] == {"hog": [0, 2], "fc": [2, 3]}


def test_matrix_is_mapped_and_cannot_be_changed_through_it(tmp_path: Path) -> None:
    write_folder(content(), tmp_path / "f")

    read = read_folder(tmp_path / "f")

    assert isinstance(read.X, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        read.X[0] = 0
    assert read.blocks == content().blocks


def test_meta_is_read_without_the_matrix(tmp_path: Path) -> None:
    write_folder(content(), tmp_path)
    (tmp_path / "features.npy").unlink()
    (tmp_path / "manifest.parquet").unlink()

    assert read_folder_meta(tmp_path)["shape"] == [3, 3]
    assert read_folder_meta(tmp_path)["provenance"] == {"by": "test"}


def test_matrix_of_another_writing_is_noticed(tmp_path: Path) -> None:
    write_folder(content(), tmp_path / "f")
    write_folder(content(X[:2]), tmp_path / "other")
    shutil.copy(tmp_path / "other/features.npy", tmp_path / "f/features.npy")

    with pytest.raises(FeatureFileError, match=r"features.npy and .*manifest.parquet were not wr"):
        read_folder(tmp_path / "f")


@pytest.mark.parametrize("wrong", [X.astype(np.float64), X.ravel()], ids=["type", "shape"])
def test_matrix_that_is_none_of_ours_is_refused(tmp_path: Path, wrong: np.ndarray) -> None:
    write_folder(content(), tmp_path)
    np.save(tmp_path / "features.npy", wrong)

    with pytest.raises(ValueError, match=rf"a float32 matrix, got {wrong.dtype} of shape"):
        read_folder(tmp_path)


def test_failure_while_writing_leaves_the_old_folder_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(content(), tmp_path)

    def fail(*_: object) -> None:
        raise OSError("disk is gone")

    monkeypatch.setattr("featx.features.formats.array_folder.write_columns", fail)
    with pytest.raises(OSError, match="disk is gone"):
        write_folder(content(X[:2]), tmp_path)

    np.testing.assert_array_equal(read_folder(tmp_path).X, X)
    assert len(list(tmp_path.iterdir())) == 3


def test_manifest_of_a_folder_is_one_for_load_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f").mkdir()
    (tmp_path / "f/a.jpg").touch()
    FeatureSet(X, COLUMNS["path"], labels=COLUMNS["label"]).save(tmp_path / "f", force=True)
    assert load_dataset("f/manifest.parquet").labels.tolist() == ["x", "y", "x"]
