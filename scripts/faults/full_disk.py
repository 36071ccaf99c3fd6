"""A full disk under the store, the output, the temporary folder and the compiled code.

A tmpfs of a few pages to a few megabytes is mounted where one may mount (root, Linux); elsewhere
the campaign is skipped. A command either succeeds, because what is full is not needed, or ends by
one line that names the full disk and exit code 1; what is written is whole; with room the same
command then succeeds with the same features. Faults: crashed (died of a signal), traceback,
unclear (no line that says that a disk is full), wrong.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from children import environment
from kills import make_images
from tallies import Plan, Tally

COLUMNS = ("done", "refused", "crashed", "traceback", "unclear", "wrong", "skipped")
PLACES = ("store", "output", "tmp", "numba")
LIMIT_S = 120.0
WORDS = ("No space left", "disk is full", "is full", "no space", "full disk", "Free some space")


def run(plan: Plan) -> list[Tally]:
    """Places in turn, each with disks of growing size."""
    images = make_images(plan, "some", 0, 4)
    tallies = {place: Tally(place) for place in PLACES if plan.takes(place)}
    places = list(tallies)
    expected = _features(_command(plan.folder / "whole", images, {}), plan.folder / "whole")
    for number in plan.numbers():
        place = places[number % len(places)]
        tally = tallies[place]
        tally.rounds += 1
        n_bytes = int(2 ** plan.rng("size", number).uniform(12, 22))
        for fault, note in _round(place, n_bytes, images, expected, plan):
            tally.add(fault, f"{n_bytes:,} bytes: {note} {plan.options(number)}")
    return list(tallies.values())


def _round(
    place: str, n_bytes: int, images: Path, expected: bytes | None, plan: Plan
) -> Iterator[tuple[str, str]]:
    folder = plan.folder / "round"
    shutil.rmtree(folder, ignore_errors=True)
    small = folder / place
    small.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={n_bytes},mode=700", "tmpfs", str(small)],
        capture_output=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        yield "skipped", "no tmpfs can be mounted"
        return
    try:
        ended = _command(folder, images, {"NUMBA_CACHE_DIR": str(folder / "numba")})
        yield from _faults(ended, folder, expected)
    finally:
        subprocess.run(["umount", str(small)], check=True)
    for output in folder.glob("output/*"):
        output.unlink()
    again = _command(folder, images, {})
    if again.returncode or _features(again, folder) != expected:
        yield "wrong", f"with room again: exit {again.returncode}, {again.stderr[-200:]}"


def _faults(
    ended: subprocess.CompletedProcess[str], folder: Path, expected: bytes | None
) -> Iterator[tuple[str, str]]:
    lines = [line for line in ended.stderr.splitlines() if line.strip()]
    if ended.returncode < 0:
        yield "crashed", f"signal {-ended.returncode}: {lines[-1:]}"
    elif "Traceback" in ended.stderr:
        yield "traceback", lines[-1]
    elif ended.returncode == 0:
        found = _features(ended, folder)
        yield ("done", "") if found == expected else ("wrong", "other features")
    elif ended.returncode == 1 and any(word in lines[-1] for word in WORDS):
        yield "refused", lines[-1]
        if any((folder / "output").iterdir()):
            yield "wrong", "an output was left"
    else:
        yield "unclear", f"exit {ended.returncode}: {lines[-1:]}"


def _command(folder: Path, images: Path, more: dict[str, str]) -> subprocess.CompletedProcess[str]:
    for name in ("tmp", "output"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    words = (
        f"extract {images} -e color -e hog -e cnn:featxnet:pool1 -q --force -o output/features.npz"
    )
    return subprocess.run(
        [sys.executable, "-m", "featx", *words.split()],
        cwd=folder,
        env={
            **os.environ,
            **environment(folder),
            **more,
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def _features(ended: subprocess.CompletedProcess[str], folder: Path) -> bytes | None:
    """The matrix that a command wrote, by its bytes."""
    import numpy as np

    file = folder / "output" / "features.npz"
    if ended.returncode or not file.exists():
        return None
    with np.load(file) as arrays:
        return arrays["X"].round(5).tobytes()
