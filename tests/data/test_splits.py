from __future__ import annotations

import pytest

from featx.data.splits import find_split

NAMES = {
    "train": "train Training TRAIN2017 train_2017 training_set TrainingSet seg_train trainset "
    "train-images images_train train_pictures traindata 01_train trainval train1 TrainImages",
    "val": "eval evaluation val valid validation val2017 dev devel valset val_256 validation-set "
    "Dev",
    "test": "test testing test_set seg_test test2015 testset TestSet test1 test_images images.test",
}


@pytest.mark.parametrize(
    ("name", "split"), [(name, split) for split, names in NAMES.items() for name in names.split()]
)
def test_names_that_people_give_splits_are_known(name: str, split: str) -> None:
    assert find_split(name) == split


@pytest.mark.parametrize(
    "name",
    ["", "2017", "cat", "trainer", "protest", "contest", "set", "images", "train_test", "train car"]
    + ["steam train", "values", "device", "seg_pred", "latest", "training_dogs", "разметка"],
)
def test_other_names_are_no_split(name: str) -> None:
    assert find_split(name) is None
