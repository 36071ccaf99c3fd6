"""Time and memory of everything but the extraction itself, for 1,000 to 1,000,000 images.

    python scripts/bench/bench_million.py [--counts 1000,10000,100000,1000000]

The images are files of a few bytes, all different, a thousand to a folder; they are never
decoded, since the store is filled with generated rows of 512 columns for them. Steps, each in a
process of its own: `hash` lists the files and reads each for its digest; `fill` writes the rows
and enters them into the index; `warm` goes from the folder to a FeatureSet of all rows; `file`
does that and writes a folder of features; `merge` copies the store into a new one; `one` opens
the store and reads the row of one image. Memory is what a process holds of its own at its peak;
pages of files that are mapped are not counted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

SPEC = "cnn:featxnet:fc7"
WIDTH = 512
PER_FOLDER = 1000
PER_SHARD = 4096
STEPS = ("hash", "fill", "warm", "file", "merge", "one")


def main() -> None:
    arguments = parse_arguments()
    if arguments.step:
        measure(arguments.step, Path(arguments.folder))
        return
    print(f"{'images':>10}{'step':>8}{'seconds':>10}{'images/s':>12}{'memory MiB':>12}")
    for count in map(int, arguments.counts.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            generate(count, Path(folder, "images"))
            time.sleep(3)  # A file changed within two seconds is read again on the next run.
            for step in STEPS:
                command = [sys.executable, __file__, "--step", step, "--folder", folder]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                seconds, memory = json.loads(done.stdout.splitlines()[-1])
                rate = "" if step == "one" else f"{count / seconds:12,.0f}"
                print(f"{count:10,}{step:>8}{seconds:10.2f}{rate:>12}{memory:12.0f}", flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", default="1000,10000,100000,1000000")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser.parse_args()


def generate(count: int, folder: Path) -> None:
    """Files that differ, in folders that name classes."""
    for start in range(0, count, PER_FOLDER):
        inner = folder / f"{start // PER_FOLDER:05}"
        inner.mkdir(parents=True)
        for i in range(start, min(start + PER_FOLDER, count)):
            (inner / f"{i:08}.jpg").write_bytes(i.to_bytes(8, "big"))


def measure(step: str, folder: Path) -> None:
    """Run one step and print its seconds and its peak memory in MiB."""
    import featx.cli
    import featx.engine.extraction  # noqa: F401 - imported before the clock starts.

    peak, ended = [0], threading.Event()

    def watch() -> None:
        process = psutil.Process()
        while not ended.wait(0.02):
            memory = process.memory_info()
            peak[0] = max(peak[0], memory.rss - memory.shared)

    thread = threading.Thread(target=watch)
    thread.start()
    start = time.perf_counter()
    try:
        TASKS[step](folder)
    finally:
        seconds = time.perf_counter() - start
        ended.set()
        thread.join()
    print(json.dumps([seconds, peak[0] / 2**20]))


def hash_files(folder: Path) -> None:
    from featx import FeatureStore, load_dataset

    FeatureStore(folder / "store").digests(load_dataset(str(folder / "images")).images)


def fill(folder: Path) -> None:
    from featx import CNNFeatures, FeatureStore, load_dataset
    from featx.store.shards import write_shard

    store = FeatureStore(folder / "store")
    extractor = CNNFeatures("featxnet", layer="fc7")
    fingerprint, settings = extractor.fingerprint("fc7"), extractor.settings("fc7")
    digests = store.digests(load_dataset(str(folder / "images")).images)
    rng = np.random.default_rng(0)
    for i in range(0, len(digests), PER_SHARD):
        part = digests[i : i + PER_SHARD]
        rows = rng.standard_normal((len(part), WIDTH), np.float32)
        store.commit(write_shard(store.folder, fingerprint, part, rows, {}, settings), settings)


def warm(folder: Path, output: str | None = None) -> None:
    from featx import extract

    features = extract(
        str(folder / "images"), SPEC, store=folder / "store", output=output and folder / output
    )
    assert features.X.shape[1] == WIDTH


def merge(folder: Path) -> None:
    from featx import FeatureStore
    from featx.store.merging import merge_stores

    merge_stores([FeatureStore(folder / "store")], FeatureStore(folder / "merged"))


def read_one(folder: Path) -> None:
    from featx import extract

    image = next((folder / "images").glob("*/*.jpg"))
    assert extract(str(image), SPEC, store=folder / "store").X.shape == (1, WIDTH)


TASKS: dict[str, Callable[[Path], None]] = {
    "hash": hash_files,
    "fill": fill,
    "warm": warm,
    "file": lambda folder: warm(folder, "features"),
    "merge": merge,
    "one": read_one,
}

if __name__ == "__main__":
    main()
