"""Limit the memory of decoded images: one budget shared by all threads of the process.

The size of an image is known before it is decoded. A thread whose image would exceed the budget
waits for other threads to finish; an image larger than the budget is decoded alone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from featx.process.memory import available_bytes

_MEMORY_DIVISOR = 4
"""Images being decoded may take a quarter of the memory that is available at first use."""

_MIN_BYTES = 256 * 2**20

_BYTES_PER_VALUE = 8
"""Peak memory per value of a decoded image: one float32, and one more in a copy."""


class _Budget:
    """Memory budget of threads that each decode and prepare one image at a time."""

    def __init__(self, n_bytes: int | None = None) -> None:
        self._n_bytes = n_bytes
        self._n_reserved = 0
        self._changed = threading.Condition()
        self._thread = threading.local()

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """Context in which a thread may reserve memory, all of which is released at the end."""
        if getattr(self._thread, "n_reserved", None) is not None:  # A nested context.
            yield
            return
        self._thread.n_reserved = 0
        try:
            yield
        finally:
            with self._changed:
                self._n_reserved -= self._thread.n_reserved
                self._changed.notify_all()
            self._thread.n_reserved = None

    def reserve(self, n_bytes: int) -> None:
        """Raise the thread's reservation to `n_bytes`; wait until it fits or is the only one."""
        n_reserved = getattr(self._thread, "n_reserved", None)
        if n_reserved is None or n_bytes <= n_reserved:
            return
        with self._changed:
            if self._n_bytes is None:
                self._n_bytes = max(_MIN_BYTES, available_bytes() // _MEMORY_DIVISOR)
            limit = self._n_bytes
            if not n_reserved:  # Threads that wait while holding memory could deadlock.
                self._changed.wait_for(
                    lambda: self._n_reserved == 0 or self._n_reserved + n_bytes <= limit
                )
            self._n_reserved += n_bytes - n_reserved
            self._thread.n_reserved = n_bytes


_budget = _Budget()


@contextmanager
def decoding() -> Iterator[None]:
    """Context in which one image is decoded and prepared for its extractor.

    Examples
    --------
    >>> with decoding():
    ...     reserve_values(3 * 640 * 480)
    """
    with _budget.decoding():
        yield


def reserve_values(n_values: int) -> None:
    """Reserve memory for an image before it is decoded; wait until it is available.

    Parameters
    ----------
    n_values : int
        Height times width times number of bands.
    """
    _budget.reserve(_BYTES_PER_VALUE * n_values)
