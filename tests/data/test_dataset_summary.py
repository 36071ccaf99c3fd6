from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from featx.data.dataset_summary import describe_dataset, describe_files
from featx.data.image_dataset import ImageDataset
from featx.data.images import Images


def dataset(labels: list[str] | None, splits: list[str] | None = None, n: int = 4) -> ImageDataset:
    names = list(map(str, range(n)))
    columns = {"labels": labels, "splits": splits}
    arrays = {key: np.array(it) for key, it in columns.items() if it is not None}
    return ImageDataset(Images([b""] * n, names=names), names, **arrays)


@pytest.mark.parametrize(
    ("labels", "splits", "text"),
    [
        (None, None, "no classes, 4 images"),
        (["a", "b", "b", "b"], None, "2 classes (a, b), 4 images"),
        (["a", "", "b", ""], None, "2 classes (a, b), 4 images (2 unlabelled)"),
        (
            ["a", "b", "", ""],
            ["train", "train", "test", "test"],
            "2 classes (a, b), train 2, test 2 (unlabelled)",
        ),
        (
            ["a", "b", "a", ""],
            ["train", "train", "val", ""],
            "2 classes (a, b), train 2, val 1, 1 outside the splits (unlabelled)",
        ),
        (list("abcd"), None, "4 classes (a, b, c, d), 4 images"),
        (["a"] * 3 + ["x" * 99], None, f"2 classes (a, {'x' * 29}…), 4 images"),
    ],
)
def test_classes_and_images_of_each_split_are_counted(
    labels: list[str] | None, splits: list[str] | None, text: str
) -> None:
    assert describe_dataset(dataset(labels, splits)) == text


def test_many_classes_are_cut_off() -> None:
    text = describe_dataset(dataset(list("abcdefg"), n=7))
    assert text == "7 classes (a, b, c, d, e, …), 7 images"


def test_domains_groups_files_left_out_and_remarks_follow() -> None:
    known = {"domains": np.array(["x", "y", "x", ""]), "groups": np.array(["p", "p", "", ""])}
    left_out = Counter({".avif": 3, "": 7})
    whole = replace(dataset(None), **known, left_out=left_out, remarks=["folders not read: t"])
    assert describe_dataset(whole) == (
        "no classes, 4 images, 2 domains (x, y), 1 group, 10 files left out: 7 unknown, 3 .avif; "
        "folders not read: t"
    )


def test_rare_suffixes_are_counted_together() -> None:
    kinds = Counter({f".{i}": 10 - i for i in range(6)})
    assert describe_files(kinds) == "45 files left out: 10 .0, 9 .1, 8 .2, 7 .3, 11 others"
