"""What the store gives: a warm run against the cold one, and how soon anything happens at all.

    python scripts/bench/bench_store.py FOLDER [--images 10000] [--extractor cnn:resnet50:-1,…]

The cold run computes rows and stores them; the warm ones, each in a process of its own, go
from the scan of the folder to a FeatureSet. Beside them: writing the result to a file, the
first row alone, and the time from the start of `featx extract` with one image to its end,
less what `import torch` takes. Where FOLDER has fewer images, cut-outs of 500 px are made.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_images import fill

EXTRACTOR = "cnn:resnet50:-1,weights=random"
WARM = """
import json, sys, time
from featx import extract
from featx.features.feature_set import FeatureSet
start = time.perf_counter()
features = extract(sys.argv[1], sys.argv[2], store=sys.argv[3])
row = features.X[0].copy()
whole = time.perf_counter()
if len(sys.argv) > 4:
    features.save(sys.argv[4])
print(json.dumps([whole - start, time.perf_counter() - whole, *features.X.shape]))
"""


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        images, store = Path(folder, "images"), Path(folder, "store")
        fill(images, arguments.folder, arguments.images)
        time.sleep(3)  # A file changed within two seconds is read again on the next run.
        given = [str(images), arguments.extractor, str(store)]
        cold, *_ = run(given)
        warm = [run(given) for _ in range(arguments.runs)]
        _, writing, n_images, width = run([*given, str(Path(folder, "features"))])
        seconds = statistics.median(times[0] for times in warm)
        print(f"{arguments.extractor}: {n_images:,.0f} images, {width:,.0f} features")
        print(f"cold          {cold:9.2f} s  {n_images / cold:9.0f} images/s")
        print(f"warm          {seconds:9.2f} s  {cold / seconds:9.0f}x (median of {len(warm)})")
        print(f"writing       {writing:9.2f} s  {4e-6 * n_images * width / writing:9.0f} MB/s")
        first = next(str(path) for path in sorted(images.iterdir()))
        start_up(first, Path(folder, "one.npz"), arguments.runs)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--extractor", default=EXTRACTOR)
    parser.add_argument("--runs", type=int, default=3)
    return parser.parse_args()


def run(given: list[str]) -> list[float]:
    command = [sys.executable, "-c", WARM, *given]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [float(value) for value in json.loads(output.splitlines()[-1])]


def start_up(image: str, output: Path, n_runs: int) -> None:
    """Print what `featx extract` takes for one image beyond the import of torch."""
    featx = [sys.executable, "-m", "featx", "extract", image, "--no-store", "-o", str(output)]
    differences = [
        seconds([*featx, "--force", "-q"]) - seconds([sys.executable, "-c", "import torch"])
        for _ in range(n_runs + 1)
    ][1:]
    print(f"one image   {statistics.median(differences):9.2f} s beyond `import torch`")
    for packages in ("torch", "torch, sklearn.base", "torch, torchvision.models"):
        command = [sys.executable, "-c", f"import {packages}"]
        taken = statistics.median(seconds(command) for _ in range(n_runs))
        print(f"{'':14}{taken:9.2f} s for `import {packages}`")


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
