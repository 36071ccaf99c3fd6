"""Protocols: who is trained on, who is tested, always apart."""

from __future__ import annotations

import numpy as np
import pytest

from featx.errors import DatasetError, SpecError
from featx.evaluation.protocols import _PROTOCOLS, Protocol, find_protocol

LABELS = np.array(["a"] * 40 + ["b"] * 43 + ["c"] * 50)
FOLDERS = np.array((["train", "val", "test"] * 45)[:133])


@pytest.mark.parametrize("name", _PROTOCOLS)
def test_training_and_test_images_are_apart(name: str) -> None:
    for train, test in find_protocol(name, FOLDERS).split(LABELS, FOLDERS):
        assert not set(train) & set(test)
        assert set(LABELS[test]) <= set(LABELS[train])
        assert len(np.unique(train)) == len(train)


@pytest.mark.parametrize("name", _PROTOCOLS)
def test_same_seed_gives_the_same_splits(name: str) -> None:
    first, second = (find_protocol(name, FOLDERS).split(LABELS, FOLDERS) for _ in range(2))

    for (a, b), (c, d) in zip(first, second, strict=True):
        assert np.array_equal(a, c)
        assert np.array_equal(b, d)


def test_folds_test_each_image_once() -> None:
    tested = np.concatenate([test for _, test in _PROTOCOLS["cv"].split(LABELS)])

    assert sorted(tested) == list(range(len(LABELS)))


def test_folds_keep_the_shares_of_the_classes() -> None:
    for _, test in _PROTOCOLS["cv"].split(LABELS):
        _, counts = np.unique(LABELS[test], return_counts=True)
        assert np.abs(counts - np.array([8, 8.6, 10])).max() < 1


def test_decaf_trains_on_thirty_of_each_class_five_times() -> None:
    splits = _PROTOCOLS["decaf"].split(LABELS)

    assert len(splits) == 5
    assert all(np.unique(LABELS[t], return_counts=True)[1].tolist() == [30] * 3 for t, _ in splits)
    assert not np.array_equal(splits[0][0], splits[1][0])


def test_kornblith_tries_forty_five_strengths() -> None:
    grid = _PROTOCOLS["kornblith"].grid

    assert len(grid) == 45
    assert (grid[0], grid[-1]) == (1e-6, 1e5)


def test_validation_images_train_where_there_is_a_test_part() -> None:
    train, test = _PROTOCOLS["holdout"].split(LABELS, FOLDERS)[0]

    assert set(FOLDERS[train]) == {"train", "val"}
    assert set(FOLDERS[test]) == {"test"}


def test_validation_images_test_where_there_is_no_test_part() -> None:
    splits = np.where(FOLDERS == "test", "train", FOLDERS)
    _, test = _PROTOCOLS["holdout"].split(LABELS, splits)[0]

    assert set(splits[test]) == {"val"}


def test_folders_decide_where_no_protocol_is_named() -> None:
    assert find_protocol(None, FOLDERS).name == "holdout"
    assert find_protocol(None, None).name == "cv"
    assert find_protocol(None, ["train"] * 5).name == "cv"


def test_images_without_a_label_take_no_part() -> None:
    labels = LABELS.copy()
    labels[:5] = ""

    for train, test in _PROTOCOLS["cv"].split(labels):
        assert min(*train, *test) >= 5


def test_few_training_images_leave_the_test_part_as_it_is() -> None:
    whole = _PROTOCOLS["holdout"].split(LABELS, FOLDERS)[0]
    few = find_protocol("holdout", FOLDERS, train_per_class=3).split(LABELS, FOLDERS)[0]

    assert len(few[0]) == 9
    assert np.array_equal(few[1], whole[1])


@pytest.mark.parametrize("labels", [["a", "a", "a"], ["a", "b", "c"], ["", ""]])
def test_nothing_to_classify_is_refused(labels: list[str]) -> None:
    with pytest.raises(DatasetError, match="at least 2"):
        _PROTOCOLS["cv"].split(labels)


def test_holdout_without_folders_is_refused() -> None:
    with pytest.raises(DatasetError, match="--protocol cv"):
        _PROTOCOLS["holdout"].split(LABELS)


def test_unknown_protocol_is_named() -> None:
    with pytest.raises(SpecError, match="must be one of cv"):
        find_protocol("cvv")


def test_protocol_of_ones_own_is_taken_as_it_is() -> None:
    mine = Protocol("mine", splits="random", n_splits=2, train_per_class=5)

    assert find_protocol(mine) == mine


