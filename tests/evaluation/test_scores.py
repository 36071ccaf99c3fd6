"""Intervals and tests: against SciPy, by hand, and by how often they are right."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import classification_report

from featx.evaluation.scores import (
    bootstrap_interval,
    interval,
    mcnemar,
    paired_test,
    per_class,
)


def test_interval_is_students() -> None:
    values = [0.5, 0.7, 0.6, 0.9]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))

    found = interval(values)

    assert found == pytest.approx((np.mean(values), low, high))


def test_shared_training_images_widen_the_interval() -> None:
    values = [0.5, 0.7, 0.6, 0.9]
    narrow, wide = interval(values), interval(values, test_share=0.25)

    assert wide.high - wide.mean == pytest.approx(np.sqrt(2) * (narrow.high - narrow.mean))


def test_bootstrap_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    found = [bootstrap_interval(rng.random(200) < 0.7) for _ in range(200)]

    covered = np.mean([low <= 0.7 <= high for _, low, high in found])

    assert 0.89 < covered < 0.99


def test_bootstrap_of_classes_is_the_mean_of_their_shares() -> None:
    is_right, groups = np.array([1, 1, 1, 1, 0, 1]), np.array(list("aaaabb"))

    assert bootstrap_interval(is_right, groups).mean == pytest.approx(0.75)


def test_all_right_is_no_certainty() -> None:
    found = bootstrap_interval(np.ones(20, bool))
    low, _ = stats.binomtest(20, 20).proportion_ci(method="wilson")

    assert found.mean == found.high == 1
    assert found.low == pytest.approx(low)


def test_paired_test_without_correction_is_scipys() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(8), rng.random(8)

    assert paired_test(a, b).p_value == pytest.approx(stats.ttest_rel(a, b).pvalue)


def test_same_accuracies_are_tied() -> None:
    found = paired_test([0.5, 0.7], [0.5, 0.7])

    assert found.is_tied
    assert found.difference == 0


def test_constant_difference_is_no_tie() -> None:
    assert not paired_test([0.75, 0.75], [0.5, 0.5]).is_tied


def test_one_split_says_nothing_of_a_difference() -> None:
    assert paired_test([0.9], [0.1]).p_value == 1


def test_mcnemar_is_the_sign_test_of_those_that_differ() -> None:
    first = np.array([True] * 9 + [False] * 1 + [True] * 20)
    second = np.array([False] * 9 + [True] * 1 + [True] * 20)

    found = mcnemar(first, second)

    assert found.p_value == pytest.approx(stats.binomtest(9, 10).pvalue)
    assert found.difference == pytest.approx(8 / 30)
    assert found.low <= found.difference <= found.high


def test_mcnemar_of_equals_is_a_tie() -> None:
    is_right = np.array([True, False, True])

    assert mcnemar(is_right, is_right).p_value == 1


def test_per_class_is_scikit_learns_report() -> None:
    truth, predicted = np.array(list("aabbc")), np.array(list("abbba"))
    report = classification_report(truth, predicted, output_dict=True, zero_division=0)

    for row in per_class(truth, predicted):
        expected = report[row["class"]]
        assert (row["n"], row["recall"]) == (expected["support"], expected["recall"])
        assert (row["precision"], row["f1"]) == (expected["precision"], expected["f1-score"])


def test_bootstrap_interval_is_that_of_the_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=2000)
    _, low, high = bootstrap_interval(values)
    expected = 2 * 1.96 * values.std() / np.sqrt(2000)
    assert high - low == pytest.approx(expected, rel=0.1)


def test_bootstrap_repeats_under_its_seed() -> None:
    values = np.random.default_rng(0).random(50)
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert bootstrap_interval(values) != bootstrap_interval(values, random_state=1)


def test_one_value_for_all_is_a_point() -> None:
    assert bootstrap_interval(np.full(5, 0.25)) == (0.25, 0.25, 0.25)
