from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from featx import FeatureSet
from featx.analysis.points import list_points, predictions_of, sample_evenly
from featx.evaluation.split_scores import score_splits


def test_a_sample_has_its_share_of_each_class() -> None:
    labels = np.array(["a", "b"] * 45 + ["c"] * 10)
    drawn = labels[sample_evenly(labels, 20)]
    assert [int((drawn == name).sum()) for name in "abc"] == [9, 9, 2]


@pytest.mark.parametrize("n_wanted", [1, 7, 100, 299])
def test_no_class_is_off_its_share_by_more_than_one(n_wanted: int) -> None:
    labels = np.random.default_rng(0).choice(list("abcde"), 300, p=[0.5, 0.3, 0.1, 0.06, 0.04])
    drawn = sample_evenly(labels, n_wanted)
    assert len(drawn) == n_wanted
    assert (np.diff(drawn) > 0).all()
    sizes = Counter(labels[drawn])
    for name, size in Counter(labels).items():
        assert abs(sizes[name] - size * n_wanted / 300) < 1


def test_within_a_class_chance_decides_by_the_seed() -> None:
    labels = ["a"] * 100
    first, again, other = (sample_evenly(labels, 10, seed).tolist() for seed in (0, 0, 1))
    assert first == again != other
    assert first != list(range(0, 100, 10))


def test_few_images_are_all_taken() -> None:
    assert sample_evenly(["b", "a", "b"], 3).tolist() == [0, 1, 2]


def test_images_that_were_never_tested_have_no_prediction() -> None:
    X, labels = np.eye(2)[[0, 1] * 5], np.array(["a", "b"] * 5)
    folds = [(np.arange(6), np.array([9, 7])), (np.arange(6), np.array([6]))]
    scores = score_splits(X, labels, folds, LogisticRegression())
    predicted = predictions_of(scores, 10)
    assert predicted.tolist() == [None] * 6 + ["a", "b", None, "b"]


def test_points_say_what_is_known_and_nothing_else() -> None:
    features = FeatureSet(np.eye(2, dtype=np.float32), ["a.png", "b.png"], labels=["x", "y"])
    points = list_points(features, np.array([None, "y"], object))
    assert points == {
        "paths": ["a.png", "b.png"],
        "labels": ["x", "y"],
        "splits": None,
        "domains": None,
        "predicted": [None, "y"],
    }
    assert list_points(features, np.array([None, None], object))["predicted"] is None
