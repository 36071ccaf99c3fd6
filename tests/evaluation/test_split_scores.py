"""Scores over splits: what each split said, and nothing of one split in another."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss

from featx.data.images import Images
from featx.evaluation.linear_probe import LinearProbe
from featx.evaluation.protocols import find_protocol
from featx.evaluation.scores import accuracy_interval, paired_test
from featx.evaluation.split_scores import (
    Predictions,
    SplitScores,
    _take_rows,
    fit_split,
    make_probe,
    score_splits,
)

RNG = np.random.default_rng(0)
LABELS = np.array(list("abc") * 20)
X = (np.eye(3)[[0, 1, 2] * 20] + RNG.normal(size=(60, 3))).astype(np.float32)
FOLDS = find_protocol("cv", n_splits=3).split(LABELS)


def test_scores_are_scikit_learns() -> None:
    row = score_splits(X, LABELS, FOLDS, LogisticRegression()).to_row()
    said = []
    for train, test in FOLDS:
        model = LogisticRegression().fit(X[train], LABELS[train])
        said.append((LABELS[test], model.predict(X[test]), model.predict_proba(X[test])))

    assert row["accuracy"] == pytest.approx(np.mean([(t == p).mean() for t, p, _ in said]))
    assert row["balanced_accuracy"] == pytest.approx(
        np.mean([balanced_accuracy_score(t, p) for t, p, _ in said])
    )
    assert row["macro_f1"] == pytest.approx(
        np.mean([f1_score(t, p, average="macro") for t, p, _ in said])
    )
    assert row["log_loss"] == pytest.approx(np.mean([log_loss(t, s) for t, _, s in said]))


def test_features_of_a_split_are_asked_for_by_its_number() -> None:
    asked: list[int] = []

    def features(number: int) -> np.ndarray:
        asked.append(number)
        return X

    scores = score_splits(features, LABELS, FOLDS, LinearProbe(C=1.0))

    assert asked == [0, 1, 2]
    assert np.array_equal(
        scores.accuracies, score_splits(X, LABELS, FOLDS, LinearProbe(C=1.0)).accuracies
    )


@pytest.mark.parametrize("classifier", ["logistic", "svm", "ridge", "knn", "nearest_mean"])
@pytest.mark.parametrize("scale", ["standard", "l2", "none"])
def test_every_classifier_learns(classifier: str, scale: str) -> None:
    rules = find_protocol("cv", classifier=classifier, scale=scale)

    assert (
        score_splits(X + 3 * np.eye(3)[[0, 1, 2] * 20], LABELS, FOLDS, make_probe(rules)).accuracy
        > 0.8
    )


@pytest.mark.parametrize("classifier", ["logistic", "svm", "ridge", "knn", "nearest_mean"])
def test_single_images_of_each_class_are_enough(classifier: str) -> None:
    fold = (np.array([0, 1, 2]), np.arange(3, 60))
    rules = find_protocol("cv", classifier=classifier, scale="none")

    assert 0 < score_splits(X, LABELS, [fold], make_probe(rules)).accuracy <= 1


def test_folder_of_validation_images_chooses_the_strength() -> None:
    splits = np.where(np.arange(60) < 30, "train", np.where(np.arange(60) < 45, "val", "test"))
    fold = (np.arange(45), np.arange(45, 60))
    probe = LinearProbe().fit(X[:45], LABELS[:45], held_out=splits[:45] == "val")

    scores = score_splits(X, LABELS, [fold], LinearProbe(), splits=splits)

    assert scores.Cs == [probe.C_]


def test_large_rows_are_taken_to_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featx._linalg._MAX_BYTES_IN_MEMORY", 10)

    taken = _take_rows(X, np.array([5, 1, 7]))

    assert isinstance(taken, np.memmap)
    assert np.array_equal(taken, X[[5, 1, 7]])


def test_comparison_is_of_the_same_splits() -> None:
    good = score_splits(X, LABELS, FOLDS, LinearProbe(C=1.0))
    bad = score_splits(RNG.normal(size=X.shape), LABELS, FOLDS, LinearProbe(C=1.0))

    test = good.compared_to(bad)

    assert test.difference == pytest.approx(good.accuracy - bad.accuracy)
    assert good.compared_to(good).is_tied


class Brightness:
    """Classifier of images by the nearest mean of their pixels; each seed errs on another image."""

    validation = 0.2

    def __init__(self, wrong: int | None = None) -> None:
        self.wrong = wrong

    def fit(
        self, images: Images, labels: np.ndarray, held_out: np.ndarray | None = None, **_: object
    ) -> None:
        assert isinstance(images, Images)
        values = self._values(images)
        self.held_out = held_out
        self.classes_ = np.unique(labels)
        self.means = np.array([values[labels == name].mean() for name in self.classes_])

    def predict_proba(self, images: Images) -> np.ndarray:
        distances = np.abs(self._values(images)[:, None] - self.means)
        if self.wrong is not None:
            distances[self.wrong] = distances[self.wrong, ::-1]
        return 1 - distances / distances.sum(axis=1, keepdims=True)

    @staticmethod
    def _values(images: Images) -> np.ndarray:
        return np.array([images.pixels(i).mean() for i in range(len(images))])


GRAYS = Images(np.arange(0, 240, 20, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2))
GRAY_LABELS = np.repeat(["dark", "light"], 6)
GRAY_FOLD = (np.array([0, 1, 2, 9, 10, 11]), np.array([3, 4, 5, 6, 7, 8]))


def test_classifiers_of_images_are_tested_as_those_of_features_are() -> None:
    splits = np.where(np.isin(np.arange(12), [2, 9]), "val", "train")

    model, found, _ = fit_split(Brightness(), GRAYS, GRAY_LABELS, GRAY_FOLD, splits=splits)

    assert model.held_out.tolist() == [False, False, True, True, False, False]
    assert found.indices.tolist() == GRAY_FOLD[1].tolist()
    assert found.is_right.all()


def test_seeds_are_averaged_before_images_are_paired() -> None:
    parts = [
        [fit_split(Brightness(wrong), GRAYS, GRAY_LABELS, GRAY_FOLD)] for wrong in (0, 1, None)
    ]
    seeds = [SplitScores.of(part, [GRAY_FOLD]) for part in parts]
    tuned = SplitScores.of_seeds(seeds)

    assert tuned.accuracies.tolist() == pytest.approx([(5 / 6 + 5 / 6 + 1) / 3])
    assert tuned.interval == pytest.approx(accuracy_interval(8 / 9, 6))  # Six images, not 18.
    test = seeds[2].compared_to(tuned)
    expected = paired_test(1.0, 8 / 9, 8 / 9, 6)
    assert (test.difference, test.p_value) == pytest.approx((1 / 9, expected.p_value))


def test_seeds_of_several_splits_are_averaged_within_each() -> None:
    seeds = [score_splits(X, LABELS, FOLDS, LinearProbe(C=C)) for C in (1e-4, 1.0)]

    both = SplitScores.of_seeds(seeds)

    assert both.accuracies.tolist() == pytest.approx(np.mean([s.accuracies for s in seeds], 0))
    assert len(both.predictions) == 6
    assert both.compared_to(seeds[1]).difference == pytest.approx(both.accuracy - seeds[1].accuracy)


def scores_of(is_right: list[list[int]], truth: list[list[str]]) -> SplitScores:
    """Scores of splits that test images of their own."""
    start, parts = 0, []
    for right, names in zip(is_right, truth, strict=True):
        indices = np.arange(start, start + len(right))
        start += len(right)
        said = np.where(np.array(right, bool), names, "another")
        parts.append(Predictions(indices, np.array(names), said, np.ones(len(right)), 0.0))
    return SplitScores(parts, 0.25, [None] * len(parts), 0.0, True)


def test_splits_that_are_all_correct_leave_doubt() -> None:
    found = scores_of([[1] * 10] * 4, [["a", "b"] * 5] * 4)

    assert found.interval == pytest.approx(accuracy_interval(1.0, 40))
    assert found.balanced_interval == pytest.approx(accuracy_interval(1.0, 40))


def test_images_tested_several_times_count_once() -> None:
    part = scores_of([[1, 0, 1, 1]], [["a", "a", "b", "b"]]).predictions[0]

    found = SplitScores([part] * 5, 0.25, [None] * 5, 0.0, True)

    assert found.interval == pytest.approx(accuracy_interval(0.75, 4))


def test_a_small_class_makes_the_mean_over_classes_less_sure() -> None:
    found = scores_of([[1] * 96 + [1, 0, 1, 0]], [["a"] * 96 + ["b"] * 4])

    plain, balanced = found.interval, found.balanced_interval
    assert (plain.mean, balanced.mean) == (0.98, 0.75)
    assert balanced.high - balanced.low > 3 * (plain.high - plain.low)


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy"])
def test_differences_over_two_splits_stay_within_one(metric: str) -> None:
    truth = [["a", "b"] * 5] * 2
    first = scores_of([[1] * 10, [1] * 5 + [0] * 5], truth)
    second = scores_of([[0] * 10, [1] * 5 + [0] * 5], truth)

    found = first.compared_to(second, metric)

    assert found.difference == pytest.approx(0.5)
    assert -1 <= found.low < found.difference < found.high <= 1
