from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from featx.data.image_dataset import (
    drop_repeated,
    identify_file,
    join_datasets,
    make_dataset,
    name_of,
)


def test_columns_of_joined_data_are_empty_where_one_has_none() -> None:
    labeled = make_dataset(["a.jpg"], labels=np.array(["cat"]))
    bare = make_dataset(["b.jpg"], ignored=Counter({".txt": 2}))
    joined = join_datasets([labeled, bare, replace(bare, remarks=["x"])])
    assert joined.labels.tolist() == ["cat", ""]
    assert joined.splits is None
    assert (joined.n_ignored, joined.remarks) == (4, ["x"])


def test_file_is_the_same_under_all_spellings(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far/1.jpg").touch()
    (tmp_path / "near").symlink_to("far")
    (tmp_path / "link.jpg").symlink_to("far/1.jpg")
    spellings = ["far/1.jpg", "far/../far/1.jpg", "near/1.jpg", "link.jpg"]
    seen: dict[str, str] = {}
    assert {identify_file(f"{tmp_path}/{it}", seen) for it in spellings} == {
        os.path.realpath(tmp_path / "far/1.jpg")
    }


def test_first_of_repeated_images_stays() -> None:
    dataset = make_dataset(["b.jpg", "a.jpg", "./b.jpg"], labels=np.array(["x", "y", "z"]))
    assert drop_repeated(dataset).labels.tolist() == ["x", "y"]


def test_images_in_memory_are_known_by_their_names() -> None:
    pixels = np.zeros((2, 4, 4), np.uint8)
    one = make_dataset(pixels, ["0", "1"])
    assert join_datasets([one, one]).names == ["0", "1"]


def test_names_are_valid_unicode() -> None:
    assert name_of(os.fsdecode(b"caf\xe9.jpg")) == "caf\\xe9.jpg"
