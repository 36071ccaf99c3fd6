from __future__ import annotations

import os
import pickle
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from featx.data.archives.archive_files import open_local
from featx.data.archives.formats import parquet_rows
from featx.data.archives.formats.parquet_rows import FORMAT
from featx.data.datasets import load_dataset
from featx.errors import DatasetError


def _write(path: Path, contents: list[bytes | None], **columns) -> Path:
    images = [{"bytes": it, "path": f"{i}.png"} for i, it in enumerate(contents)]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = pa.table({"image": pa.array(images, kind), **columns})
    parquet.write_table(table, path, row_group_size=2)
    return path


def test_rows_are_images_named_by_their_paths(tmp_path: Path, image) -> None:
    path = _write(tmp_path / "a.parquet", [image(i) for i in range(5)], label=list("aabba"))
    dataset = load_dataset(path)
    assert dataset.names[4] == f"{path}/4.png"
    assert dataset.labels.tolist() == list("aabba")
    assert [dataset.images[i].read(9999) for i in range(5)] == [image(i) for i in range(5)]


def test_column_of_plain_bytes_is_read(tmp_path: Path, image) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"image": [image(3)], "label": [7]}), path)
    dataset = load_dataset(path)
    assert (dataset.names, dataset.labels.tolist()) == ([f"{path}/0"], ["7"])
    assert dataset.images[0].read(9999) == image(3)


def test_parquet_of_paths_is_still_a_manifest(tmp_path: Path, image) -> None:
    (tmp_path / "1.png").write_bytes(image(1))
    parquet.write_table(pa.table({"path": ["1.png"], "label": ["a"]}), tmp_path / "a.parquet")
    assert load_dataset(tmp_path / "a.parquet").names == [str(tmp_path / "1.png")]


def test_row_pickles_for_other_processes(tmp_path: Path, image) -> None:
    images = load_dataset(_write(tmp_path / "a.parquet", [image(1), image(2)])).images
    assert pickle.loads(pickle.dumps(images[1])).read(9999) == image(2)


def test_shards_called_as_splits_are_splits(tmp_path: Path, image) -> None:
    for split in ("train", "test"):
        _write(tmp_path / f"{split}-00000-of-00001.parquet", [image(1)])
    dataset = load_dataset(str(tmp_path / "*.parquet"))
    assert dataset.splits.tolist() == ["test", "train"]


def test_missing_bytes_fail_alone(tmp_path: Path, image) -> None:
    images = load_dataset(_write(tmp_path / "a.parquet", [image(1), None])).images
    assert images.digest(0)
    with pytest.raises(ValueError, match="the table has no bytes of it"):
        images.digest(1)


def test_parquet_cut_short_is_one_line(tmp_path: Path, image) -> None:
    path = _write(tmp_path / "a.parquet", [image(1)])
    _write(tmp_path / "b.parquet", [image(2)])
    os.truncate(path, 300)
    dataset = load_dataset(str(tmp_path / "{a,b}.parquet"))
    assert dataset.names == [f"{tmp_path}/b.parquet/0.png", str(path)]
    os.remove(tmp_path / "b.parquet")
    with pytest.raises(DatasetError, match="is no parquet file, or is damaged"):
        load_dataset(str(tmp_path / "{a,b}.parquet"))


def test_group_of_rows_that_is_too_large_is_refused(
    tmp_path: Path, image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_rows, "_MAX_GROUP_BYTES", 10)
    entry = FORMAT.read(open_local(str(_write(tmp_path / "a.parquet", [image(1)])))).entries[0]
    with pytest.raises(ValueError, match="expected at most 10"):
        entry.blob.read(9999)


def test_pickle_in_an_extension_type_is_not_run(tmp_path: Path, image) -> None:
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "run"),)

    metadata = {
        "ARROW:extension:name": "arrow.py_extension_type",
        "ARROW:extension:metadata": pickle.dumps(Evil(), 0),
    }
    field = pa.field("image", pa.binary(), metadata=metadata)
    table = pa.table([pa.array([image(1)], pa.binary())], pa.schema([field]))
    parquet.write_table(table, tmp_path / "a.parquet")
    assert load_dataset(tmp_path / "a.parquet").images.digest(0)
    assert not (tmp_path / "run").exists()
