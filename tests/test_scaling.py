"""Memory does not grow with the number of images, and threads never exceed the cores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest

RUN = """
import json, sys, threading
from pathlib import Path
import numpy as np
from featx import extract
from featx import _linalg

def anonymous_mib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024

_linalg._MAX_BYTES_IN_MEMORY = 2**24  # Larger results lie in a file, as really large ones do.
extract([sys.argv[1] + "/000000.ppm"], "pixels", store=None)  # Imports and caches done.
before, peak, stop = anonymous_mib(), [0.0], threading.Event()

def watch():
    while not stop.wait(0.02):
        peak[0] = max(peak[0], anonymous_mib())

thread = threading.Thread(target=watch)
thread.start()
features = extract(sys.argv[1], "pixels", store=sys.argv[2], output=sys.argv[3])
stop.set()
thread.join()
means = np.array([row.mean() for row in features.X])
print(json.dumps({"n": len(means), "distinct": len(np.unique(features.paths)),
                  "grown": peak[0] - before}))
"""

ROOT = Path(__file__).parents[1]

BUSIEST = """
import hashlib, os, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from joblib import cpu_count
from featx import compare, extract

watcher, done, busiest = None, threading.Event(), 0.0

def busy_s():
    # Seconds that each thread but the watcher has run, or waited for a core.
    seconds = {}
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/schedstat") as file:
                ran, waited, _ = map(int, file.read().split())
        except OSError:  # The thread has ended.
            continue
        if int(task) != watcher.native_id:
            seconds[task] = 1e-9 * (ran + waited)
    return seconds

def watch():
    global busiest
    while not done.is_set():
        start, before = time.perf_counter(), busy_s()
        done.wait(0.25)
        grown = sum(seconds - before.get(task, 0.0) for task, seconds in busy_s().items())
        busiest = max(busiest, grown / (time.perf_counter() - start))

def oversubscribe():
    with ThreadPoolExecutor(3 * cpu_count()) as pool:
        list(pool.map(lambda _: hashlib.sha256(bytes(2**28)).digest(), range(3 * cpu_count())))

watcher = threading.Thread(target=watch)
watcher.start()
try:
    exec(sys.argv[1])
finally:
    done.set()
    watcher.join()
print(busiest)
"""


def make_images(folder: Path, n_images: int) -> None:
    """Images of 32 x 32 px, every one different in content."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(n_images):
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8).tobytes()
        (folder / f"{i:06d}.ppm").write_bytes(b"P6 32 32 255\n" + pixels)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's own figures")
def test_twenty_thousand_images_take_no_more_memory_than_four_thousand(tmp_path: Path) -> None:
    grown = {}
    for n_images in (4_000, 20_000):
        folder = tmp_path / str(n_images)
        make_images(folder, n_images)
        arguments = [
            str(folder),
            str(tmp_path / f"store{n_images}"),
            str(tmp_path / f"f{n_images}"),
        ]
        done = subprocess.run(
            [sys.executable, "-c", RUN, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert (result["n"], result["distinct"]) == (n_images, n_images)
        grown[n_images] = result["grown"]
    # 16,000 rows more are 187 MiB; names, digests and the index may take a twentieth of that.
    assert grown[20_000] - grown[4_000] < 40, grown


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec",
    [
        "bovw:surf,n_words=50",  # numba, OpenCV and scikit-learn's k-means.
        "cnn:squeezenet1_0:-1,weights=random,backend=torch",
        "cnn:squeezenet1_0:-1,weights=random,backend=openvino",
    ],
)
def test_pools_of_threads_add_up_to_the_cores(spec: str) -> None:
    code = f"extract('data/samples', {spec!r}, store=None)"
    assert stays_within_the_cores(code)


@pytest.mark.slow
def test_probes_use_no_more_threads_than_cores(tmp_path: Path) -> None:
    code = f"compare('data/samples/photo', ['hog', 'color'], store={str(tmp_path)!r})"
    assert stays_within_the_cores(code)


@pytest.mark.slow
def test_too_many_threads_are_noticed() -> None:
    assert n_busiest("oversubscribe()") > joblib.cpu_count() + 1


def stays_within_the_cores(code: str) -> bool:
    """Whether a run does so once in three: a thread of a loaded machine seems busier than it is.

    The main thread, which hands out work, may be awake beside the workers.
    """
    return any(n_busiest(code) < joblib.cpu_count() + 1 for _ in range(3))


def n_busiest(code: str) -> float:
    """Mean number of threads that run or wait for a core, in the busiest quarter of a second."""
    if not Path("/proc/self/schedstat").exists():
        pytest.skip("reads Linux's own figures")
    command = [sys.executable, "-c", BUSIEST, code]
    unlimited = {name: os.environ[name] for name in os.environ if "NUM_THREADS" not in name}
    done = subprocess.run(command, cwd=ROOT, env=unlimited, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)