def test_classes_that_none_is_trained_on_take_no_part() -> None:
    labels = np.array(["ant", "bee", "ant", "bee", "wasp"])
    splits = np.array(["train", "train", "test", "test", "test"])

    ((_, test),) = _PROTOCOLS["holdout"].split(labels, splits)

    assert test.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("labels", "splits", "match"),
    [
        (
            ["cat", "dog", "unknown"],
            ["train", "train", "test"],
            "2 test images, of unknown, and training images of cat, dog",
        ),
        (
            ["cat", "cat", "dog"],
            ["train", "train", "test"],
            "4 training images, of cat, and 2 test images, of dog",
        ),
        (["cat", "dog", "dog"], ["train", "train", ""], "4 training images and 0 test images"),
        (["cat", "dog", ""], ["train", "train", "test"], "4 training images and 0 test images"),
    ],
)
def test_folders_that_cannot_be_learned_from_are_told_in_one_line(
    labels: list[str], splits: list[str], match: str
) -> None:
    with pytest.raises(DatasetError, match=match) as error:
        _PROTOCOLS["holdout"].split([*labels, *labels], [*splits, *splits])

    assert "\n" not in str(error.value)


def test_more_folds_than_images_are_refused_with_the_number_that_would_do() -> None:
    labels = ["a", "a", "b", "b"]

    with pytest.raises(DatasetError, match=r"5 folds needs 5 images .* got 4\. Use --n-splits 4"):
        _PROTOCOLS["cv"].split(labels)
    assert len(find_protocol("cv", n_splits=4).split(labels)) == 4


def test_unlabeled_test_images_leave_the_training_folder_to_cross_validation() -> None:
    labels, splits = ["a", "b"] * 10 + [""] * 5, ["train"] * 20 + ["test"] * 5

    assert find_protocol(None, splits, labels).name == "cv"
    assert find_protocol("kornblith", splits, labels).splits == "random"
    assert all(max(*train, *test) < 20 for train, test in _PROTOCOLS["cv"].split(labels, splits))


GROUPS = np.array([f"p{i // 3}" for i in range(133)])  # Whole groups, mixed at the classes' edges.


@pytest.mark.parametrize("name", ["cv", "random", "decaf"])
def test_groups_are_on_one_side_of_every_split(name: str) -> None:
    folds = find_protocol(name).split(LABELS, None, GROUPS)

    for train, test in folds:
        assert not set(GROUPS[train]) & set(GROUPS[test])
        assert set(LABELS[train]) == set(LABELS[test]) == {"a", "b", "c"}


def test_images_without_a_group_are_groups_of_their_own() -> None:
    folds = _PROTOCOLS["cv"].split(LABELS, None, np.full(133, ""))

    assert sorted(np.concatenate([test for _, test in folds])) == list(range(133))


def test_fewer_groups_than_folds_are_refused_with_the_number_that_would_do() -> None:
    sites = np.array(["x", "y", "z"] * 45)[:133]

    with pytest.raises(DatasetError, match=r"needs 5 groups; got 3\. Use --n-splits 3"):
        _PROTOCOLS["cv"].split(LABELS, None, sites)
    assert len(find_protocol("cv", n_splits=3).split(LABELS, None, sites)) == 3


def test_groups_in_several_folders_are_refused_by_name() -> None:
    with pytest.raises(DatasetError, match=r"one of train, val and test; 2 of 3 .*: p1, p2\."):
        _PROTOCOLS["holdout"].split(
            ["a", "b"] * 3, ["train", "train", "test", "test", "val", "train"],
            ["p1", "p2", "p1", "p3", "p2", ""],
        )  # fmt: skip


def test_a_fold_that_would_learn_one_class_is_refused() -> None:
    labels = np.repeat(["a", "b"], [4, 2])

    with pytest.raises(DatasetError, match=r"training images of at least 2 classes; .* of a, and"):
        find_protocol("cv", n_splits=2).split(labels, None, ["p", "p", "q", "q", "r", "r"])


@pytest.mark.parametrize("classifier", ["knn", "nearest_mean"])
def test_class_weights_need_a_loss(classifier: str) -> None:
    with pytest.raises(SpecError, match=f"does not apply to {classifier}"):
        find_protocol("cv", classifier=classifier, class_weight="balanced")
    with pytest.raises(SpecError, match="balanced or None"):
        find_protocol("cv", class_weight="even")
