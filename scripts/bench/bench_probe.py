"""Choosing C: LinearProbe against scikit-learn's LogisticRegressionCV on the same features.

    python scripts/bench/bench_probe.py photos --n-rows 2000 -e cnn:alexnet:pool1,weights=random
    OMP_NUM_THREADS=1 python scripts/bench/bench_probe.py photos --n-rows 500 -e hog --folds 3

Both standardize the features, search the same grid with the same folds and fit all rows with the
best C. The tolerance given to scikit-learn is the largest power of ten at which its
probabilities, of a fit with our C, are within 1e-4 of ours. scikit-learn may take hours: with
`--reference-folds 1` it gets only one of the folds, and the ratio is a lower bound.

scikit-learn's solver also gets the rows in our coordinates, at most as many as there are rows;
the time of the rotation is included. All times are the processor's, which other processes hardly
change.
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
from featx.evaluation.linear_probe import LinearProbe
from featx.evaluation.regularization import inner_folds
from featx.evaluation.row_space import RowSpace

AGREED = 1e-4
MAX_ITER = 100_000


def main(argv: list[str] | None = None) -> None:
    """Print one line a step, and the ratio."""
    args = parse(argv)
    X, y = load_features(args)
    grid = np.logspace(args.lowest, args.lowest + 9, args.n_grid)
    print(f"{X.shape[0]:,} x {X.shape[1]:,} features, {len(set(y))} classes, "
          f"{len(grid)} C from {grid[0]:g} to {grid[-1]:g}, {args.folds} folds")  # fmt: skip
    started = time.process_time()
    probe = LinearProbe(grid=grid, validation=args.folds, metric="accuracy").fit(X, y)
    ours = time.process_time() - started
    print(f"LinearProbe: {ours:.1f} s, C = {probe.C_:g}, converged: {probe.converged_}", flush=True)

    wide = X.astype(np.float64)  # in float32 scikit-learn stops a thousandth short
    Z = StandardScaler().fit_transform(wide)
    tol = args.tol or agreed_tolerance(Z, y, probe.C_, probe.predict_proba(X))
    codes = np.unique(y, return_inverse=True)[1]
    held_out = inner_folds(codes, args.folds, 0)[: args.reference_folds]
    reference = LogisticRegressionCV(
        Cs=grid,
        cv=[(np.flatnonzero(~out), np.flatnonzero(out)) for out in held_out],
        tol=tol,
        max_iter=MAX_ITER,
        l1_ratios=(0,),
        use_legacy_attributes=False,
        scoring="accuracy",
    )
    for name in (
        ("the rotated rows",) if args.skip_features else ("the rotated rows", "all features")
    ):
        started = time.process_time()
        rows = RowSpace.fit(X).rows if name == "the rotated rows" else Z
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            reference.fit(rows, y)
        print(f"LogisticRegressionCV on {name}, tol {tol:g}, {len(held_out)} folds:")
        report(probe, reference, X, rows, ours, time.process_time() - started, grid)


def report(
    probe: LinearProbe,
    reference: LogisticRegressionCV,
    X: np.ndarray,
    Z: np.ndarray,
    ours: float,
    theirs: float,
    grid: np.ndarray,
) -> None:
    """Print times, agreement and ratio."""
    scores = np.asarray(reference.scores_).reshape(-1, len(grid))
    n_folds = len(scores)
    difference = np.abs(scores - probe.scores_[:n_folds]).max()
    C = float(np.ravel(reference.C_)[0])
    our_C = grid[probe.scores_[:n_folds].mean(0).argmax()]
    print(f"    {theirs:.1f} s, C = {C:g} (ours on these folds {our_C:g}); "
          f"accuracies differ by at most {difference:.4f}")  # fmt: skip
    if probe.C_ == C:
        deviation = np.abs(reference.predict_proba(Z) - probe.predict_proba(X)).max()
        agree = (reference.predict(Z) == probe.predict(X)).mean()
        print(f"    probabilities differ by at most {deviation:.1e}, predictions agree {agree:.1%}")
    print(
        f"    ratio {'at least ' * (n_folds < len(probe.scores_))}{theirs / ours:.1f}", flush=True
    )


def load_features(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Return features and labels: of images, or of scikit-learn's digits widened by products."""
    if args.data is None:
        X, y = load_digits(return_X_y=True)
        rng = np.random.default_rng(0)
        wide = np.tanh(X @ rng.normal(size=(64, args.n_columns)) / 16)
        return wide[: args.n_rows].astype(np.float32), y[: args.n_rows].astype(str)
    dataset = featx.load_dataset(args.data)
    rng = np.random.default_rng(0)
    indices = np.sort(rng.permutation(len(dataset))[: args.n_rows])
    features = featx.extract(dataset.take(indices.tolist()), args.extractor)
    return np.ascontiguousarray(features.X), features.labels


def agreed_tolerance(Z: np.ndarray, y: np.ndarray, C: float, minimum: np.ndarray) -> float:
    """Return the largest tolerance at which scikit-learn's probabilities are those of `minimum`."""
    for power in range(-4, -11, -1):
        started = time.process_time()
        model = LogisticRegression(C=C, tol=10.0**power, max_iter=MAX_ITER).fit(Z, y)
        deviation = np.abs(model.predict_proba(Z) - minimum).max()
        seconds = time.process_time() - started
        print(f"LogisticRegression, tol 1e{power}: {seconds:.1f} s, {model.n_iter_[0]} steps, "
              f"largest difference {deviation:.1e}", flush=True)  # fmt: skip
        if deviation < AGREED:
            break
    return 10.0**power


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the options of the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", help="images with classes; by default digits, widened")
    parser.add_argument("-e", "--extractor", default="cnn:alexnet:pool1,weights=random")
    parser.add_argument("--n-rows", type=int, default=2000)
    parser.add_argument("--n-columns", type=int, default=46_656, help="of the widened digits")
    parser.add_argument("--n-grid", type=int, default=10)
    parser.add_argument("--lowest", type=float, default=-6, help="power of ten of the smallest C")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--reference-folds", type=int, help="folds that scikit-learn gets")
    parser.add_argument(
        "--tol", type=float, help="tolerance of scikit-learn, instead of a search for it"
    )
    parser.add_argument("--skip-features", action="store_true", help="fit only the rotated rows")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
