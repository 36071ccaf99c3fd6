from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score, log_loss

from featx.data.datasets import ImageDataset
from featx.data.images import Images
from featx.evaluation.candidates import Candidate, Candidates
from featx.evaluation.protocols import Protocol
from featx.evaluation.split_scores import FittedSplit, SplitScores, fit_split
from featx.features.results import Result
from featx.finetuning.classifier import FineTunedClassifier
from featx.finetuning.experiment_results import _count_tensors, make_result
from featx.finetuning.freeze_check import FreezeCheck
from featx.finetuning.strategy_runs import StrategyRun
from featx.finetuning.transfer_gains import curve_of
from featx.networks.weights import LoadReport

CLASSES = np.array(["ant", "bee", "cat"])
N_TRAIN, N_TEST = 30, 60
TRUTH = np.repeat(CLASSES, (30, 20, 10))
FOLD = (np.arange(N_TRAIN), np.arange(N_TRAIN, N_TRAIN + N_TEST))
RULES = Protocol("holdout", splits="folders", n_splits=1)


def gathered() -> Candidates:
    n = N_TRAIN + N_TEST
    labels = np.concatenate([CLASSES[np.arange(N_TRAIN) % 3], TRUTH])
    names = [f"{i}.png" for i in range(n)]
    images = Images(np.zeros((n, 2, 2), np.uint8), names=names)
    dataset = ImageDataset(images, names, labels, source="insects")
    return Candidates(dataset, [FOLD], [], [("x", "empty")], {}, None)


class Guesser:
    """Random probabilities that favor the true class by so much."""

    classes_ = CLASSES

    def __init__(self, strategy: str, seed: int, skill: float) -> None:
        rng = np.random.default_rng([seed, *map(ord, strategy)])
        truth = np.searchsorted(CLASSES, TRUTH)
        weights = rng.dirichlet(np.ones(3), N_TEST) + skill * np.eye(3)[truth]
        self.probabilities = weights / weights.sum(1, keepdims=True)
        self.seconds_ = seed + 1.0

    def fit(self, *_: Any) -> None:
        pass

    def predict_proba(self, _: Any) -> Any:
        return self.probabilities


def score(guesser: Guesser) -> FittedSplit:
    dataset = gathered().dataset
    return fit_split(guesser, dataset.images, dataset.labels, FOLD)


def make_run(strategy: str, skill: float, seeds: tuple[int, ...] = (0, 1)) -> StrategyRun:
    kind = Candidate(
        f"lenet {strategy}", "", FineTunedClassifier("lenet"), strategy == "scratch", None, None
    )
    run = StrategyRun(strategy, kind, list(seeds))
    parts = [[score(Guesser(strategy, seed, skill))] for seed in seeds]
    run.scores = SplitScores.of_seeds([SplitScores.of(part, [FOLD]) for part in parts])
    return run


def result_of(**skills: float) -> Result:
    return make_result([make_run(name, skill) for name, skill in skills.items()], gathered(), RULES)


@pytest.fixture
def result() -> Result:
    return result_of(scratch=0.1, head=2.0, full=0.9)


def test_rows_stand_best_first_and_scratch_is_the_control(result: Result) -> None:
    assert [row["spec"] for row in result.rows] == ["lenet head", "lenet full", "lenet scratch"]
    assert [row["is_control"] for row in result.rows] == [False, False, True]
    accuracies = [row["accuracy"] for row in result.rows]
    behind = [row["difference"] for row in result.rows]
    assert behind == pytest.approx([accuracies[0] - accuracy for accuracy in accuracies])


