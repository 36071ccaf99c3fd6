"""Available memory, and tasks that would not fit into it."""

from __future__ import annotations

from pathlib import Path

from featx.errors import NotEnoughMemoryError

_CGROUP = Path("/sys/fs/cgroup")
"""Where Linux provides the memory limit and use of a container."""


def available_bytes() -> int:
    """Memory that this process can still allocate: of the machine, or of its container if less.

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
    """Raise an error if a task would not fit into memory, before it starts.

    Parameters
    ----------
    n_bytes : int
        Estimate of the task's peak memory.
    task : str
        Name of the task, as the subject of a sentence.
    cure : str
        How to need less memory, as an imperative.

    Raises
    ------
    NotEnoughMemoryError
        The message has both figures and the cure.
    """
    available = available_bytes()
    if n_bytes > available:
        raise NotEnoughMemoryError(
            f"{task} needs about {n_bytes / 1e9:.1f} GB of memory; {available / 1e9:.1f} GB are "
            f"available. {cure}."
        )
