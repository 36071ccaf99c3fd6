from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score, log_loss

from featx.data.datasets import ImageDataset
from featx.data.images import Images
from featx.features.results import Result
from featx.finetuning.data_split import DataSplit
from featx.finetuning.experiment_results import N_MISTAKES, Run, Runs, _told, make_result
from featx.finetuning.freeze_check import FreezeCheck
from featx.networks.weights import LoadReport

CLASSES = np.array(["ant", "bee", "cat"])
N_TRAIN, N_TEST = 30, 60


def task() -> DataSplit:
    n = N_TRAIN + N_TEST
    labels = np.concatenate([CLASSES[np.arange(N_TRAIN) % 3], np.repeat(CLASSES, (30, 20, 10))])
    images = Images(np.zeros((n, 2, 2), np.uint8))
    dataset = ImageDataset(images, [f"{i}.png" for i in range(n)], labels, source="insects")
    none = np.empty(0, np.intp)
    return DataSplit(dataset, np.arange(N_TRAIN), none, np.arange(N_TRAIN, n), [("x", "empty")])


def random_run(strategy: str, seed: int, skill: float, **more: Any) -> Run:
    """Random probabilities that favor the true class by so much."""
    rng = np.random.default_rng([seed, *map(ord, strategy)])
    truth = np.searchsorted(CLASSES, task().part(task().test)[1])
    shares = rng.dirichlet(np.ones(3), N_TEST) + skill * np.eye(3)[truth]
    return Run(strategy, seed, shares / shares.sum(1, keepdims=True), CLASSES, seed + 1.0, **more)


def runs(**skills: float) -> Runs:
    made = [random_run(name, seed, skill) for name, skill in skills.items() for seed in (0, 1)]
    return Runs(task(), "lenet", made)


@pytest.fixture
def result() -> Result:
    return make_result(runs(scratch=0.1, head=2.0, full=0.9), {}, [])


def test_rows_stand_best_first_and_scratch_is_the_control(result: Result) -> None:
    assert [row["spec"] for row in result.rows] == ["lenet head", "lenet full", "lenet scratch"]
    assert [row["is_control"] for row in result.rows] == [False, False, True]
    assert result.rows[0]["difference"] is None
    behind = [row["difference"] for row in result.rows[1:]]
    gaps = [row["accuracy"] - result.rows[0]["accuracy"] for row in result.rows[1:]]
    assert behind == pytest.approx(gaps)


def test_measures_are_those_of_scikit_learn_averaged_over_seeds(result: Result) -> None:
    made = runs(scratch=0.1, head=2.0, full=0.9)
    for row in result.rows:
        own = made.of(row["spec"].split()[1])
        expected = {
            "accuracy": [np.mean(run.predicted == made.truth) for run in own],
            "balanced_accuracy": [balanced_accuracy_score(made.truth, r.predicted) for r in own],
            "macro_f1": [f1_score(made.truth, run.predicted, average="macro") for run in own],
            "log_loss": [log_loss(made.truth, run.shares) for run in own],
        }
        for name, values in expected.items():
            assert row[name] == pytest.approx(np.mean(values)), name
        assert row["accuracies"] == pytest.approx(expected["accuracy"])
        assert row["train_seconds"] == 1.5


def test_confusion_is_scikit_learns_over_all_seeds(result: Result) -> None:
    own = runs(full=0.9).of("full")
    truth = np.tile(runs(full=0.9).truth, 2)

    expected = confusion_matrix(truth, np.concatenate([run.predicted for run in own]))

    assert result.details["confusion"]["lenet full"]["matrix"] == expected.tolist()
    assert result.details["confusion"]["lenet full"]["classes"] == CLASSES.tolist()


def test_mistakes_are_wrong_and_the_most_confident_first(result: Result) -> None:
    mistakes = result.details["mistakes"]["lenet scratch"]
    run = runs(scratch=0.1).of("scratch")[0]

    assert 0 < len(mistakes) <= N_MISTAKES
    for mistake in mistakes:
        i = int(mistake["path"].removesuffix(".png")) - N_TRAIN
        assert mistake["predicted"] == run.predicted[i] != mistake["true"]
        assert mistake["probability"] == run.shares[i].max()
    confidences = [mistake["probability"] for mistake in mistakes]
    assert confidences == sorted(confidences, reverse=True)


def test_sentences_tell_ties_from_differences() -> None:
    made = runs(head=2.0, scratch=0.1)
    made.runs += [Run("full", run.seed, run.shares, CLASSES, 1.0) for run in made.of("head")]

    said = make_result(made, {}, []).sentences

    assert f"of {N_TEST} pictures left out, 2 seeds." in said[0]
    assert "no different from it (+0.0%, McNemar's p = 1 over all seeds)" in said[1]
    assert "lenet scratch" in said[2]
    assert "behind it (-" in said[2]
    assert said[-1].startswith("No gains over scratch by epoch")


def test_label_curve_ends_with_the_run_on_all_images() -> None:
    run = random_run("head", 0, 1.0, n_train=N_TRAIN)
    points = [{"name": "head", "seed": 0, "n_labels": n, "accuracy": n / 10} for n in (4, 2)]
    points.append({**points[0], "seed": 1})

    (curve,) = make_result(Runs(task(), "lenet", [run]), {}, points).details["label_curves"]

    assert curve["n_labels"] == [2, 4, N_TRAIN // 3]
    full = np.mean(run.predicted == task().part(task().test)[1])
    assert curve["accuracy"] == pytest.approx([0.2, 0.4, full])


def test_level_of_a_linear_classifier_has_a_start_and_no_slope() -> None:
    history = [{"train_loss": 1.0, "valid_acc": accuracy} for accuracy in (0.4, 0.5, 0.6)]
    report = LoadReport(loaded=["conv1.weight"], new={"fc.weight": "the new head"})
    checks = {"tune": FreezeCheck(0, 0, 0), "head": FreezeCheck(1, 0, 9)}
    fitted: Any = SimpleNamespace(
        history_=history, notes_=["note"], report_=report, freeze_checks_=checks, load=None
    )
    made = [
        random_run("scratch", 0, 1.0, classifier=fitted),
        random_run("frozen", 0, 1.0, valid_accuracy=0.7),
    ]

    result = make_result(Runs(task(), "lenet", made), {}, [])

    assert [curve["is_level"] for curve in result.details["curves"]] == [False, True]
    gains = {row["gain"]: row["mean"] for row in result.details["gains"]}
    assert gains == pytest.approx({"start": 0.3, "asymptote": 0.2})
    text = " ".join(result.sentences)
    assert "Tensors of the weights: 1 loaded; 1 new (fc.weight)." in text
    assert "scratch, stage head: 1 frozen parameters" in text
    assert "stage tune" not in text  # Nothing was frozen there.


def test_six_tensors_are_named_and_more_are_hinted_at() -> None:
    names = list("abcdefg")

    assert _told("new", names[:6]) == "6 new (a, b, c, d, e, f)"
    assert _told("new", names) == "7 new (a, b, c, d, e, f …)"
    assert _told("loaded", names) == "7 loaded"
