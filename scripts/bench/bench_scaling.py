"""Time and peak memory for 1,000, 10,000 and 100,000 images, cold and warm.

    python scripts/bench/bench_scaling.py [FOLDER] [--counts 1000,10000,100000]

The images are generated, all different, 64 px wide; with a FOLDER, cut-outs of its images.
Each run is a process of its own that leaves rows in the store and, when warm, also reads them
all into a folder of features, which grows on disk and not in memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from bench_images import fill
from PIL import Image

EXTRACTOR = "cnn:featxnet:-1,pooling=gap"
SIDE = 64
RUN = """
import json, resource, sys, time
from featx import extract
folder, extractor, store, *output = sys.argv[1:]
start = time.perf_counter()
how = {"output": output[0]} if output else {"collect": False}
extract(folder, extractor, store=store, **how)
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([seconds, peak / (2**20 if sys.platform == "darwin" else 2**10)]))
"""


def main() -> None:
    arguments = parse_arguments()
    print(f"{arguments.extractor}")
    print(f"{'images':>10}{'':>10}{'seconds':>10}{'images/s':>12}{'peak MiB':>10}")
    for count in map(int, arguments.counts.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            images, store = Path(folder, "images"), Path(folder, "store")
            if arguments.folder is None:
                generate(count, images)
            else:
                fill(images, arguments.folder, count, SIDE)
            time.sleep(3)
            given = [str(images), arguments.extractor, str(store)]
            for name, more in {"cold": [], "warm": [], "to files": [f"{folder}/out"]}.items():
                seconds, peak = run([*given, *more])
                print(f"{count:10,}{name:>10}{seconds:10.1f}{count / seconds:12.0f}{peak:10.0f}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--counts", default="1000,10000,100000")
    parser.add_argument("--extractor", default=EXTRACTOR)
    return parser.parse_args()


def generate(count: int, target: Path) -> None:
    """Write images that are all different."""
    target.mkdir()
    generator = np.random.default_rng(0)
    for i in range(count):
        blocks = generator.integers(0, 256, (8, 8, 3), np.uint8)
        image = Image.fromarray(blocks).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        image.save(target / f"{i:06d}.jpg", quality=80)


def run(given: list[str]) -> list[float]:
    command = [sys.executable, "-c", RUN, *given]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [float(value) for value in json.loads(output.splitlines()[-1])]


if __name__ == "__main__":
    main()
