from __future__ import annotations

import unicodedata

import numpy as np
import pytest

from featx.evaluation.class_balance import count_classes, find_class_problems


def problems(labels: list[str], splits: list[str] | None = None) -> list[tuple[str, str]]:
    columns = np.array(labels), None if splits is None else np.array(splits)
    return [(it.label, it.problem) for it in find_class_problems(*columns)]


def test_unlabeled_images_are_of_no_class() -> None:
    assert count_classes(np.array(["a", "", "b", "a"])) == {"a": 2, "b": 1}


def test_classes_with_fewer_images_than_folds_are_small() -> None:
    assert problems(["a"] * 5 + ["b"] * 4) == [("b", "small class")]


@pytest.mark.parametrize("other", ["CAFÉ", "café ", unicodedata.normalize("NFD", "café")])
def test_names_that_a_reader_takes_for_one_are_told(other: str) -> None:
    assert problems(["café"] * 9 + [other] * 5) == [(other, "class name")]


def test_classes_that_are_tested_alone_are_told_where_there_is_a_training_folder() -> None:
    labels = ["a"] * 10 + ["b"] * 5
    splits = ["train"] * 5 + ["test"] * 10

    assert problems(labels, splits) == [("b", "untrained class")]
    assert problems(labels, ["val"] * 15) == []
