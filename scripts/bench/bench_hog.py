"""HOG of featx against scikit-image in a loop, on arrays in memory, in turn.

    python scripts/bench/bench_hog.py FOLDER [--size 128] [--images 2000] [--pairs 5]

FOLDER holds images of any kind. Prints the images a second of both, the median of the
pairs' ratios, the processor time of one image (which other load on the machine hardly
touches), and the largest deviation between the two.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from skimage.feature import hog

from featx.data.images import decode, resize
from featx.errors import ImageError
from featx.extractors.hog import HOG


class Speed(NamedTuple):
    """Of one run: images a second, and microseconds of processor time an image."""

    rate: float
    cpu_us: float


def main() -> None:
    arguments = parse_arguments()
    images = load(arguments.folder, arguments.size, arguments.images)
    few = images[: arguments.loop]
    extractor = HOG(arguments.size, n_jobs=arguments.jobs)
    deviation = np.abs(extractor.transform(few) - by_skimage(few)).max()  # Compiles, too.
    pairs = [
        (measure(extractor.transform, images), measure(by_skimage, few))
        for _ in range(arguments.pairs)
    ]
    ratio = statistics.median(ours.rate / theirs.rate for ours, theirs in pairs)
    print(f"{len(images)} images of {arguments.size} px, {os.cpu_count()} cores")
    for name, runs in zip(("featx", "scikit-image"), zip(*pairs, strict=True), strict=True):
        rate, cpu_us = (statistics.median(values) for values in zip(*runs, strict=True))
        print(f"{name:13}{rate:10.0f} images/s {cpu_us:8.0f} us of processor time an image")
    print(f"{'ratio':13}{ratio:10.1f} (median of {arguments.pairs} pairs)")
    print(f"{'deviation':13}{deviation:10.1e}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--images", type=int, default=2000, help="how many featx gets")
    parser.add_argument("--loop", type=int, default=100, help="how many scikit-image gets")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=None)
    return parser.parse_args()


def load(folder: Path, size: int, n_images: int) -> np.ndarray:
    """Images of a folder as one array, mirrored and turned until there are enough."""
    images = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            images.append(resize(decode(path), (size, size)))
        except ImageError:
            continue
        if len(images) == n_images:
            break
    turned = [np.rot90(image, k) for k in range(4) for image in images]
    all_of_them = turned + [image[:, ::-1] for image in turned]
    repeats = -(-n_images // len(all_of_them))
    return np.stack((all_of_them * repeats)[:n_images])  # (n, size, size, 3)


def by_skimage(images: np.ndarray) -> np.ndarray:
    return np.stack([hog(image, cells_per_block=(2, 2), channel_axis=-1) for image in images])


def measure(extract: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> Speed:
    wall, cpu = time.perf_counter(), time.process_time()
    extract(images)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Speed(len(images) / wall, 1e6 * cpu / len(images))


if __name__ == "__main__":
    main()
