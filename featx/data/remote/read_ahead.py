"""Slow images fetched before they are asked for, so that nothing waits for the network."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

from featx.data.blobs import Blob, Identity, identify

_N_AT_ONCE = 32
"""Requests under way: at 50 ms each, 640 images a second."""

_N_AHEAD = 128
"""Images fetched, or being fetched, that nobody has asked for yet."""

_AHEAD_BYTES = 2**28
"""Bytes of those that are there; while there are more, no further one is begun."""


class ReadAhead(Sequence[Any]):
    """Items of which the slow ones are read ahead in the order in which they will be asked for.

    Parameters
    ----------
    items : sequence
    order : iterable of int
        Indices in about the order of their use; each is read ahead once.
    max_bytes : int
        Largest content.
    """

    def __init__(self, items: Sequence[Any], order: Iterable[int], max_bytes: int) -> None:
        self._items = items
        self._order = list(order)
        self._max_bytes = max_bytes
        self._next = 0
        self._waiting: dict[int, Future[bytes]] = {}
        self._passed: set[int] = set()
        self._n_bytes = 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_N_AT_ONCE, "featx-fetch")

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._next = len(self._order)
        self._pool.shutdown(cancel_futures=True)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: Any) -> Any:
        item = self._items[index]
        return _Awaited(self, index, item) if is_slow(item) else item

    def read(self, index: int, max_bytes: int) -> bytes:
        """Content of an item, waited for where it is under way."""
        with self._lock:
            self._fill()
            future = self._waiting.pop(index, None)
            self._passed.update([index] if future is None else [])
        if future is None:  # Asked for twice, or before its turn.
            content: bytes = self._items[index].read(max_bytes)
            return content
        try:
            content = future.result()
        finally:
            with self._lock:
                if not future.cancelled() and future.exception() is None:
                    self._n_bytes -= len(future.result())
                self._fill()
        return content

    def _fill(self) -> None:
        """Begin further items, as many as may wait."""
        while (
            self._next < len(self._order)
            and len(self._waiting) < _N_AHEAD
            and self._n_bytes < _AHEAD_BYTES
        ):
            index = self._order[self._next]
            self._next += 1
            if index in self._passed:  # Nobody would come for it.
                continue
            self._waiting[index] = self._pool.submit(self._fetch, index)

    def _fetch(self, index: int) -> bytes:
        content: bytes = self._items[index].read(self._max_bytes)
        with self._lock:
            self._n_bytes += len(content)
        return content


class _Awaited(Blob):
    """An item that is read ahead."""

    is_slow = True

    def __init__(self, ahead: ReadAhead, index: int, item: Blob) -> None:
        self._ahead, self._index, self._item = ahead, index, item

    def read(self, max_bytes: int) -> bytes:
        return self._ahead.read(self._index, max_bytes)

    def identity(self) -> tuple[bytes, Identity] | None:
        return self._item.identity()


def identify_all(items: Sequence[Any]) -> list[tuple[bytes, Identity] | None]:
    """Identity of each item; those of slow ones are asked for at the same time."""
    if not any(map(is_slow, items)):
        return list(map(identify, items))
    with ThreadPoolExecutor(_N_AT_ONCE, "featx-identify") as pool:
        return list(pool.map(identify, items))


def is_slow(item: Any) -> bool:
    """Whether reading an item waits for a network."""
    return isinstance(item, Blob) and item.is_slow
