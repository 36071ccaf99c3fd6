from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from featx.errors import FeatureFileError
from featx.features.feature_set import FeatureSet
from featx.features.formats.matlab import read_mat_meta


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


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", "i2"])
@pytest.mark.parametrize("shape", [(3, 2), (1, 1), (0, 4), (1, 3)])
def test_files_that_matlab_has_saved_anew_are_read(
    tmp_path: Path, shape: tuple[int, int], dtype: str, is_compressed: bool
) -> None:
    path, n_rows = tmp_path / "f.mat", shape[0]
    X = np.arange(n_rows * shape[1]).reshape(shape)
    FeatureSet(X.astype(np.float32), ["ü"] * n_rows, labels=["x"] * n_rows).save(path)
    held = {name: it for name, it in loadmat(path).items() if not name.startswith("_")}
    others = {"a": {"X": 1}, "b": "text", "c": np.ones((2, 2), complex)}
    savemat(path, {**others, **held, "X": X.astype(dtype)}, do_compression=is_compressed)
    loaded = FeatureSet.load(path)
    np.testing.assert_array_equal(loaded.X, X)
    assert list(loaded.paths) == ["ü"] * n_rows
    assert read_mat_meta(path)["shape"] == list(shape)


@pytest.mark.parametrize("value", [0x00, 0x7F, 0xFF])
def test_no_changed_byte_does_more_than_to_be_refused(tmp_path: Path, value: int) -> None:
    FeatureSet(np.ones((2, 3), np.float32), ["a", "b"]).save(tmp_path / "f.mat")
    content = (tmp_path / "f.mat").read_bytes()
    n_refused = 0
    for i in range(128, len(content)):
        (tmp_path / "g.mat").write_bytes(content[:i] + bytes([value]) + content[i + 1 :])
        try:
            assert FeatureSet.load(tmp_path / "g.mat").X.shape == (2, 3)
        except FeatureFileError:
            n_refused += 1
    assert n_refused > 50


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0", bytes(1000)])
def test_other_files_are_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f.mat").write_bytes(content)
    with pytest.raises(FeatureFileError, match="is damaged or was not written by featx"):
        FeatureSet.load(tmp_path / "f.mat")
