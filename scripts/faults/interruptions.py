"""Ctrl-C, SIGTERM and a closed terminal at random moments of whole commands.

Each command is started as a user starts it and sent one signal, from its first instant on. It must
end by one line and the exit code of the signal (130, 143, 129), or have ended by itself; it leaves
nothing but its output, whole or not at all, and the store. Faults: silent (no line), lines (more
than one), code (another exit code), traceback, hung, left (files in the folder or the temporary
one).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from children import environment
from kills import make_images
from tallies import Plan, Tally

COLUMNS = ("ended", "early", "silent", "lines", "code", "traceback", "hung", "left")
SIGNALS = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}
COMMANDS = {
    "extract": "extract {data} -e color -e cnn:featxnet:pool1 -q -o output.npz",
    "compare": "compare {data} -e color -e hog,image_size=32 -q --report report",
    "finetune": "finetune {data} --n-splits 2 --head-epochs 2 -q -o mine",
}
OUTPUTS = frozenset({"output.npz", "report", "mine", "store", "tmp"})
LIMIT_S = 60.0
QUIET_S = 0.15
"""Before this Python itself has not handed over: a signal may end it without a word."""


def run(plan: Plan) -> list[Tally]:
    """Commands and signals in turn, at moments spread over the time that each takes."""
    images = make_images(plan, "some", 0, 4)
    cases = {f"{sign} {name}": (sign, name) for sign in SIGNALS for name in COMMANDS}
    chosen = [case for case in cases if plan.takes(case)]
    tallies = {case: Tally(case) for case in chosen}
    seconds: dict[str, float] = {}
    for number in plan.numbers():
        case = chosen[number % len(chosen)]
        sign, name = cases[case]
        if name not in seconds:
            seconds[name] = _rehearse(name, images, plan)
        moment = QUIET_S + plan.rng("signal", number).random() * 0.8 * (seconds[name] - QUIET_S)
        tallies[case].rounds += 1
        for fault, note in _round(name, sign, moment, images, plan):
            tallies[case].add(fault, f"after {moment:.2f} s: {note} {plan.options(number)}")
    return list(tallies.values())


def _rehearse(name: str, images: Path, plan: Plan) -> float:
    folder = _new_folder(plan)
    started = time.monotonic()
    process = _start(name, images, folder)
    text = process.communicate(timeout=LIMIT_S)[1]
    if process.returncode:
        raise RuntimeError(f"{name} fails without a signal: {text}")
    return time.monotonic() - started


def _round(
    name: str, sign: str, moment: float, images: Path, plan: Plan
) -> Iterator[tuple[str, str]]:
    folder = _new_folder(plan)
    process = _start(name, images, folder)
    time.sleep(moment)
    process.send_signal(getattr(signal, sign))
    try:
        text = process.communicate(timeout=LIMIT_S)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        yield "hung", process.communicate()[1][-300:]
        return
    lines = [line for line in text.splitlines() if line.strip()]
    if "Traceback" in text:
        yield "traceback", lines[-1]
    elif process.returncode == 0:
        yield "early", ""  # It was done before the signal came.
    elif process.returncode != SIGNALS[sign]:
        yield "code", f"{process.returncode}, {lines[-1:]}"
    elif len(lines) != 1:
        yield ("lines" if lines else "silent"), str(lines)
    else:
        yield "ended", ""
    if left := _leftovers(folder):
        yield "left", ", ".join(left)


def _new_folder(plan: Plan) -> Path:
    folder = plan.folder / "round"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "tmp").mkdir(parents=True)
    return folder


def _hear_all() -> None:
    """Ignore no signal that this process ignores, as one that nohup started does."""
    for sign in SIGNALS:
        signal.signal(getattr(signal, sign), signal.SIG_DFL)


def _start(name: str, images: Path, folder: Path) -> subprocess.Popen[str]:
    words = COMMANDS[name].format(data=images).split()
    return subprocess.Popen(
        [sys.executable, "-m", "featx", *words],
        cwd=folder,
        env={**os.environ, **environment(folder), "PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=_hear_all,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _leftovers(folder: Path) -> list[str]:
    """Files of no use: beside the outputs, in the temporary folder, half written in the store."""
    found = [it.name for it in folder.iterdir() if it.name not in OUTPUTS]
    found += [f"tmp/{it.name}" for it in (folder / "tmp").iterdir()]
    shards = folder / "store" / "shards"
    found += [f"store/{it.name}" for it in shards.glob("*.tmp")] if shards.is_dir() else []
    return sorted(found)
