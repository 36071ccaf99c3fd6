"""Batch norm frozen against adapting, with a stranger's ResNet-20 trained on CIFAR-10.

    python scripts/bench/bench_batch_norm.py DATA cifar10-resnet20-12fca82f.th --domains sketch

prints the distance of the images from CIFAR-10 by the network's own batch norm, and the
accuracy of a new head, and of all layers trained, with batch norm either way.
"""

from __future__ import annotations

import argparse
import sys
from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from scipy.stats import ttest_rel
from torch import nn
from torch.nn import functional

from featx import load_dataset
from featx.evaluation.scores import interval
from featx.finetuning.domain_shift import measure_distance
from featx.finetuning.experiment import finetune


class Block(nn.Module):
    """Residual block whose shortcut drops every other place and pads channels with zeros."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.stride, self.n_more = n_out // n_in, n_out - n_in
        self.conv1 = nn.Conv2d(n_in, n_out, 3, self.stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps of `n_out` channels."""
        inner = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(maps)))))
        kept = maps[:, :, :: self.stride, :: self.stride]
        half = self.n_more // 2
        return functional.relu(inner + functional.pad(kept, (0, 0, 0, 0, half, half)))


class ResNet20(nn.Module):
    """ResNet-20 for 32 px (He et al. 2016, section 4.2), under the checkpoint's names."""

    preprocessing = {"resize": 32, "crop": [32, 32]}

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        for i, (n_in, n_out) in enumerate([(16, 16), (16, 32), (32, 64)], 1):
            blocks = [Block(n_in, n_out), Block(n_out, n_out), Block(n_out, n_out)]
            self.add_module(f"layer{i}", nn.Sequential(OrderedDict(enumerate_names(blocks))))
        self.linear = nn.Linear(64, 10)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Logits ``(n, 10)``."""
        maps = functional.relu(self.bn1(self.conv1(maps)))
        maps = self.layer3(self.layer2(self.layer1(maps)))
        return self.linear(maps.mean((2, 3)))


def enumerate_names(modules: list[nn.Module]) -> list[tuple[str, nn.Module]]:
    return [(str(i), module) for i, module in enumerate(modules)]


def main() -> None:
    arguments = parse(sys.argv[1:])
    data = load_dataset(arguments.data, domains=arguments.domains)
    indices = np.random.default_rng(0).permutation(len(data))[: arguments.pool]
    data = data.take(np.sort(indices))
    network = ResNet20()
    print(measure_distance(data.images, network, weights=arguments.weights, size=32).words)
    for train in ("head", "all"):
        found = {bn: measure(data, network, train, bn, arguments) for bn in ("frozen", "adapt")}
        for norm, accuracies in found.items():
            mean, low, high = interval(accuracies)
            print(f"train {train}, batch norm {norm}: {mean:.3f} [{low:.3f}, {high:.3f}]")
        difference = np.mean(found["adapt"]) - np.mean(found["frozen"])
        p_value = ttest_rel(found["adapt"], found["frozen"]).pvalue
        print(f"train {train}, adapt - frozen: {difference:+.3f}, p = {p_value:.2g}")


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("weights")
    parser.add_argument("--domains", nargs="*")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--pool", type=int, default=None, help="images to draw from")
    return parser.parse_args(words)


def measure(
    data: Any, network: nn.Module, train: str, batch_norm: str, arguments: argparse.Namespace
) -> list[float]:
    result = finetune(
        data,
        network,
        weights=arguments.weights,
        train=train,
        batch_norm=batch_norm,
        seeds=arguments.seeds,
        head_epochs=arguments.epochs,
        epochs=arguments.epochs,
        lr=1e-3,
        size=32,
        store=None,
    )
    accuracies: list[float] = result.rows[0]["accuracies"]
    return accuracies


if __name__ == "__main__":
    main()
