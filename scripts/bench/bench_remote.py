"""A deep layer from a slow web server against the same from the disk, in turn.

    python scripts/bench/bench_remote.py FOLDER [--images 400] [--delay-ms 50] [--pairs 3]
        [--model squeezenet1_0] [--layer=-1]

The server of `scripts/image_server.py` waits before each answer. Each run is timed whole, from the
listing to rows in a new store: tags are asked for, images are fetched, hashed and decoded. The
network is loaded before. Weights are random: they take as long. Where FOLDER has fewer images,
different cut-outs of them are made.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench_images import fill

sys.path.append(str(Path(__file__).parents[1]))
from image_server import ImageServer

from featx import CNNFeatures, extract


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "photos"
        fill(folder, arguments.folder, arguments.images)
        with ImageServer(Path(work), delay_s=arguments.delay_ms / 1000) as server:
            compare(arguments, str(folder), f"{server.url}/photos/", Path(work))


def compare(arguments: argparse.Namespace, local: str, remote: str, work: Path) -> None:
    """Time both in turn; print images a second and the ratio of the medians."""
    network = CNNFeatures(arguments.model, layer=arguments.layer, weights="random", pooling="gap")
    time_run(network, local, work / "warm")
    speeds: dict[str, list[float]] = {"disk": [], "remote": []}
    for pair in range(arguments.pairs):
        for name, source in (("disk", local), ("remote", remote)):
            n_images, seconds = time_run(network, source, work / f"{name}{pair}")
            speeds[name].append(n_images / seconds)
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    for name, values in speeds.items():
        print(f"{name:7} {medians[name]:7.1f} images/s  ({min(values):.1f} to {max(values):.1f})")
    print(
        f"{arguments.model}:{arguments.layer}, {arguments.delay_ms:g} ms per request: "
        f"{medians['remote'] / medians['disk']:.3f} of the disk's throughput"
    )


def time_run(network: CNNFeatures, source: str, store: Path) -> tuple[int, float]:
    """Number of images, and seconds from the listing to their rows in a new store."""
    begin = time.perf_counter()
    features = extract(source, network, store=store)
    if features.failures:
        raise SystemExit(f"{source}: {features.failures[0]}")
    return len(features.X), time.perf_counter() - begin


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--delay-ms", type=float, default=50)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--model", default="squeezenet1_0")
    parser.add_argument("--layer", default="-1")
    return parser.parse_args()


if __name__ == "__main__":
    main()
