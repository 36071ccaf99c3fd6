from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat

from featx.errors import FeatureFileError
from featx.features.feature_set import FeatureSet


def test_matrix_and_cells_are_what_matlab_expects(tmp_path: Path) -> None:
    X = np.arange(6, dtype=np.float32).reshape(3, 2)
    FeatureSet(X, ["a", "ü", "c"], labels=["x", "", "y"]).save(tmp_path / "f.mat")
    held = loadmat(tmp_path / "f.mat")
    np.testing.assert_array_equal(held["X"], X)
    assert [cell.item() for cell in held["paths"][:, 0]] == ["a", "ü", "c"]
    assert held["labels"][1, 0].size == 0


def test_more_than_two_gigabytes_are_refused(tmp_path: Path) -> None:
    X = np.broadcast_to(np.float32(0), (600_000, 1000))
    with pytest.raises(FeatureFileError, match=r"cannot hold 2.4 GB, .* 2 GB; write .h5"):
        FeatureSet(X, ["a"] * len(X)).save(tmp_path / "f.mat")
