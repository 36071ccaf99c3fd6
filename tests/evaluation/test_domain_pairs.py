from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from featx.evaluation.domain_pairs import (
    DomainPair,
    compare_pairs,
    crossed_interval,
    describe_pairs,
)
from featx.evaluation.scores import interval

PAIRS = [("photo", "sketch"), ("sketch", "photo")]


def pair(source: Any, target: Any, spec: str = "deep", alignment: str = "none") -> DomainPair:
    """Two pairs and two seeds with these accuracies, of four equally frequent classes."""
    source, target = (np.broadcast_to(np.asarray(part, float), (2, 2)) for part in (source, target))
    return DomainPair(spec, alignment, PAIRS, source, target, source, np.full((2, 2), 0.25), 0.5)


def test_points_lost_and_share_kept_are_those_of_the_definition() -> None:
    rows = pair(0.9, 0.4).rows(*[pair(0.9, 0.4)] * 2)
    assert [row["points_lost"] for row in rows] == pytest.approx([50.0] * 3)
    assert [row["share_kept"] for row in rows] == pytest.approx([0.15 / 0.65] * 3)


def test_the_average_is_compared_to_the_best_on_the_same_pairs_and_seeds() -> None:
    noise = [[0.0, 0.1], [0.2, 0.3]]
    found, best = pair(0.9, noise), pair(0.9, np.add(noise, 0.25), "best")
    average, *pairs = found.rows(found, best)
    ends = [average[f"difference{end}"] for end in ("", "_low", "_high")]
    assert ends == pytest.approx([0.25] * 3)
    assert all("difference" not in row for row in pairs)


def test_the_share_of_the_average_is_the_share_of_the_sums() -> None:
    found = pair([[0.95, 0.95], [0.35, 0.35]], [[0.6, 0.6], [0.35, 0.35]])
    assert found.rows(found, found)[0]["share_kept"] == pytest.approx((0.35 + 0.1) / (0.7 + 0.1))


def test_there_is_no_share_of_what_is_no_better_than_chance() -> None:
    found = pair(0.25, 0.3)
    assert {row["share_kept"] for row in found.rows(found, found)} == {None}
    both = [found, replace(found, alignment="coral")]
    other = [replace(each, spec="hog") for each in both]
    assert "deep and hog is no better than chance" in " ".join(describe_pairs([*both, *other]))


def test_chance_is_that_of_each_domain() -> None:
    found = replace(pair(0.9, 0.6), chance=np.array([[0.5, 0.2], [0.2, 0.5]]))
    assert found.rows(found, found)[1]["share_kept"] == pytest.approx(0.4 / 0.4)


def test_an_interval_of_pairs_that_differ_is_wider_than_that_of_seeds_that_do() -> None:
    noise = np.random.default_rng(0).normal(size=40)
    of_pairs = crossed_interval(np.repeat(noise[:12, None], 40, axis=1))
    of_seeds = crossed_interval(np.repeat(noise[None], 12, axis=0))
    assert of_pairs.high - of_pairs.low > 1.4 * (of_seeds.high - of_seeds.low)


def test_the_crossed_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    n_covered = 0
    for _ in range(200):
        values = rng.normal(size=(12, 1)) + rng.normal(size=(1, 5)) / 4 + rng.normal(size=(12, 5))
        found = crossed_interval(values)
        n_covered += found.low <= 0 <= found.high
    assert 0.88 <= n_covered / 200 <= 1


def test_two_domains_have_the_interval_of_their_seeds() -> None:
    values = np.random.default_rng(0).normal(size=(2, 5))
    assert crossed_interval(values, test_share=0.5) == interval(values.mean(0), test_share=0.5)


