"""Processes that may be killed: forked from one that has imported featx, so that they are cheap."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STEPS = ("replace", "rename", "link", "symlink", "unlink", "remove", "rmdir")
"""Functions of `os` by which files take their place or go: a kill comes before or after one."""

TRACEBACK_CODE = 70
LOG, RESULT, COMMITTED, STEPS_TAKEN = "log.txt", "result.json", "committed.txt", "steps.txt"
CACHE_FOLDER = "cache"


@dataclass(frozen=True)
class Ended:
    """How a child ended."""

    code: int
    """Exit code; of a signal its negative number."""
    text: str
    """What it printed."""
    result: Any
    """What its task returned."""
    seconds: float
    is_hung: bool = False

    @property
    def crash(self) -> str | None:
        """Fault of a child that ended as no command should."""
        if self.is_hung:
            return "hung"
        return "crashed" if self.code < 0 or self.code == TRACEBACK_CODE else None

    @property
    def last_line(self) -> str:
        """Exit code and the end of what was printed."""
        lines = self.text.strip().splitlines()
        return f"exit {self.code}: {lines[-1][:300]}" if lines else f"exit {self.code}"


class Child:
    """A forked child, the leader of a process group of its own."""

    def __init__(self, pid: int, folder: Path) -> None:
        self.pid = pid
        self.folder = folder
        self.started = time.monotonic()
        self._handle = os.pidfd_open(pid)

    def ends_within(self, seconds: float) -> bool:
        """Wait for the end for some time; whether it came."""
        return bool(select.select([self._handle], [], [], max(0.0, seconds))[0])

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Signal the child and all that it started."""
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            os.kill(self.pid, number)  # It has not yet made its group; it is not yet waited for.

    def wait(self, limit_s: float = 120.0) -> Ended:
        """Wait for the end; a child that takes longer is hung, and killed."""
        is_hung = not self.ends_within(limit_s)
        if is_hung:
            self.kill()
        _, status = os.waitpid(self.pid, 0)
        os.close(self._handle)
        code = os.waitstatus_to_exitcode(status)
        result = self.folder / RESULT
        return Ended(
            code=code,
            text=(self.folder / LOG).read_text("utf-8", "replace"),
            result=json.loads(result.read_text()) if code == 0 and result.exists() else None,
            seconds=time.monotonic() - self.started,
            is_hung=is_hung,
        )


def start(task: Callable[[], Any], folder: Path) -> Child:
    """Fork a child that runs a task in a folder, with a store and a temporary folder there."""
    for name in (LOG, RESULT):
        (folder / name).unlink(missing_ok=True)
    (folder / LOG).touch()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        _run(task, folder)
    return Child(pid, folder)


def call(task: Callable[[], Any], folder: Path, limit_s: float = 120.0) -> Ended:
    """Run a task in a child to its end."""
    return start(task, folder).wait(limit_s)


def _run(task: Callable[[], Any], folder: Path) -> None:
    """Become a child; never returns."""
    code = TRACEBACK_CODE
    try:
        os.setsid()
        os.chdir(folder)
        log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        settle(folder)
        result = task()
        code = 0
        if result is not None:
            (folder / RESULT).write_text(json.dumps(result))
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def settle(folder: Path) -> None:
    """Give this process a store and a temporary folder of its own."""
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    os.environ.update(environment(folder))
    tempfile.tempdir = None


def environment(folder: Path) -> dict[str, str]:
    return {"FEATX_STORE": str(folder / "store"), "TMPDIR": str(folder / "tmp")}


def featx_command(*arguments: str) -> Callable[[], None]:
    """Task that runs the command line."""

    def run() -> None:
        from featx.cli import main

        sys.argv = ["featx", *arguments]
        main()

    return run


def recorded(task: Callable[[], Any], folder: Path) -> Callable[[], Any]:
    """Task that notes which rows it has committed to the store, once they are."""

    def run() -> Any:
        from featx.store.feature_store import FeatureStore

        commit = FeatureStore.commit
        notes = os.open(folder / COMMITTED, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

        def commit_and_note(self: Any, shard: Any, *rest: Any, **named: Any) -> Any:
            done = commit(self, shard, *rest, **named)
            lines = "".join(f"{shard.fingerprint} {digest}\n" for digest in shard.digests)
            os.write(notes, lines.encode())
            return done

        FeatureStore.commit = commit_and_note
        return task()

    return run


def killed_at_step(
    task: Callable[[], Any], folder: Path, step: int | None = None, *, is_after: bool = False
) -> Callable[[], Any]:
    """Task that is killed before or after the rename, link or removal of a number.

    Without a number it runs to its end, and notes how many there are.
    """

    def run() -> Any:
        taken = 0

        def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
            def act(*given: Any, **named: Any) -> Any:
                nonlocal taken
                is_it = taken == step
                taken += 1
                if is_it and not is_after:
                    os.killpg(0, signal.SIGKILL)
                done = function(*given, **named)
                if is_it:
                    os.killpg(0, signal.SIGKILL)
                return done

            return act

        for name in STEPS:
            setattr(os, name, wrap(getattr(os, name)))
        try:
            return task()
        finally:
            (folder / STEPS_TAKEN).write_text(str(taken))

    return run
