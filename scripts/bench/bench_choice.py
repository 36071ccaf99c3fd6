"""How C is chosen: regret of several rules against the best fixed C on test images.

    python scripts/bench/bench_choice.py ../shared/data/flowers17 ../shared/data/ants_bees \
        --weights ../shared/weights/squeezenet1_0-imagenet.pth

Each folder holds images by class; 60 drawn images of each of five classes are added. Features
are the bundled network's fc7, SqueezeNet's penultimate layer where its weights are given, and
HOG. Of the training images 5 % are left out at random, so that classes differ slightly in size,
as in real folders. The regret of a rule is the accuracy on all other images of the best strength
of the grid, minus that of the strength that the rule takes, in points: mean and (worst).

A rule's time is that of choosing and of the final fit, in turn with the first rule's.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegressionCV

import featx
from featx.evaluation.linear_probe import LinearProbe
from featx.evaluation.protocols import DEFAULT_GRID
from featx.evaluation.row_space import RowSpace

sys.path.append(str(Path(__file__).parents[1]))
from make_sample_images import make

GRID = np.array(DEFAULT_GRID)
MISSING = 0.05
N_DRAWN = 60


@dataclass(frozen=True)
class Setting:
    """Training and test rows of one draw."""

    data: str
    features: str
    per_class: int
    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


def accuracy_of_one_fifth(setting: Setting, kind: str) -> float:
    """Return the C of the best accuracy on a held-out fifth, of ties the smallest."""
    probe = LinearProbe(kind, validation=0.2, metric="accuracy").fit(setting.X, setting.y)
    return _first_best(probe)


def unit(setting: Setting, kind: str) -> float:
    """Return 1."""
    LinearProbe(kind, C=1.0).fit(setting.X, setting.y)
    return 1.0


def accuracy_of_folds(setting: Setting, kind: str) -> float:
    """Return the C of the best accuracy over five inner folds, of ties the smallest."""
    probe = LinearProbe(kind, validation=5, metric="accuracy").fit(setting.X, setting.y)
    return _first_best(probe)


def calibrated(setting: Setting, kind: str) -> float:
    """Return the C of the best log loss after a common temperature, without a prior."""
    return _first_best(LinearProbe(kind).fit(setting.X, setting.y))


def chosen(setting: Setting, kind: str) -> float:
    """Return what LinearProbe takes."""
    return float(LinearProbe(kind).fit(setting.X, setting.y).C_)


def scikit_learn(setting: Setting, kind: str, scoring: str = "accuracy") -> float:
    """Return the C of LogisticRegressionCV, five stratified folds, on the same rotated rows."""
    n_folds = int(max(2, min(5, np.unique(setting.y, return_counts=True)[1].min())))
    search = LogisticRegressionCV(
        Cs=GRID,
        l1_ratios=(0,),
        cv=n_folds,
        scoring=scoring,
        max_iter=1000,
        use_legacy_attributes=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UserWarning)  # Classes with fewer rows than folds.
        search.fit(RowSpace.fit(setting.X).rows, setting.y)
    return float(search.C_)


def log_loss_of_folds(setting: Setting, kind: str) -> float:
    """Return the C of LogisticRegressionCV by log loss."""
    return scikit_learn(setting, kind, "neg_log_loss")


RULES: dict[str, Callable[[Setting, str], float]] = {
    "accuracy, one fifth": accuracy_of_one_fifth,
    "C = 1": unit,
    "accuracy, 5 folds": accuracy_of_folds,
    "calibrated log loss": calibrated,
    "LinearProbe": chosen,
}
REFERENCES: dict[str, Callable[[Setting, str], float]] = {
    "LogisticRegressionCV": scikit_learn,
    "LogisticRegressionCV, log loss": log_loss_of_folds,
}


def main(argv: list[str] | None = None) -> None:
    """Print regrets and times."""
    args = parse(argv)
    has_references = args.classifier == "logistic" and not args.no_references
    rules = RULES | (REFERENCES if has_references else {})
    regrets: dict[tuple[str, int], list[float]] = {}
    seconds: dict[tuple[str, int], list[float]] = {}
    for setting in settings(args):
        accuracies = [
            LinearProbe(args.classifier, C=C)
            .fit(setting.X, setting.y)
            .score(setting.X_test, setting.y_test)
            for C in GRID
        ]
        for name, rule in rules.items():
            started = time.perf_counter()
            C = rule(setting, args.classifier)
            key = name, setting.per_class
            seconds.setdefault(key, []).append(time.perf_counter() - started)
            lost = max(accuracies) - accuracies[int(np.abs(GRID - C).argmin())]
            regrets.setdefault(key, []).append(100 * lost)
        if args.verbose:
            found = {name: round(regrets[name, setting.per_class][-1], 1) for name in rules}
            print(setting.data, setting.features, setting.per_class, found, flush=True)
    report(list(rules), args.sizes, regrets, seconds)


def settings(args: argparse.Namespace) -> Iterator[Setting]:
    """Yield each draw of training images of each size, data set and feature set."""
    specs = {"fc7": "cnn:featxnet:relu_fc7,pooling=gap", "HOG": "hog"}
    if args.weights:
        specs["SqueezeNet"] = f"cnn:squeezenet1_0:penultimate,pooling=gap,weights={args.weights}"
    with TemporaryDirectory() as folder:
        make(Path(folder), N_DRAWN)
        for source in [*args.data, Path(folder) / "photo"]:
            for name, spec in specs.items():
                rows = featx.extract(source, spec)
                for per_class in args.sizes:
                    for seed in range(args.seeds):
                        drawn = draw(rows.labels, per_class, seed)
                        if drawn is None:
                            continue
                        train, test = drawn
                        X, y = np.asarray(rows.X), np.asarray(rows.labels)
                        yield Setting(
                            source.name, name, per_class, X[train], y[train], X[test], y[test]
                        )


def draw(labels: Any, per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return training and test rows, or None where a class has not two images to spare."""
    labels = np.asarray(labels)
    rng = np.random.default_rng([per_class, seed])
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < per_class + 2:
        return None
    train = np.concatenate(
        [rng.permutation(np.flatnonzero(labels == name))[:per_class] for name in classes]
    )
    test = np.setdiff1d(np.arange(len(labels)), train)
    n_missing = max(1, round(MISSING * len(train)))
    return np.sort(rng.permutation(train)[n_missing:]), test


