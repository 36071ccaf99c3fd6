"""Where the time of a run goes: phases that add up to the time on the clock.

Functions that take long are marked by `phase`, which costs next to nothing unless a `profile`
block is open. Phases of the main thread exclude those that they contain. While the main thread
waits for worker threads, in a phase that is marked as shared, its time is divided among their
phases in proportion to the seconds that they took.
"""

from __future__ import annotations

import builtins
import importlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ContextDecorator, contextmanager
from typing import Any, TypeAlias

_OTHER = "other"
_IMPORT = "import"

_Before: TypeAlias = tuple[float, dict[str, float]]
"""Seconds of a phase, and of all phases of the other threads, when it began."""


class Profile:
    """Seconds of each phase: of the thread that made it, and of all others together."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._others: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._clocks = threading.local()
        self._clocks.own = self._main = _Clock(_OTHER, self._seconds, self._lock)

    @property
    def is_main_thread(self) -> bool:
        """Whether the calling thread is the one that made the profile."""
        return self._clock is self._main

    def enter(self, name: str) -> _Before:
        """Begin a phase; gives what `leave` takes."""
        self._clock.push(name)
        with self._lock:
            return self._seconds[name], dict(self._others)

    def leave(self, name: str, before: _Before, *, is_shared: bool) -> None:
        """End a phase."""
        self._clock.pop()
        if is_shared and self.is_main_thread:
            self._divide(name, *before)

    def stop(self) -> dict[str, float]:
        """End everything; seconds by phase."""
        self._main.charge()
        return self._seconds

    @property
    def _clock(self) -> _Clock:
        """The calling thread's own."""
        if not hasattr(self._clocks, "own"):
            self._clocks.own = _Clock("", self._others, self._lock)
        clock: _Clock = self._clocks.own
        return clock

    def _divide(self, name: str, before: float, others: Mapping[str, float]) -> None:
        """Give the seconds that the main thread waited to what the others did meanwhile."""
        with self._lock:
            worked = {
                other: seconds - others.get(other, 0.0)
                for other, seconds in self._others.items()
                if other
            }
        waited = self._seconds[name] - before
        if total := sum(worked.values()):
            self._seconds[name] = before
            for other, seconds in worked.items():
                self._seconds[other] += waited * seconds / total


class _Clock:
    """The phases of one thread, each without those that it contains.

    Parameters
    ----------
    name : str
        What the thread does outside every phase.
    seconds : dict
        Takes the seconds of each phase.
    lock : Lock
    """

    def __init__(self, name: str, seconds: dict[str, float], lock: threading.Lock) -> None:
        self._names = [name]
        self._seconds = seconds
        self._lock = lock
        self._last = time.perf_counter()

    def push(self, name: str) -> None:
        """Begin a phase."""
        self.charge()
        self._names.append(name)

    def pop(self) -> None:
        """End the phase that was begun last."""
        self.charge()
        self._names.pop()

    def charge(self) -> None:
        """Count the time since the last call to the phase that is going on."""
        now = time.perf_counter()
        with self._lock:
            self._seconds[self._names[-1]] += now - self._last
        self._last = now


_profile: Profile | None = None


class phase(ContextDecorator):  # noqa: N801 - it is used as a function is.
    """Context manager and decorator of what counts as a phase.

    Parameters
    ----------
    name : str
    is_shared : bool, default=False
        Whether the main thread waits for workers in it.

    Examples
    --------
    >>> @phase("sleep")
    ... def doze():
    ...     time.sleep(0.01)
    >>> with profile() as seconds:
    ...     doze()
    >>> seconds["sleep"] >= 0.01
    True
    """

    def __init__(self, name: str, *, is_shared: bool = False) -> None:
        self.name = name
        self.is_shared = is_shared

    def _recreate_cm(self) -> phase:
        return phase(self.name, is_shared=self.is_shared)

    def __enter__(self) -> phase:
        self._profile = _profile
        if self._profile is not None:
            self._before = self._profile.enter(self.name)
        return self

    def __exit__(self, *_: object) -> None:
        if self._profile is not None:
            self._profile.leave(self.name, self._before, is_shared=self.is_shared)


@contextmanager
def profile() -> Iterator[dict[str, float]]:
    """Measure the phases of the block; the seconds of each are there when it is left.

    Imports of the main thread are a phase of their own, wherever they happen.
    """
    global _profile
    seconds: dict[str, float] = {}
    _profile = Profile()
    plain = builtins.__import__, importlib.import_module
    builtins.__import__, importlib.import_module = _timed(plain[0]), _timed(plain[1])
    try:
        yield seconds
    finally:
        builtins.__import__, importlib.import_module = plain
        seconds.update(_profile.stop())
        _profile = None


def _timed(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that imports, counted as such."""

    def run(*arguments: Any, **named: Any) -> Any:
        if _profile is None or not _profile.is_main_thread:
            return function(*arguments, **named)
        with phase(_IMPORT):
            return function(*arguments, **named)

    return run