def test_measures_are_those_of_scikit_learn_averaged_over_seeds(result: Result) -> None:
    skills = {"scratch": 0.1, "head": 2.0, "full": 0.9}
    for row in result.rows:
        name = row["spec"].split()[1]
        own = [Guesser(name, seed, skills[name]).probabilities for seed in (0, 1)]
        predicted = [CLASSES[probabilities.argmax(1)] for probabilities in own]
        expected = {
            "accuracy": [np.mean(labels == TRUTH) for labels in predicted],
            "balanced_accuracy": [balanced_accuracy_score(TRUTH, labels) for labels in predicted],
            "macro_f1": [f1_score(TRUTH, labels, average="macro") for labels in predicted],
            "log_loss": [log_loss(TRUTH, probabilities) for probabilities in own],
        }
        for measure, values in expected.items():
            assert row[measure] == pytest.approx(np.mean(values)), measure
        assert row["accuracies"] == pytest.approx(expected["accuracy"])
        assert row["train_seconds"] == 1.5


def test_confusion_is_scikit_learns_over_all_seeds(result: Result) -> None:
    predicted = [CLASSES[Guesser("full", seed, 0.9).probabilities.argmax(1)] for seed in (0, 1)]

    expected = confusion_matrix(np.tile(TRUTH, 2), np.concatenate(predicted))

    assert result.details["confusion"]["lenet full"]["matrix"] == expected.tolist()
    assert result.details["confusion"]["lenet full"]["classes"] == CLASSES.tolist()


def test_settings_stand_in_the_provenance_and_the_protocol_is_that_of_features(
    result: Result,
) -> None:
    (entry, *_) = result.provenance["extractors"]

    assert entry["spec"] == "lenet scratch"
    assert entry["settings"]["head_epochs"] == 30
    assert result.protocol == {**RULES.to_dict(), "n_train": 30, "n_test": 60, "n_classes": 3}


def test_sentences_tell_ties_from_differences() -> None:
    head, scratch = make_run("head", 2.0), make_run("scratch", 0.1)
    full = make_run("full", 2.0)
    full.scores = head.scores

    sentences = make_result([head, scratch, full], gathered(), RULES).sentences

    assert f"of {N_TEST} held-out images, 1 split, 2 seeds." in sentences[0]
    assert "no different from it (+0.0%, p = 1 by the paired test)" in sentences[1]
    assert "lenet scratch" in sentences[2]
    assert "behind it (-" in sentences[2]
    assert sentences[-1].startswith("No gains over scratch by epoch")


def test_level_of_a_linear_classifier_has_a_start_and_no_slope() -> None:
    history = [{"train_loss": 1.0, "valid_acc": accuracy} for accuracy in (0.4, 0.5, 0.6)]
    report = LoadReport(loaded=["conv1.weight"], new={"fc.weight": "the new head"})
    checks = {"tune": FreezeCheck(0, 0, 0), "head": FreezeCheck(1, 0, 9)}
    fitted: Any = SimpleNamespace(notes_=["note"], report_=report, freeze_checks_=checks, load=None)
    scratch, frozen = make_run("scratch", 1.0), make_run("frozen", 1.0)
    scratch.classifier, scratch.curves = fitted, [curve_of("scratch", 0, history)]
    frozen.curves = [curve_of("frozen", 0, [{"valid_acc": 0.7}], is_level=True)]

    result = make_result([scratch, frozen], gathered(), RULES)

    assert [curve["is_level"] for curve in result.details["curves"]] == [False, True]
    gains = {row["gain"]: row["mean"] for row in result.details["gains"]}
    assert gains == pytest.approx({"start": 0.3, "asymptote": 0.2})
    text = " ".join(result.sentences)
    assert "Tensors of the weights: 1 loaded; 1 new (fc.weight)." in text
    assert "scratch, stage head: 1 frozen parameters" in text
    assert "stage tune" not in text  # Nothing was frozen there.


def test_six_tensors_are_named_and_more_are_hinted_at() -> None:
    names = list("abcdefg")

    assert _count_tensors("new", names[:6]) == "6 new (a, b, c, d, e, f)"
    assert _count_tensors("new", names) == "7 new (a, b, c, d, e, f …)"
    assert _count_tensors("loaded", names) == "7 loaded"
