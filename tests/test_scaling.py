"""Memory does not grow with the number of images."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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
