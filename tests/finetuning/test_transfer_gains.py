from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import t

from featx.finetuning.transfer_gains import _read_curve, curve_of, describe_gains, measure_gains


def curve(name: str, *accuracies: float | None, seed: int = 0) -> dict[str, Any]:
    return curve_of(name, seed, [{"valid_acc": value} for value in accuracies])


def test_gains_are_differences_of_start_slope_and_asymptote() -> None:
    curves = [curve("scratch", 0.5, 0.6, 0.7, 0.7, 0.7, seed=seed) for seed in (0, 1)]
    curves += [curve("head", 0.8, 0.9, 0.9, 0.9, 0.9, seed=seed) for seed in (0, 1)]

    gains = {row["gain"]: row for row in measure_gains(curves)}

    assert gains["start"]["mean"] == pytest.approx(0.3)
    assert gains["asymptote"]["mean"] == pytest.approx(0.2)
    assert gains["slope"]["mean"] == pytest.approx(0.0)
    assert gains["start"]["n_runs"] == 2


def test_interval_is_students_over_the_seeds_that_both_have() -> None:
    pairs = [(0.5, 0.6), (0.5, 0.7), (0.6, 0.7)]
    curves = [curve("scratch", low, seed=seed) for seed, (low, _) in enumerate(pairs)]
    curves += [curve("head", high, seed=seed) for seed, (_, high) in enumerate(pairs)]

    row = measure_gains([*curves, curve("head", 0.0, seed=9)])[0]

    gains = np.diff(pairs).ravel()
    expected = t.interval(0.95, 2, gains.mean(), gains.std(ddof=1) / np.sqrt(3))
    assert (row["low"], row["high"]) == pytest.approx(expected)
    assert row["n_runs"] == 3


@pytest.mark.parametrize(("scratch", "full"), [((0.5,), (0.5, 0.6)), ((0.5, 0.6), (0.5,))])
def test_one_epoch_of_either_has_no_slope_to_compare(scratch: Any, full: Any) -> None:
    gains = measure_gains([curve("scratch", *scratch), curve("full", *full)])

    assert [row["gain"] for row in gains] == ["start", "asymptote"]


def test_curves_without_validation_accuracy_are_left_out() -> None:
    assert measure_gains([curve("scratch", 0.5), curve("head", None)]) == []
    assert measure_gains([curve("scratch", None), curve("head", 0.5)]) == []


@pytest.mark.parametrize("accuracies", [[0.5, 0.5], [0.9, 0.5, 0.3], [0.7]])
def test_curve_that_does_not_rise_has_no_slope(accuracies: list[float]) -> None:
    assert _read_curve(accuracies)["slope"] == 0


def test_slope_is_measured_until_nine_tenths_of_the_rise() -> None:
    read = _read_curve([0.0, 0.5, 0.95, 1.0, 1.0, 1.0])

    assert read["slope"] == pytest.approx(0.95 / 2)


def test_sentence_says_every_gain_of_a_curve_with_its_sign() -> None:
    sentences = describe_gains(measure_gains([curve("scratch", 0.5), curve("head", 0.25)]))

    (sentence,) = sentences
    assert sentence.startswith("head against scratch: start -0.250 [-0.250, -0.250], asymptote")
