"""How often the printed 95 % intervals hold the true accuracy, and the true difference.

    python scripts/check_intervals.py --rounds 400

Images are drawn from a known world (normal clouds), so that accuracy and difference of two feature
sets can be measured on 4,000 further images. The truth is the mean over training sets of the size
that a protocol trains on. Each round draws new images, splits them by a protocol, fits probes, and
asks `SplitScores` for its intervals, as `featx probe` and `featx compare` do. Printed besides are
Student's interval over splits with the correction of Nadeau and Bengio (2003), and the mean widths.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from featx import LinearProbe
from featx.evaluation.protocols import Protocol, Split
from featx.evaluation.scores import interval
from featx.evaluation.split_scores import SplitScores, fit_split

Array = npt.NDArray[np.float32]
Drawn = tuple[Array, Array, npt.NDArray[np.str_]]

WORLDS: dict[str, tuple[int, int, float]] = {
    "hard": (2, 20, 1.2),
    "medium": (5, 50, 4.0),
    "easy": (10, 100, 5.0),
    "solved": (5, 50, 7.0),
}
"""Classes, columns, and how far the clouds lie from their mean."""
SIZES = (40, 100, 300)
PROTOCOLS = ("cv", "random", "holdout")


class World:
    """Clouds of images with two feature sets, the second less noisy than the first."""

    def __init__(self, n_classes: int, n_columns: int, distance: float) -> None:
        middles = np.random.default_rng(7).normal(size=(n_classes, n_columns))
        self.middles = distance * middles / np.linalg.norm(middles, axis=1, keepdims=True)

    def draw(self, n: int, rng: np.random.Generator) -> Drawn:
        """Both feature sets and the labels of new images."""
        codes = np.arange(n) % len(self.middles)
        X = self.middles[codes] + rng.normal(size=(n, self.middles.shape[1]))
        other = 0.85 * self.middles[codes] + rng.normal(size=X.shape)
        return X.astype(np.float32), (0.7 * (X + other)).astype(np.float32), codes.astype(str)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args(sys.argv[1:])
    print(f"{'':22} {'truth':>6} {'covered':>8} {'width':>6} {'Student':>8} {'width':>6}   "
          f"{'differ':>6} {'covered':>8} {'width':>6}")  # fmt: skip
    totals = []
    for name, n, protocol in itertools.product(WORLDS, SIZES, PROTOCOLS):
        found = simulate(World(*WORLDS[name]), n, protocol, arguments.rounds)
        totals.append(found)
        print(f"{name:8} {n:4} {protocol:8} {_row(found)}", flush=True)
    means = np.nanmean(totals, axis=0).tolist()
    print(f"{'mean':22} {_row(means)}")
    lowest = np.nanmin(totals, axis=0)
    print(f"lowest coverage: accuracy {lowest[1]:.1f} %, difference {lowest[6]:.1f} %")


def simulate(world: World, n: int, protocol: str, n_rounds: int) -> list[float]:
    """Truth, coverage in percent and width of the accuracy, of Student's, of the difference."""
    rng = np.random.default_rng(1)
    fresh = world.draw(4000, np.random.default_rng(99))
    rounds = [_one_round(world.draw(n, rng), fresh, protocol, rng) for _ in range(n_rounds)]
    scores, others, truths, other_truths = map(list, zip(*rounds, strict=True))
    truth, difference = np.mean(truths), np.mean(truths) - np.mean(other_truths)
    plain = [found.interval for found in scores]
    tests = [found.compared_to(other) for found, other in zip(scores, others, strict=True)]
    student = [interval(found.accuracies, test_share=found.test_share) for found in scores]
    covered = _coverage([(low, high) for _, low, high in plain], truth)
    of_student = _coverage([(low, high) for _, low, high in student], truth)
    if protocol == "holdout":
        of_student = [np.nan, np.nan]
    of_pairs = _coverage([(test.low, test.high) for test in tests], difference)
    return [float(truth), *covered, *of_student, float(difference), *of_pairs]


def _one_round(
    drawn: Drawn, fresh: Drawn, protocol: str, rng: np.random.Generator
) -> tuple[SplitScores, SplitScores, float, float]:
    X, other, labels = drawn
    folds = _folds(labels, protocol, int(rng.integers(2**31)))
    parts = [
        [fit_split(LinearProbe(C=0.1), rows, labels, fold) for fold in folds] for rows in (X, other)
    ]
    scores, others = (SplitScores.of(fitted, folds) for fitted in parts)
    truth, other_truth = (
        float(np.mean([(part.model.predict(new) == fresh[2]).mean() for part in fitted]))
        for fitted, new in zip(parts, fresh[:2], strict=True)
    )
    return scores, others, truth, other_truth


def _folds(labels: npt.NDArray[np.str_], protocol: str, seed: int) -> list[Split]:
    if protocol == "holdout":
        half = len(labels) // 2
        return [(np.arange(half), np.arange(half, len(labels)))]
    return Protocol(protocol, splits=protocol, random_state=seed).split(labels)


def _coverage(ends: list[tuple[float, float]], truth: float) -> list[float]:
    low, high = np.array(ends).T
    return [100 * float(np.mean((low <= truth) & (truth <= high))), float(np.mean(high - low))]


def _row(found: Sequence[float]) -> str:
    truth, covered, width, of_student, width_student, difference, of_pairs, width_pairs = found
    return (f"{truth:6.3f} {covered:8.1f} {width:6.3f} {of_student:8.1f} {width_student:6.3f}   "
            f"{difference:+6.3f} {of_pairs:8.1f} {width_pairs:6.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
