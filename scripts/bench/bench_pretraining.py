"""Convolutions of an autoencoder against random ones and against training all, on few labels.

    python scripts/bench/bench_pretraining.py torchvision:MNIST autoencoder.safetensors

prints accuracy on the test split for each seed, and the paired tests between the three.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
from scipy.stats import ttest_rel

from featx import load_dataset
from featx.data.datasets import ImageDataset
from featx.evaluation.scores import interval
from featx.finetuning.experiment import finetune


def main() -> None:
    arguments = parse(sys.argv[1:])
    data = choose(arguments.data, arguments.pool)
    ways: dict[str, dict[str, Any]] = {
        "autoencoder's convolutions, frozen": {"weights": arguments.weights, "load": "conv*"},
        "random convolutions, frozen": {"weights": "random", "train": "fc1"},
        "all trained from random": {"weights": "random", "train": "all"},
    }
    found = {name: measure(data, way, arguments) for name, way in ways.items()}
    for name, accuracies in found.items():
        mean, low, high = interval(accuracies)
        listed = " ".join(f"{value:.4f}" for value in accuracies)
        print(f"{name}: {mean:.4f} [{low:.4f}, {high:.4f}] ({listed})")
    first, *others = found
    for name in others:
        difference = np.mean(found[first]) - np.mean(found[name])
        p_value = ttest_rel(found[first], found[name]).pvalue
        print(f"{first} - {name}: {difference:+.4f}, p = {p_value:.2g}")


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("weights")
    parser.add_argument("--per-class", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--validation", type=float, default=0.2)
    parser.add_argument("--augment", default="none")
    parser.add_argument("--pool", type=int, default=10_000, help="training images to draw from")
    return parser.parse_args(words)


def choose(name: str, n_pool: int) -> ImageDataset:
    """All test images, and the first of the training images."""
    data = load_dataset(name)
    indices = np.concatenate([data.split("train")[:n_pool], data.split("test")])
    return data.take(indices)


def measure(data: ImageDataset, way: dict[str, Any], arguments: argparse.Namespace) -> list[float]:
    result = finetune(
        data,
        "lenet",
        train_per_class=arguments.per_class,
        seeds=arguments.seeds,
        head_epochs=arguments.epochs,
        epochs=arguments.epochs,
        validation=arguments.validation,
        augment=arguments.augment,
        flip=False,
        **way,
    )
    accuracies: list[float] = result.rows[0]["accuracies"]
    return accuracies


if __name__ == "__main__":
    main()