def report(
    rules: list[str],
    sizes: list[int],
    regrets: dict[tuple[str, int], list[float]],
    seconds: dict[tuple[str, int], list[float]],
) -> None:
    """Print one row for each rule: regrets, then times beside those of the first rule."""
    used = [size for size in sizes if (rules[0], size) in regrets]
    print("| training images per class |" + "".join(f" {size} |" for size in used))
    for name in rules:
        cells = [f" {np.mean(found):.1f} ({max(found):.1f}) |" for found in
                 (regrets[name, size] for size in used)]  # fmt: skip
        print(f"| {name} |" + "".join(cells))
    print("\nseconds, median; ratio to the first rule, median of pairs")
    for name in rules:
        print(f"| {name} |" + "".join(
            f" {statistics.median(seconds[name, size]):.2f} "
            f"({_ratio(seconds[name, size], seconds[rules[0], size]):.1f}x) |"
            for size in used))  # fmt: skip


def _ratio(mine: list[float], theirs: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(mine, theirs, strict=True))


def _first_best(probe: LinearProbe) -> float:
    means = np.nan_to_num(probe.scores_.mean(0), nan=-np.inf)
    return float(GRID[int(means.argmax())])


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the options of the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="*", type=Path, help="folders of images by class")
    parser.add_argument("--weights", type=Path, help="of SqueezeNet 1.0 on ImageNet")
    parser.add_argument("--classifier", default="logistic", choices=["logistic", "svm", "ridge"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[3, 5, 10, 20, 40])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--no-references", action="store_true", help="leave scikit-learn out")
    parser.add_argument("--verbose", action="store_true", help="print each draw")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
