"""Profile a run: the time of each phase, with all phases adding up to the elapsed time.

Slow functions are marked by `phase`, which has almost no cost unless a `profile` context is active.
Phases of the main thread do not include nested phases. While the main thread waits for worker
threads, in a phase with ``is_shared``, its time is divided among their phases in proportion to
their own times.
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
"""Seconds of a phase, and of all phases of other threads, at the start of the phase."""


class Profile:
    """Seconds of each phase: of the main thread, and of all other threads together."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._others: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._clocks = threading.local()
        self._clocks.own = self._main = _Clock(_OTHER, self._seconds, self._lock)

    @property
    def is_main_thread(self) -> bool:
        """Whether the calling thread is the one that created the profile."""
        return self._clock is self._main

    def enter(self, name: str) -> _Before:
        """Begin a phase; return the argument `before` of `leave`."""
        self._clock.push(name)
        with self._lock:
            return self._seconds[name], dict(self._others)

    def leave(self, name: str, before: _Before, *, is_shared: bool) -> None:
        """End a phase."""
        self._clock.pop()
        if is_shared and self.is_main_thread:
            self._divide(name, *before)

    def stop(self) -> dict[str, float]:
        """Stop the profile; return the seconds by phase."""
        self._main.charge()
        return self._seconds

    @property
    def _clock(self) -> _Clock:
        """Clock of the calling thread."""
        if not hasattr(self._clocks, "own"):
            self._clocks.own = _Clock("", self._others, self._lock)
        clock: _Clock = self._clocks.own
        return clock

    def _divide(self, name: str, before: float, others: Mapping[str, float]) -> None:
        """Divide the main thread's time of waiting among the phases of the other threads."""
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
    """Times the phases of one thread, without their nested phases.

    Parameters
    ----------
    name : str
        Name of the time outside all phases.
    seconds : dict
        Seconds by phase, to be updated.
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
        """End the current phase."""
        self.charge()
        self._names.pop()

    def charge(self) -> None:
        """Add the time since the last call to the current phase."""
        now = time.perf_counter()
        with self._lock:
            self._seconds[self._names[-1]] += now - self._last
        self._last = now


_profile: Profile | None = None


class phase(ContextDecorator):  # noqa: N801 - it is used like a function.
    """Context manager and decorator that marks a phase.

    Parameters
    ----------
    name : str
    is_shared : bool, default=False
        Whether the main thread waits for worker threads in this phase.

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
    """Context that measures phases; the yielded dict has the seconds of each at its end.

    Imports in the main thread are a phase of their own, wherever they occur.
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
    """Wrap a function that imports modules, so that its time counts as imports."""

    def run(*arguments: Any, **named: Any) -> Any:
        if _profile is None or not _profile.is_main_thread:
            return function(*arguments, **named)
        with phase(_IMPORT):
            return function(*arguments, **named)

    return run
