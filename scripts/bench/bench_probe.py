"""Choosing C: LinearProbe against scikit-learn's LogisticRegressionCV on the same features.

    python scripts/bench/bench_probe.py photos --n-rows 2000 -e cnn:alexnet:pool1,weights=random

Both standardise the features, sweep the same grid with the same folds and fit all rows with the
best C. The tolerance given to scikit-learn is the largest power of ten at which its
probabilities, of a fit with that C, are within 1e-4 of the minimum; ours are compared to it, too.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.preprocessing import StandardScaler

import featx
from featx.probing import LinearProbe
from featx.probing.folds import inner_folds

AGREED = 1e-4
MAX_ITER = 100_000


def main(argv: list[str] | None = None) -> None:
    """Print one line a step, and the ratio."""
    args = parse(argv)
    X, y = features(args)
    grid = np.logspace(args.lowest, args.lowest + 9, args.n_grid)
    print(f"{X.shape[0]:,} x {X.shape[1]:,} features, {len(set(y))} classes, "
          f"{len(grid)} C from {grid[0]:g} to {grid[-1]:g}, {args.folds} folds")  # fmt: skip
    started = time.perf_counter()
    probe = LinearProbe(grid=grid, validation=args.folds).fit(X, y)
    ours = time.perf_counter() - started
    print(f"LinearProbe: {ours:.1f} s, C = {probe.C_:g}, converged: {probe.converged_}", flush=True)

    wide = X.astype(np.float64)  # in float32 scikit-learn stops a thousandth short
    scaler = StandardScaler().fit(wide)
    tol = agreed_tolerance(scaler.transform(wide), y, probe.C_, probe.predict_proba(X))
    started = time.perf_counter()
    Z = StandardScaler().fit_transform(wide)
    codes = np.unique(y, return_inverse=True)[1]
    folds = [
        (np.flatnonzero(~out), np.flatnonzero(out)) for out in inner_folds(codes, args.folds, 0)
    ]
    reference = LogisticRegressionCV(
        Cs=grid,
        cv=folds,
        tol=tol,
        max_iter=MAX_ITER,
        l1_ratios=(0,),
        use_legacy_attributes=False,
        scoring="accuracy",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        reference.fit(Z, y)
    theirs = time.perf_counter() - started
    found = float(np.ravel(reference.C_)[0])
    deviation = np.abs(reference.predict_proba(Z) - probe.predict_proba(X)).max()
    agree = (reference.predict(Z) == probe.predict(X)).mean()
    print(f"LogisticRegressionCV, tol {tol:g}: {theirs:.1f} s, C = {found:g}")
    print(f"largest difference of a probability {deviation:.1e}, predictions agree {agree:.2%}")
    print(f"ratio {theirs / ours:.1f}")


def features(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Return features and labels: of pictures, or of scikit-learn's digits widened by products."""
    if args.data is None:
        X, y = load_digits(return_X_y=True)
        rng = np.random.default_rng(0)
        wide = np.tanh(X @ rng.normal(size=(64, args.n_columns)) / 16)
        return wide[: args.n_rows].astype(np.float32), y[: args.n_rows].astype(str)
    dataset = featx.load_dataset(args.data)
    found = featx.extract(dataset.take(range(min(args.n_rows, len(dataset)))), args.extractor)
    return np.ascontiguousarray(found.X), found.labels


def agreed_tolerance(Z: np.ndarray, y: np.ndarray, C: float, minimum: np.ndarray) -> float:
    """Return the largest tolerance at which scikit-learn's probabilities are those of `minimum`."""
    for power in range(-4, -11, -1):
        started = time.perf_counter()
        found = LogisticRegression(C=C, tol=10.0**power, max_iter=MAX_ITER).fit(Z, y)
        deviation = np.abs(found.predict_proba(Z) - minimum).max()
        seconds = time.perf_counter() - started
        print(f"LogisticRegression, tol 1e{power}: {seconds:.1f} s, {found.n_iter_[0]} steps, "
              f"largest difference {deviation:.1e}", flush=True)  # fmt: skip
        if deviation < AGREED:
            break
    return 10.0**power


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the options of the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", help="pictures with classes; by default digits, widened")
    parser.add_argument("-e", "--extractor", default="cnn:alexnet:pool1,weights=random")
    parser.add_argument("--n-rows", type=int, default=2000)
    parser.add_argument("--n-columns", type=int, default=46_656, help="of the widened digits")
    parser.add_argument("--n-grid", type=int, default=10)
    parser.add_argument("--lowest", type=float, default=-6, help="power of ten of the smallest C")
    parser.add_argument("--folds", type=int, default=5)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
