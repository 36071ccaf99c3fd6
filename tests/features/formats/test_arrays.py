from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from featx.errors import FeatureFileError
from featx.features.feature_set import FeatureSet

X = np.arange(6, dtype=np.float32).reshape(3, 2)


def features() -> FeatureSet:
    return FeatureSet(X, ["a", "b", "c"], labels=["x", "y", "x"], provenance={"by": "test"})


def test_npz_is_read_by_plain_numpy_without_pickle(tmp_path: Path) -> None:
    features().save(tmp_path / "f.npz")
    with np.load(tmp_path / "f.npz", allow_pickle=False) as held:
        assert sorted(held.files) == ["X", "labels", "meta", "paths"]
        np.testing.assert_array_equal(held["X"], X)
        assert held["labels"].tolist() == ["x", "y", "x"]
        assert json.loads(str(held["meta"]))["provenance"] == {"by": "test"}


def test_npy_holds_the_matrix_alone(tmp_path: Path) -> None:
    features().save(tmp_path / "f.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "f.npy"), X)
    held = json.loads((tmp_path / "f.npy.json").read_text("utf-8"))
    assert held["columns"] == {"path": ["a", "b", "c"], "label": ["x", "y", "x"]}


def test_safetensors_is_read_by_its_own_package(tmp_path: Path) -> None:
    features().save(tmp_path / "f.safetensors")
    held = load_file(tmp_path / "f.safetensors")
    np.testing.assert_array_equal(held["X"], X)
    assert json.loads(held["columns"].tobytes())["path"] == ["a", "b", "c"]


def test_npz_that_holds_pickles_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", X=X, meta=np.array([object()]))
    with pytest.raises(FeatureFileError, match="allow_pickle"):
        FeatureSet.load(tmp_path / "f.npz")
