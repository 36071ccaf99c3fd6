"""``--profile``: where the time of a command went."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from operator import itemgetter

_LEAST_SHARE = 0.005
"""Of the whole time, below which a phase is not worth a line."""


@contextmanager
def print_profile() -> Iterator[None]:
    """Print how long each phase of the block took, and the start before it, on stderr."""
    from featx.process.phases import profile

    start = _start_s()
    before = max(0.0, time.time() - start)
    phases: dict[str, float] = {}
    try:
        with profile() as phases:
            yield
    finally:
        phases["start"] = before
        _print(phases, time.time() - start)


def _start_s() -> float:
    """When this process started, in seconds since 1970."""
    import psutil

    return float(psutil.Process().create_time())


def _print(phases: dict[str, float], seconds: float) -> None:
    rest = phases.pop("other", 0.0)
    longest = sorted(phases.items(), key=itemgetter(1), reverse=True)
    shown = [(name, s) for name, s in longest if s >= _LEAST_SHARE * seconds]
    rest += sum(phases.values()) - sum(s for _, s in shown)
    print(f"{seconds:.2f} s, peak memory {_peak_bytes() / 1e6:,.0f} MB:", file=sys.stderr)
    for name, s in [*shown, ("other", rest)]:
        print(f"  {name:<20}{s:8.2f} s{s / seconds:6.0%}", file=sys.stderr)


def _peak_bytes() -> float:
    """Most memory that this process has held."""
    try:
        import resource
    except ImportError:  # Windows.
        import psutil

        return float(psutil.Process().memory_info().peak_wset)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
