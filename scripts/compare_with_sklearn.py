"""What `featx compare` finds beside plain scikit-learn code on the same features and splits.

    python scripts/compare_with_sklearn.py photos -e hog -e bovw:surf --train-per-class 40

Plain code: StandardScaler and LogisticRegressionCV with the same grid, C chosen on a fifth of the
training images drawn by scikit-learn itself. Prints both accuracies and their difference.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import featx
from featx.evaluation.candidates import gather_candidates
from featx.evaluation.protocols import Protocol, find_protocol
from featx.evaluation.split_scores import make_probe, score_splits
from featx.store.feature_store import FeatureStore
from featx.streaming.progress import ProgressCallback


def main(argv: list[str] | None = None) -> None:
    """Print a line for each feature set."""
    args = parse(argv)
    dataset = featx.load_dataset(args.data)
    rules = find_protocol(
        args.protocol,
        dataset.splits,
        train_per_class=args.train_per_class,
        n_splits=args.n_splits,
    )
    gathered = gather_candidates(
        dataset,
        args.extractor,
        rules,
        store=FeatureStore(),
        has_controls=True,
        progress=ProgressCallback(),
    )
    labels = gathered.dataset.labels
    print(f"{'featx':>8}{'plain':>8}{'points':>8}  features ({len(gathered.folds)} splits)")
    for kind in gathered.kinds:
        ours, theirs = (
            score_splits(kind.features, labels, gathered.folds, model).accuracy
            for model in (make_probe(rules), plain(rules))
        )
        print(f"{ours:8.3f}{theirs:8.3f}{100 * (ours - theirs):+8.1f}  {kind.spec}", flush=True)


def plain(rules: Protocol) -> object:
    """Return what a user of scikit-learn would write."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    split = StratifiedShuffleSplit(1, test_size=0.2, random_state=0)
    model = LogisticRegressionCV(
        Cs=np.array(rules.grid),
        cv=split,
        max_iter=2000,
        l1_ratios=(0,),
        use_legacy_attributes=False,
        scoring="accuracy",
    )
    return make_pipeline(StandardScaler(), model)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the options of the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="images with classes")
    parser.add_argument("-e", "--extractor", action="append", required=True)
    parser.add_argument("--protocol")
    parser.add_argument("--train-per-class", type=int)
    parser.add_argument("--n-splits", type=int)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
