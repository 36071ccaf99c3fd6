"""Groups: found in names, dealt as a whole, each class on both sides."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from featx.data.datasets import fold_numbers, load_dataset, train_test_indices
from featx.data.groups import draw_groups, group_codes, group_images
from featx.errors import DatasetError, SpecError

LABELS = np.repeat(["a", "b", "c"], [60, 40, 20])
GROUPS = np.array([f"p{i:02d}" for i in np.arange(120) // 4])


def test_parentheses_of_the_pattern_are_the_group() -> None:
    digits = load_dataset("digits").take([0, 1, 101])

    assert group_images(digits, r"re:/(\d\d)").groups.tolist() == ["00", "00", "01"]
    assert group_images(digits, r"re:/(\d)\d*(\d)$").groups.tolist() == ["0/0", "0/1", "0/1"]
    assert group_images(digits, r"re:\d{2}$").groups.tolist() == ["00", "01", "01"]


def test_images_that_do_not_match_are_told_and_groups_of_their_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    digits = load_dataset("digits").take([0, 1, 100])

    with caplog.at_level(logging.WARNING):
        groups = group_images(digits, "re:00[0-9]+").groups

    assert group_codes(groups).tolist() == [0, 1, 2]
    assert "matches 2 of 3 names" in caplog.text
    assert "digits/0100" in caplog.text


@pytest.mark.parametrize(
    ("groups", "error"),
    [("re:(", SpecError), ("re:patient", DatasetError), (3, SpecError), (" ", SpecError)],
)
def test_groups_that_cannot_be_are_refused(groups: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="groups"):
        load_dataset("digits", groups=groups)


def test_false_takes_groups_away() -> None:
    digits = replace(load_dataset("digits").take([0]), groups=np.array(["a"]))

    assert group_images(digits, False).groups is None
    assert group_images(digits, None).groups.tolist() == ["a"]


def test_folds_are_those_of_stratified_group_k_fold() -> None:
    folds = fold_numbers(LABELS, 5, random_state=3, groups=GROUPS)

    splitter = StratifiedGroupKFold(5, shuffle=True, random_state=3)
    for fold, (_, test) in enumerate(splitter.split(LABELS, LABELS, GROUPS)):
        assert np.flatnonzero(folds == fold).tolist() == test.tolist()


@pytest.mark.parametrize("train_size", [1, 10, 0.2, 0.5, 0.8])
@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_on_both_sides_and_every_class_is(train_size: float, seed: int) -> None:
    train, test = train_test_indices(
        LABELS, train_size=train_size, random_state=seed, groups=GROUPS
    )

    assert not set(GROUPS[train]) & set(GROUPS[test])
    assert set(LABELS[train]) == set(LABELS[test]) == {"a", "b", "c"}
    if isinstance(train_size, int):
        assert np.unique(LABELS[train], return_counts=True)[1].max() <= train_size


def test_shares_of_classes_are_kept_within_a_group() -> None:
    train, _ = train_test_indices(LABELS, train_size=0.5, groups=GROUPS)

    counts = np.unique(LABELS[train], return_counts=True)[1]
    assert np.abs(counts - [30, 20, 10]).max() <= 4


def test_a_large_group_does_not_keep_a_class_from_training() -> None:
    codes, groups = np.repeat([0, 1], 20), np.repeat(["a", "b", "c", "d"], 10)

    for seed in range(5):
        train = draw_groups(codes, groups, [1, 1], np.random.default_rng(seed))
        assert sorted(codes[train]) == [0] * 10 + [1] * 10
