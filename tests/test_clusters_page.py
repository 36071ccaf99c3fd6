"""The examples of docs/clusters.md are executed as they stand, on clusters of two processes."""

from __future__ import annotations

import contextlib
import random
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/clusters.md").read_text("utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
SERVERS = [line for kind, text in BLOCKS if kind == "bash" for line in text.splitlines()]
SCRIPTS = [text for kind, text in BLOCKS if kind == "python"]
PORTS = ("8786", "6379", "10001")
SPECS = {"": "hog", "-fc7": "cnn:featxnet:fc7,reproducible=true"}


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Current folder with the sample images."""
    shutil.copytree(ROOT / "data/samples", tmp_path / "data/samples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ports() -> Callable[[str], str]:
    """Function that puts free ports into a line of the page."""
    free = {port: str(free_port()) for port in PORTS}
    return lambda line: re.sub("|".join(PORTS), lambda match: free[match[0]], line)


def free_port() -> int:
    """A port that nobody listens to, nor is given to outgoing connections or by Ray."""
    while True:
        port = random.randrange(25_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def featx(line: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *shlex.split(line)]
    return subprocess.run(command, capture_output=True, text=True, timeout=180)


def tool(line: str) -> list[str]:
    """Command of a script that lies beside the interpreter."""
    name, *rest = shlex.split(line)
    return [str(Path(sys.executable).parent / name), *rest]


def check(name: str) -> None:
    """Compare a file of each kind of features with a run in this process."""
    from featx import FeatureSet, extract

    for suffix, spec in SPECS.items():
        expected = extract("data/samples/photo", spec, store=None)
        features = FeatureSet.load(f"{name}{suffix}.npz")
        np.testing.assert_array_equal(features.X, expected.X)


def run_and_kill(line: str, victims: Callable[[], list[psutil.Process]]) -> bool:
    """Run a command, and kill a worker once there is one that computes; whether there was."""
    ended, killed = threading.Event(), threading.Event()

    def kill() -> None:
        while not ended.wait(0.1):
            # A process may end of itself between being listed and being looked at or killed.
            with contextlib.suppress(psutil.NoSuchProcess):
                if found := victims():
                    found[-1].kill()
                    killed.set()
                    return

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        done = featx(line)
    finally:
        ended.set()
        thread.join()
    if "No Ray scheduler answers" in done.stderr:
        pytest.skip("Ray's client server does not start in time on this machine")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return killed.is_set()


def busy(children: list[psutil.Process]) -> list[psutil.Process]:
    """Processes that have done more than to start."""
    found = []
    for it in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            if sum(it.cpu_times()[:2]) > 3:
                found.append(it)
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("working_folder")
def test_parts_and_merge() -> None:
    for line in [line for line in COMMANDS if "--scheduler" not in line]:
        done = featx(line)
        assert done.returncode == 0, done.stderr
    assert "80 images, 80 cached" in done.stderr


@contextlib.contextmanager
def dask_cluster(ports: Callable[[str], str]) -> Iterator[list[psutil.Process]]:
    """The page's scheduler and workers."""
    lines = [ports(line) for line in SERVERS if line.startswith("dask")]
    servers = []
    try:
        for line in lines:
            servers.append(subprocess.Popen(tool(f"{line} --no-dashboard"), stderr=-3))
            time.sleep(3 if "scheduler" in line else 0)
        yield [psutil.Process(it.pid) for it in servers[1:]]
    finally:
        for server in reversed(servers):
            for it in (*psutil.Process(server.pid).children(recursive=True), server):
                with contextlib.suppress(psutil.NoSuchProcess):
                    it.kill()
            server.wait()


@pytest.mark.slow
@pytest.mark.usefixtures("working_folder")
def test_dask_gives_the_rows_of_one_machine_though_a_worker_is_killed(
    ports: Callable[[str], str],
) -> None:
    with dask_cluster(ports) as workers:

        def computing() -> list[psutil.Process]:
            return busy([it for worker in workers for it in worker.children(recursive=True)])

        lines = [ports(line) for line in COMMANDS if "dask://" in line]
        n_killed = sum(run_and_kill(line, computing) for line in lines)
    assert n_killed
    check("dask")


@pytest.mark.slow
@pytest.mark.usefixtures("working_folder")
def test_ray_gives_the_rows_of_one_machine_though_a_worker_is_killed(
    ports: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    [line] = [ports(line) for line in SERVERS if line.startswith("ray")]
    subprocess.run(tool(f"{line} --include-dashboard=false"), check=True, capture_output=True)

    def computing() -> list[psutil.Process]:
        processes = psutil.process_iter(["cmdline"])
        return [it for it in processes if "PoolActor.run" in "".join(it.info["cmdline"] or ())]

    try:
        lines = [ports(line) for line in COMMANDS if "ray://" in line]
        n_killed = sum(run_and_kill(line, computing) for line in lines)
    finally:
        subprocess.run(tool("ray stop --force"), check=True, capture_output=True)
    assert n_killed
    check("ray")


@pytest.mark.slow
@pytest.mark.usefixtures("working_folder")
@pytest.mark.parametrize("script", SCRIPTS)
def test_script_runs(script: str) -> None:
    Path("script.py").write_text(script)
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True)
    assert done.stdout == "(80, 8100)\n", done.stderr
