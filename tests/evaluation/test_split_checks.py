"""What is said of splits: who takes no part and why, and what is on both sides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from featx import load_dataset
from featx.data.datasets import ImageDataset
from featx.errors import DatasetError, ImageError
from featx.evaluation.protocols import Indices, find_protocol
from featx.evaluation.split_checks import describe_splits, find_copies, split_readable

NONE: Indices = np.empty(0, np.intp)


def dataset_of(labels: list[str], **columns: Any) -> ImageDataset:
    arrays = {name: np.array(column) for name, column in columns.items()}
    digits = load_dataset("digits").take(range(len(labels)))
    return replace(digits, labels=np.array(labels), **arrays)


def said_of(labels: list[str], protocol: str | None = None, **columns: Any) -> list[str]:
    dataset = dataset_of(labels, **columns)
    rules = find_protocol(protocol, dataset.splits, dataset.labels)
    return describe_splits(dataset, rules, split_readable(rules, dataset, ()), NONE)


def test_nothing_is_said_of_splits_that_take_every_image() -> None:
    assert said_of(["a", "b"] * 6) == []


def test_unlabeled_test_images_are_told_with_how_accuracy_is_taken() -> None:
    labels, splits = ["a", "b"] * 6 + ["", ""], ["train"] * 12 + ["test"] * 2

    (note,) = said_of(labels, splits=splits)

    assert (
        note == "No class is known of 2 images in test: accuracy is cross-validated on the others."
    )
    assert "random splits" in said_of(labels, "random", splits=splits)[0]


def test_images_without_a_class_or_outside_of_the_folders_are_counted() -> None:
    labels = ["a", "b", "a", "b", "c", ""]
    splits = ["train", "train", "test", "test", "", "train"]

    assert said_of(labels, splits=splits) == [
        "Excluded: 1 image without a class.",
        "Excluded: 1 image outside of train, val and test.",
    ]


def test_class_of_one_image_is_told() -> None:
    (note,) = said_of(["a", "b"] * 6 + ["c", "d"])

    assert note == "Classes with one image, which cannot be both learned and tested: c, d."


def test_classes_that_are_not_tested_are_told_with_the_reason() -> None:
    labels = ["a", "b", "c", "c", "a", "b", "d", "d"]
    splits = ["train"] * 4 + ["test"] * 4

    assert said_of(labels, splits=splits) == [
        "Classes without test images: c.",
        "Classes without training images, whose test images take no part: d.",
    ]


def test_class_of_one_group_is_told() -> None:
    labels = ["a", "b"] * 6 + ["c", "c"]
    groups = [f"p{i}" for i in range(12)] + ["q", "q"]

    assert said_of(labels, groups=groups) == [
        "Classes of one group, which cannot be both learned and tested: c.",
        "No group is on both sides of a split (13 groups).",
    ]


def test_copies_are_test_images_of_the_same_split_each_once() -> None:
    first, second = (np.array([0, 1]), np.array([2, 3])), (np.array([2, 3]), np.array([0, 1]))
    digests = ["x", "y", "x", "z", "y"]

    assert find_copies([first], digests).tolist() == [2]
    assert find_copies([first, second, first], digests).tolist() == [0, 2]


def test_images_that_cannot_be_read_are_no_copies_of_each_other() -> None:
    broken = ImageError("a.png", "broken")

    assert not len(find_copies([(np.array([0]), np.array([1]))], [broken, broken]))


def test_copies_are_told_before_all_else() -> None:
    dataset, rules = dataset_of(["a", "b"] * 6 + ["c"]), find_protocol("cv")
    folds = split_readable(rules, dataset, ())

    said = describe_splits(dataset, rules, folds, np.array([3, 4]))

    assert said[0].startswith("Beware: 2 of 12 test images are also among the training images")


def test_error_says_how_many_images_cannot_be_read() -> None:
    with pytest.raises(DatasetError, match=r"of cat, .* 3 of 7 images cannot .* x\.png: broken"):
        split_readable(
            find_protocol("holdout"),
            dataset_of(["cat"] * 2 + ["dog"] * 2, splits=["train", "train", "test", "test"]),
            [("x.png", "broken")] * 3,
        )
