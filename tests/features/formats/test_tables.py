from __future__ import annotations

import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from featx.errors import FeatureFileError
from featx.features.feature_set import FeatureSet

X = np.arange(9, dtype=np.float32).reshape(3, 3)
BLOCKS = {"hog": (0, 2), "cnn:timm/x:fc": (2, 3)}


def features() -> FeatureSet:
    return FeatureSet(X, ["a.jpg", "b.jpg", "c.jpg"], labels=["x", "y", "x"], blocks=BLOCKS)


def test_parquet_has_one_column_of_fixed_size_lists_a_block(tmp_path: Path) -> None:
    features().save(tmp_path / "f.parquet")
    table = parquet.read_table(tmp_path / "f.parquet")
    assert table.column_names == ["path", "label", "hog", "cnn:timm/x:fc"]
    assert table.schema.field("hog").type == pa.list_(pa.float32(), 2)
    assert table.column("hog").to_pylist() == X[:, :2].tolist()


def test_hdf5_has_one_data_set_a_block(tmp_path: Path) -> None:
    features().save(tmp_path / "f.h5")
    with h5py.File(tmp_path / "f.h5") as file:
        np.testing.assert_array_equal(file["blocks/hog"], X[:, :2])
        assert len(file["blocks"]) == 2
        assert file["labels"].asstr()[:].tolist() == ["x", "y", "x"]


def test_csv_is_read_by_pandas(tmp_path: Path) -> None:
    features().save(tmp_path / "f.csv")
    table = pd.read_csv(tmp_path / "f.csv")
    assert list(table) == ["path", "label", "hog_0", "hog_1", "cnn:timm/x:fc_0"]
    np.testing.assert_array_equal(table.iloc[:, 2:], X)


def test_csv_gives_back_every_bit(tmp_path: Path) -> None:
    bits = np.random.default_rng(0).integers(0, 2**31, (500, 3), np.uint32)
    values = np.nan_to_num(bits.view(np.float32))
    FeatureSet(values, list(map(str, range(500)))).save(tmp_path / "f.csv")
    assert FeatureSet.load(tmp_path / "f.csv").X.tobytes() == values.tobytes()


def test_csv_refuses_more_columns_than_it_can_hold(tmp_path: Path) -> None:
    wide = FeatureSet(np.zeros((1, 10_001), np.float32), ["a"])
    with pytest.raises(FeatureFileError, match=r"10,001 features, .* 10,000; write .npz or"):
        wide.save(tmp_path / "f.csv")
    assert not list(tmp_path.iterdir())


def test_csv_whose_meta_makes_up_columns_is_refused_before_they_are_named(tmp_path: Path) -> None:
    features().save(tmp_path / "f.csv")
    meta = tmp_path / "f.csv.json"
    meta.write_text(meta.read_text().replace("[2, 3]", f"[2, {2**62}]"))
    with pytest.raises(FeatureFileError, match="CSV takes at most"):
        FeatureSet.load(tmp_path / "f.csv")


def test_hdf5_without_its_package_names_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(FeatureFileError, match=r"run `pip install featx\[h5\]`"):
        features().save(tmp_path / "f.h5")


def test_texts_in_hdf5_have_one_length_as_a_damaged_heap_hangs_its_library(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    paths = ["a.png", "œuvre/ü.png", ""]
    FeatureSet(np.ones((3, 2), np.float32), paths).save(tmp_path / "f.h5")

    with h5py.File(tmp_path / "f.h5") as file:
        for name in ("meta", "paths"):
            assert h5py.check_string_dtype(file[name].dtype).length is not None
    assert FeatureSet.load(tmp_path / "f.h5").paths.tolist() == paths
