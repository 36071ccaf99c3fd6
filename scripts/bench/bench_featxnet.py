"""The bundled network against AlexNet up to fc7, networks alone, tensors ready, in turn.

    python scripts/bench/bench_featxnet.py [--batch 1 8 32] [--pairs 9] [--threads 2]

Both in fp32 with channels last. Prints milliseconds per image and the median of the pairs' ratios.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import nn
from torchvision.models import alexnet

from featx.networks.featxnet import PREPROCESSING, featxnet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    networks = [(featxnet(), PREPROCESSING["crop"]), (alexnet_to_fc7(), 224)]
    for n_images in args.batch:
        runs = [[time_ms(*which, n_images) for which in networks] for _ in range(args.pairs + 1)]
        ours, theirs = (statistics.median(times) for times in zip(*runs[1:]))
        ratio = statistics.median(their / our for our, their in runs[1:])
        words = f"featxnet {ours:6.2f} ms, AlexNet to fc7 {theirs:6.2f} ms per image"
        print(f"batch {n_images:3d}: {words}, ratio {ratio:.1f}")


def alexnet_to_fc7() -> nn.Module:
    """AlexNet without its last layer, random weights."""
    network = alexnet().eval()
    network.classifier = network.classifier[:-1]
    return network


@torch.inference_mode()
def time_ms(network: nn.Module, side_px: int, n_images: int) -> float:
    """Milliseconds per image in one pass."""
    network.to(memory_format=torch.channels_last)
    images = torch.randn(n_images, 3, side_px, side_px).to(memory_format=torch.channels_last)
    start = time.perf_counter()
    network(images)
    return (time.perf_counter() - start) * 1000 / n_images


if __name__ == "__main__":
    main()
