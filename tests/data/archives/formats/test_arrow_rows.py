from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import datasets
import pyarrow as pa
import pytest

from featx.data.datasets import load_dataset
from featx.errors import DatasetError

IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def _write(folder: Path, contents: list[bytes | None], *, compression: str | None = None) -> Path:
    """A folder as `datasets` saves one, in batches of two rows."""
    folder.mkdir(parents=True)
    images = [{"bytes": it, "path": None} for it in contents]
    table = pa.table(
        {"image": pa.array(images, IMAGE), "label": [i % 2 for i in range(len(images))]}
    )
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with (
        pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as file,
        pa.ipc.new_stream(file, table.schema, options=options) as writer,
    ):
        writer.write_table(table, max_chunksize=2)
    state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}
    (folder / "state.json").write_text(json.dumps(state))
    return folder


def test_rows_are_read_by_offset(tmp_path: Path, image) -> None:
    contents = [image(i) for i in range(5)]
    dataset = load_dataset(_write(tmp_path / "saved", contents))
    assert [it.read(9999) for it in dataset.images] == contents
    assert dataset.labels.tolist() == ["0", "1", "0", "1", "0"]
    assert dataset.names[4] == f"{tmp_path}/saved/data-00000-of-00001.arrow/4"


def test_folder_of_splits_is_read_with_its_splits(tmp_path: Path, image) -> None:
    for split in ("train", "test"):
        _write(tmp_path / "saved" / split, [image(1)])
    (tmp_path / "saved/dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert load_dataset(tmp_path / "saved").splits.tolist() == ["train", "test"]


def test_folder_that_datasets_saves_is_read(tmp_path: Path, image) -> None:
    columns = {"image": [image(i) for i in range(3)], "label": [1, 0, 1]}
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["ant", "bee"])}
    saved = datasets.Dataset.from_dict(columns, datasets.Features(features))
    saved.save_to_disk(tmp_path / "saved")
    saved.to_parquet(tmp_path / "saved.parquet")
    for name in ("saved", "saved.parquet"):
        dataset = load_dataset(tmp_path / name)
        assert dataset.labels.tolist() == ["bee", "ant", "bee"]
        assert [it.read(9999) for it in dataset.images] == [image(i) for i in range(3)]


def test_names_that_lead_out_of_the_folder_are_passed_over(tmp_path: Path, image) -> None:
    _write(tmp_path / "secret", [image(1)])
    folder = _write(tmp_path / "saved", [image(2)])
    name = "../secret/data-00000-of-00001.arrow"
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    with pytest.raises(DatasetError, match="No image in"):
        load_dataset(folder)


def test_compressed_batches_are_refused(tmp_path: Path, image) -> None:
    folder = _write(tmp_path / "saved", [image(1) * 9] * 2, compression="zstd")
    with pytest.raises(DatasetError, match="holds compressed batches"):
        load_dataset(folder)


def test_arrow_file_cut_short_is_one_line(tmp_path: Path, image) -> None:
    folder = _write(tmp_path / "saved", [image(1)] * 9)
    os.truncate(folder / "data-00000-of-00001.arrow", 1000)
    with pytest.raises(DatasetError, match="is not an arrow file, or is truncated"):
        load_dataset(folder)


def test_offsets_that_lead_out_of_the_file_do_not_end_the_process(tmp_path: Path, image) -> None:
    folder = _write(tmp_path / "saved", [image(1), image(2)])
    path = folder / "data-00000-of-00001.arrow"
    offsets = struct.pack("<3i", 0, len(image(1)), len(image(1) + image(2)))
    content = path.read_bytes()
    assert content.count(offsets) == 1
    path.write_bytes(content.replace(offsets, struct.pack("<3i", 0, -(2**30), 2**30)))
    with pytest.raises(DatasetError, match="is not an arrow file, or is truncated"):
        load_dataset(folder)


def test_row_without_bytes_fails_alone(tmp_path: Path, image) -> None:
    dataset = load_dataset(_write(tmp_path / "saved", [image(1), None, image(3)]))
    assert [name.rpartition("/")[2] for name in dataset.names] == ["0", "2", "1"]
