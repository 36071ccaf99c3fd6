"""Scaled decoding against full: large photographs from disk to rows, in turn.

    python scripts/bench/bench_decode.py FOLDER [--side 3024] [--images 60] [--pairs 3]
        [--work featxnet:-1,squeezenet1_0:pool1] [--weights FILE]

Images of FOLDER are enlarged to photographs whose short side is `--side` pixels and written
as JPEGs of quality 90, as a telephone does. Printed for each layer: images a second either
way, the ratio, and how far the rows move (length of the difference, as a share of the row's).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from featx import extract, load_dataset
from featx.networks.openvino_backend import deviations

WAYS = ("full", "scaled")


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        paths = list(enlarged(arguments.folder, arguments.images, arguments.side, Path(folder)))
        print(f"{len(paths)} JPEGs, short side {arguments.side} px")
        for work in arguments.work.split(","):
            compare(work, paths, arguments)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=3024)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--work", default="featxnet:-1,squeezenet1_0:pool1,squeezenet1_0:-1")
    parser.add_argument("--weights", default="random", help="of the networks but featxnet")
    return parser.parse_args()


def enlarged(source: Path, n_images: int, side: int, folder: Path) -> Iterator[str]:
    images = load_dataset(source).images
    for index in np.linspace(0, len(images) - 1, n_images).round().astype(int):
        image = Image.fromarray(images.pixels(int(index)))
        scale = side / min(image.size)
        size = tuple(round(length * scale) for length in image.size)
        file = folder / f"{len(list(folder.iterdir())):05d}.jpg"
        image.resize(size, Image.Resampling.BICUBIC).save(file, quality=90)
        yield str(file)


def compare(work: str, paths: list[str], arguments: argparse.Namespace) -> None:
    model, layer = work.split(":")
    weights = "default" if model == "featxnet" else arguments.weights
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    rows = {}
    for _ in range(arguments.pairs + 1):  # The first, which loads the network, does not count.
        for way in WAYS:
            start = time.perf_counter()
            found = extract(
                paths, model=model, layer=layer, weights=weights, decode=way, store=None
            )
            seconds[way].append(time.perf_counter() - start)
            rows[way] = np.asarray(found.X)
    moved = deviations(rows["scaled"], rows["full"])
    rates = [len(paths) / statistics.median(seconds[way][1:]) for way in WAYS]
    ratio = statistics.median(a / b for a, b in list(zip(*seconds.values()))[1:])
    print(
        f"{work:20} full {rates[0]:6.1f} images/s  scaled {rates[1]:6.1f}  {ratio:.2f}x  "
        f"rows move by {np.median(moved):.1%}, at most {moved.max():.1%}"
    )


if __name__ == "__main__":
    main()
