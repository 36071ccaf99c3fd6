"""Memory: what is available, and what would not fit."""

from __future__ import annotations

from pathlib import Path

from featx.errors import NotEnoughMemoryError

_CGROUP = Path("/sys/fs/cgroup")
"""Where Linux says what a container may use, and uses."""


def available_bytes() -> int:
    """Memory that this process can still take: of the machine, or of its container if less.

    Examples
    --------
    >>> available_bytes() > 2**20
    True
    """
    import psutil

    machine = int(psutil.virtual_memory().available)
    try:
        limit = int((_CGROUP / "memory.max").read_text("ascii"))
        used = int((_CGROUP / "memory.current").read_text("ascii"))
    except (OSError, ValueError):  # No container, no limit ("max"), or another system.
        return machine
    return min(machine, max(0, limit - used))


def require_memory(n_bytes: int, task: str, cure: str) -> None:
    """Refuse what would not fit into memory, before it is begun.

    Parameters
    ----------
    n_bytes : int
        Estimate of the memory that the task takes at its peak.
    task : str
        What needs it, as the start of a sentence.
    cure : str
        What would need less, as an imperative.

    Raises
    ------
    NotEnoughMemoryError
        It has both figures and the cure.
    """
    available = available_bytes()
    if n_bytes > available:
        raise NotEnoughMemoryError(
            f"{task} needs about {n_bytes / 1e9:.1f} GB of memory; {available / 1e9:.1f} GB are "
            f"available. {cure}."
        )
