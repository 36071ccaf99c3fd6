from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from featx import load_dataset
from featx.analysis.image_map import map_images
from featx.data.datasets import ImageDataset
from featx.errors import SpecError


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return load_dataset("digits").take(range(100))


def test_points_are_colored_by_class_where_it_is_known(digits: ImageDataset) -> None:
    found = map_images(digits, "pixels", method="pca", store=None)
    assert found.details["groups"] == digits.labels.tolist()  # type: ignore[union-attr]
    assert found.details["points"]["predicted"] is None


def test_right_and_wrong_agree_with_the_accuracy(digits: ImageDataset) -> None:
    found = map_images(digits, "pixels", method="pca", color="correct", store=None)
    counts = Counter(found.details["groups"])
    assert counts["right"] / 100 == pytest.approx(found.rows[0]["accuracy"], abs=0.01)
    assert set(counts) == {"right", "wrong"}


def test_training_images_of_folders_are_not_tested(digits: ImageDataset) -> None:
    from dataclasses import replace

    splits = np.array(["train"] * 60 + ["test"] * 40)
    found = map_images(
        replace(digits, splits=splits), "pixels", method="pca", color="correct", store=None
    )
    assert found.details["groups"][:60] == ["not tested"] * 60


def test_at_most_so_many_images_are_mapped(digits: ImageDataset) -> None:
    found = map_images(digits, "pixels", method="pca", max_images=40, store=None)
    assert len(found.details["maps"][0]["coordinates"]) == 40
    assert len(found.details["points"]["paths"]) == 40


def test_two_kinds_of_features_are_refused(digits: ImageDataset) -> None:
    with pytest.raises(SpecError, match="one feature set; got pixels, color"):
        map_images(digits, ["pixels", "color"], store=None)
