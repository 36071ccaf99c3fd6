"""Memory for decoded images: one budget for all threads of the process.

A file says how large its image is before it is decoded. A thread that would exceed the budget waits
until others have prepared theirs; an image larger than all of it is decoded alone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from featx.process.memory import available_bytes

_SHARE = 4
"""Part of the memory available at the start that images being decoded may take."""

_MIN_BYTES = 256 * 2**20

_BYTES_PER_VALUE = 8
"""Of a decoded image at the peak: its values, as float32, and what comes of them."""


class _Budget:
    """Bytes that threads hold while they decode and prepare an image each."""

    def __init__(self, n_bytes: int | None = None) -> None:
        self._n_bytes = n_bytes
        self._n_held = 0
        self._changed = threading.Condition()
        self._own = threading.local()

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Context in which a thread takes from the budget, and after which it gives all back."""
        if getattr(self._own, "n_taken", None) is not None:  # A part of an image's way.
            yield
            return
        self._own.n_taken = 0
        try:
            yield
        finally:
            with self._changed:
                self._n_held -= self._own.n_taken
                self._changed.notify_all()
            self._own.n_taken = None

    def take(self, n_bytes: int) -> None:
        """Take so many bytes for the thread's image, once there is room or nobody holds any."""
        n_taken = getattr(self._own, "n_taken", None)
        if n_taken is None or n_bytes <= n_taken:
            return
        with self._changed:
            if self._n_bytes is None:
                self._n_bytes = max(_MIN_BYTES, available_bytes() // _SHARE)
            limit = self._n_bytes
            if not n_taken:  # One who holds some would wait for those who wait for it.
                self._changed.wait_for(lambda: self._n_held == 0 or self._n_held + n_bytes <= limit)
            self._n_held += n_bytes - n_taken
            self._own.n_taken = n_bytes


_budget = _Budget()


@contextmanager
def decoding() -> Iterator[None]:
    """Context around the way of one image from its file to its extractor.

    Examples
    --------
    >>> with decoding():
    ...     reserve_values(3 * 640 * 480)
    """
    with _budget.spending():
        yield


def reserve_values(n_values: int) -> None:
    """Wait for room for an image of so many values; to be called before it is decoded."""
    _budget.take(_BYTES_PER_VALUE * n_values)
