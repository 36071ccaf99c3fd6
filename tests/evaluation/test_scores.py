"""Intervals and tests: against SciPy, by hand, and by how often they are right."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import classification_report

from featx.evaluation.scores import (
    accuracy_interval,
    bootstrap_interval,
    interval,
    mcnemar,
    paired_test,
    per_class,
    resampled_variance,
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


def test_accuracy_has_wilsons_interval() -> None:
    expected = stats.binomtest(13, 20).proportion_ci(method="wilson")

    assert accuracy_interval(0.65, 20) == pytest.approx((0.65, expected.low, expected.high))


def test_all_correct_is_no_certainty() -> None:
    low, high = stats.binomtest(20, 20).proportion_ci(method="wilson")

    assert accuracy_interval(1.0, 20) == pytest.approx((1, low, high))
    assert accuracy_interval(0.0, 20) == pytest.approx((0, 1 - high, 1 - low))


@pytest.mark.parametrize("variance", [0.0, 1e-4, 0.05])
@pytest.mark.parametrize("accuracy", [0.0, 0.02, 0.5, 0.99, 1.0])
def test_interval_of_an_accuracy_is_one_of_accuracies(accuracy: float, variance: float) -> None:
    mean, low, high = accuracy_interval(accuracy, 30, variance)

    assert 0 <= low <= mean <= high <= 1
    assert low < high


def test_splits_that_disagree_widen_the_interval_and_those_that_agree_do_not_narrow_it() -> None:
    plain = accuracy_interval(0.8, 100)

    assert accuracy_interval(0.8, 100, 1e-9) == plain
    assert accuracy_interval(0.8, 100, 2 * 0.8 * 0.2 / 100) == accuracy_interval(0.8, 50)


def test_variance_over_splits_is_that_of_nadeau_and_bengio() -> None:
    values = [0.5, 0.7, 0.6, 0.9]

    found = resampled_variance(values, 0.25)

    assert found == pytest.approx((1 / 4 + 0.25) * np.var(values, ddof=1))
    assert resampled_variance([0.5], 0.25) == 0


def test_difference_has_newcombes_interval() -> None:
    # 1, 1, 7 and 12 of 21 patients before and after a transplantation: Fagerland, Lydersen and
    # Laake, "Statistical analysis of contingency tables", 2017, chapter 8.
    found = paired_test(2 / 21, 8 / 21, 1 / 21, 21)

    assert (found.difference, found.low, found.high) == pytest.approx(
        (-0.286, -0.507, -0.026), abs=5e-4
    )


def test_two_that_are_all_correct_are_not_surely_equal() -> None:
    found = paired_test(1.0, 1.0, 1.0, 50)

    assert found.high == -found.low == pytest.approx(1 - accuracy_interval(1.0, 50).low)
    assert found.is_tied


@pytest.mark.parametrize("variance", [0.0, 0.02])
@pytest.mark.parametrize("n", [5, 40, 1000])
def test_p_value_and_interval_of_a_difference_agree(n: int, variance: float) -> None:
    for first, second in [(1.0, 0.9), (0.7, 0.6), (0.62, 0.6), (0.0, 0.8), (1.0, 0.0), (0.5, 0.5)]:
        found = paired_test(first, second, first * second, n, variance)

        assert -1 <= found.low <= found.difference <= found.high <= 1
        assert found.is_tied == (found.low <= 0 <= found.high)
        mirrored = paired_test(second, first, first * second, n, variance)
        assert (-mirrored.high, -mirrored.low) == pytest.approx((found.low, found.high))
        assert mirrored.p_value == pytest.approx(found.p_value)


def test_mcnemar_is_the_sign_test_of_those_that_differ() -> None:
    first = np.array([True] * 9 + [False] * 1 + [True] * 20)
    second = np.array([False] * 9 + [True] * 1 + [True] * 20)

    assert mcnemar(first, second) == pytest.approx(stats.binomtest(9, 10).pvalue)
    assert mcnemar(first, first) == 1


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
