"""Measure the bundled network's layers on images it has never seen, beside everything else.

    python scripts/evaluate_featxnet.py --data flowers17 --data ants_bees --teacher teacher.pth

prints one row per feature set: the accuracy of logistic regression on them, averaged over
`--seeds` splits, and the purity of neighborhoods, the share of an image's ten nearest (cosine)
that are of its class. A folder with ``train`` and ``val`` inside is split as it is, another at
random, half of each class. With `--card`, the table is written into the model card as well.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from featxnet_card import as_table, write_card
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from featx.data.datasets import ImageDataset, load_dataset, train_test_indices
from featx.extractors.base import Extractor
from featx.extractors.bovw.bag_of_visual_words import BagOfVisualWords
from featx.extractors.cnn import CNNFeatures
from featx.extractors.color import MeanColor
from featx.extractors.hog import HOG
from featx.extractors.pixels import RawPixels
from featx.networks.featxnet import load_card, weights_path

LAYERS = ["conv1", "pool1", "pool2", "relu_conv3", "relu_conv4", "relu_conv5", "pool5"]
LAYERS += ["fc6", "fc7", "fc8"]
TEACHER_LAYERS = ["pool1", "pool2", "pool3", "penultimate"]
N_NEIGHBOURS = 10
C = 0.1  # inverse strength of the regularization, on standardized features
KINDS = ["mean color", "raw pixels", "HOG", "SURF words", "SIFT words"]
KINDS += ["random weights", "featxnet", "teacher"]
Split = tuple[np.ndarray, np.ndarray]


@dataclass
class Row:
    """One feature set and what was measured with it, per data set."""

    name: str
    accuracy: dict[str, float]
    interval: dict[str, float]
    purity: dict[str, float]


def splits(dataset: ImageDataset, n_seeds: int) -> list[Split]:
    """Return training and test places, one pair per seed."""
    if dataset.splits is not None:
        return [(dataset.split("train"), dataset.split("val"))] * n_seeds
    sizes = np.unique(dataset.labels, return_counts=True)[1]
    train_size = int(sizes.min()) // 2
    return [
        train_test_indices(dataset.labels, train_size=train_size, random_state=seed)
        for seed in range(n_seeds)
    ]


def accuracy(X: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray, seed: int) -> float:
    """Return the share of test images that logistic regression names rightly."""
    classifier = LogisticRegression(C=C, max_iter=2000, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = make_pipeline(StandardScaler(), classifier).fit(X[train], y[train])
    return float(model.score(X[test], y[test]))


def purity(X: np.ndarray, y: np.ndarray) -> float:
    """Return the share of each image's nearest others, by cosine, that are of its class."""
    found = NearestNeighbors(n_neighbors=N_NEIGHBOURS + 1, metric="cosine").fit(X).kneighbors(X)[1]
    others = [near[near != i][:N_NEIGHBOURS] for i, near in enumerate(found)]
    return float(np.mean(y[np.array(others)] == y[:, None]))


def features(
    extractor: Extractor, dataset: ImageDataset, parts: list[Split]
) -> Iterator[np.ndarray]:
    """Yield the features of all images once per split; codebooks learn on its training part."""
    if not isinstance(extractor, BagOfVisualWords):
        yield from [extractor.fit_transform(dataset.images)] * len(parts)
        return
    for seed, (train, _) in enumerate(parts):
        extractor.set_params(random_state=seed).fit(dataset.take(train).images)
        yield extractor.transform(dataset.images)


def measure(
    rows: dict[str, slice], extractor: Extractor, dataset: ImageDataset, n_seeds: int
) -> dict[str, tuple[float, float, float]]:
    """Return accuracy, half its 95 % interval, and purity for each named range of columns."""
    y, parts = np.asarray(dataset.labels), splits(dataset, n_seeds)
    matrices = list(features(extractor, dataset, parts))
    found = {}
    for name, columns in rows.items():
        scores = [
            accuracy(X[:, columns], y, *part, seed)
            for seed, (X, part) in enumerate(zip(matrices, parts))
            if seed == 0 or X is not matrices[0] or not np.array_equal(part[0], parts[0][0])
        ]
        mean = float(np.mean(scores))
        half = 1.96 * np.sqrt(mean * (1 - mean) / len(parts[0][1]))
        found[name] = (mean, float(half), purity(matrices[0][:, columns], y))
    return found


def contenders(args: argparse.Namespace, store: str) -> Iterator[tuple[str, Extractor, list[str]]]:
    """Yield name, extractor and layers of everything that is compared."""
    classical: dict[str, Extractor] = {
        "mean color": MeanColor(),
        "raw pixels": RawPixels(),
        "HOG": HOG(),
        "SURF words": BagOfVisualWords("surf", store=store),
        "SIFT words": BagOfVisualWords("sift", store=store),
    }
    networks: dict[str, tuple[str, Any, list[str]]] = {
        "random weights": ("featxnet", "random", LAYERS),
        "featxnet": ("featxnet", args.weights, LAYERS),
        "teacher": (args.teacher_name, args.teacher, TEACHER_LAYERS),
    }
    for kind in args.only or KINDS:
        if kind in classical:
            yield kind, classical[kind], []
        elif networks[kind][1]:
            model, weights, layers = networks[kind]
            yield kind, CNNFeatures(model, layers, weights=weights, pooling="gap"), layers


def columns(name: str, extractor: Extractor, layers: list[str]) -> dict[str, slice]:
    """Return which columns belong to which row of the table."""
    if not layers:
        return {name: slice(None)}
    ends = np.cumsum([extractor.n_features(layer) for layer in layers])
    starts = [0, *ends[:-1]]
    return {f"{name} {layer}": slice(a, b) for layer, a, b in zip(layers, starts, ends)}


def table(args: argparse.Namespace) -> list[Row]:
    """Return every row, telling each on stderr as it comes."""
    datasets = {Path(path).name: load_dataset(path) for path in args.data}
    rows: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as store:
        for name, extractor, layers in contenders(args, store):
            for task, dataset in datasets.items():
                named = columns(name, extractor, layers)
                for key, found in measure(named, extractor, dataset, args.seeds).items():
                    row = rows.setdefault(key, Row(key, {}, {}, {}))
                    row.accuracy[task], row.interval[task], row.purity[task] = found
                    print(f"{task}: {key} {found[0]:.3f}", file=sys.stderr, flush=True)
    return list(rows.values())


def merge(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return old rows that were not measured again and new ones, in the order of `KINDS`."""
    rows = {row["name"]: row for row in [*old, *new]}.values()
    return sorted(
        rows, key=lambda row: [row["name"].startswith(kind) for kind in KINDS].index(True)
    )


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the options of the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", action="append", required=True, help="folder with one folder per class")
    add("--weights", type=Path, default=weights_path())
    add("--teacher", type=Path, help="weights of the teacher, to measure it too")
    add("--teacher-name", default="squeezenet1_0")
    add("--seeds", type=int, default=5)
    add("--only", action="append", choices=KINDS, help="measure only this; may be repeated")
    add("--card", action="store_true", help="write the table into the model card")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Measure, print, and keep the table in the card where that is wanted."""
    args = parse(argv)
    rows = [vars(row) for row in table(args)]
    print(as_table(rows))
    if args.card:
        rounded = json.loads(json.dumps(rows), parse_float=lambda x: round(float(x), 4))
        joined = merge(load_card().get("table", []), rounded)
        write_card(load_card() | {"table": joined}, weights_path().with_suffix(".json"))


if __name__ == "__main__":
    main()