def test_the_share_has_an_interval_as_wide_as_that_of_drawn_ratios() -> None:
    rng = np.random.default_rng(0)
    source = rng.uniform(0.7, 0.9, (12, 5))
    target = 0.25 + 0.4 * (source - 0.25) + rng.normal(0, 0.05, (12, 5))
    found = DomainPair("deep", "none", PAIRS, source, target, source, np.full((12, 2), 0.25), 0.5)
    drawn = []
    for _ in range(1000):
        cells = np.ix_(rng.integers(12, size=12), rng.integers(5, size=5))
        drawn.append((target[cells] - 0.25).mean() / (source[cells] - 0.25).mean())
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert found.interval(found.kept)[1:] == pytest.approx((low, high), abs=0.01)


def test_two_seeds_that_disagree_leave_differences_within_a_hundred_points() -> None:
    target, source = np.array([[0.1, 0.9]] * 2), np.array([[0.9, 0.5]] * 2)
    found = DomainPair("deep", "none", PAIRS, source, target, source, np.full((2, 2), 0.25), 0.5)
    other = replace(found, target=source)

    ahead, lost = found.ahead(other), found.points(found.lost)

    assert (ahead.low, ahead.high, lost.low, lost.high) == (-100, 100, -100, 100)


def test_one_seed_gives_a_pair_no_interval() -> None:
    parts = [np.full((2, 1), 0.5)] * 3
    found = DomainPair("deep", "none", PAIRS, *parts, np.full((2, 2), 0.25), 0.5)
    assert [found.rows(found, found)[1][name] for name in ("low", "points_lost_high")] == [
        None,
        None,
    ]


def test_the_words_say_why_strong_features_lose_more() -> None:
    strong, weak = pair(0.9, 0.4), pair(0.5, 0.3, "bovw:surf")
    moved = [replace(found, alignment="coral") for found in (strong, weak)]
    said = describe_pairs([weak, moved[1], strong, moved[0]])
    assert said[1].startswith(
        "Target accuracy: bovw:surf is 10.0 points (10.0 to 10.0) behind deep"
    )
    assert said[2] == (
        "Points lost: deep 50.0, bovw:surf 20.0; deep loses more and starts higher, 0.900 against "
        "0.500 within the source."
    )
    assert said[3].endswith("deep 0.23, bovw:surf 0.20; deep keeps more.")


def test_the_words_say_what_coral_adds_and_takes() -> None:
    plain = [pair(0.9, 0.4), pair(0.9, 0.5, "hog")]
    moved = [pair(0.9, 0.5, "deep", "coral"), pair(0.9, 0.4, "hog", "coral")]
    said = describe_pairs([plain[0], moved[0], plain[1], moved[1]])
    assert "CORAL adds 10.0 points (10.0 to 10.0) to deep on the target." in said
    assert "CORAL takes 10.0 points (10.0 to 10.0) from hog on the target." in said


def test_the_words_name_no_folder_of_weights() -> None:
    spec = "cnn:net:-1,weights=../shared/weights/net.pth,pooling=gap"
    found = pair(0.9, 0.4, spec)
    said = " ".join(describe_pairs([found, replace(found, alignment="coral")]))
    assert "weights=net.pth,pooling=gap" in said
    assert "shared" not in said


def test_a_difference_that_seeds_and_pairs_dispute_is_called_chance() -> None:
    one, two = pair(0.9, [[0.4, 0.6], [0.6, 0.4]]), pair(0.9, 0.5, "hog")
    moved = [replace(found, alignment="coral") for found in (one, two)]
    assert "chance alone may" in describe_pairs([one, moved[0], two, moved[1]])[1]


def test_differences_pair_features_of_one_alignment() -> None:
    strong, weak = pair(0.9, 0.4), pair(0.5, 0.3, "hog")
    aligned = replace(weak, alignment="coral")
    (found,) = compare_pairs([strong, weak, aligned])
    assert (found["spec"], found["than"]) == ("deep", "hog")
    assert found["target_points"] == pytest.approx(10)
    assert found["points_lost_low"] == pytest.approx(30)
    assert found["share_kept"] == pytest.approx(0.15 / 0.65 - 0.05 / 0.25)
