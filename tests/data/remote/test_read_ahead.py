from __future__ import annotations

import threading
import time

import pytest

from featx.data.blobs import Blob
from featx.data.remote.read_ahead import ReadAhead, identify_all


class _Slow(Blob):
    is_slow = True

    def __init__(self, value: int, wait_s: float = 0.02) -> None:
        self.value, self.wait_s, self.n_reads = value, wait_s, 0

    def read(self, max_bytes: int) -> bytes:
        self.n_reads += 1
        time.sleep(self.wait_s)
        if self.value < 0:
            raise OSError("gone")
        return bytes([self.value])

    def identity(self):
        time.sleep(self.wait_s)
        return b"key", (self.value, 0, 0, 0)


def test_items_come_as_they_are_each_read_once() -> None:
    items = ["a.jpg", *map(_Slow, range(200))]
    with ReadAhead(items, range(1, 201), 9) as ahead:
        assert ahead[0] == "a.jpg"
        assert [ahead[i].read(9)[0] for i in range(1, 201)] == list(range(200))
    assert {it.n_reads for it in items[1:]} == {1}


def test_waiting_is_done_at_the_same_time() -> None:
    items = [_Slow(1, 0.05) for _ in range(64)]
    begin = time.monotonic()
    with ReadAhead(items, range(64), 9) as ahead:
        for i in range(64):
            ahead[i].read(9)
    assert time.monotonic() - begin < 64 * 0.05 / 4


def test_error_comes_where_it_belongs() -> None:
    with ReadAhead([_Slow(1), _Slow(-1), _Slow(2)], range(3), 9) as ahead:
        assert ahead[0].read(9) == b"\1"
        with pytest.raises(OSError, match="gone"):
            ahead[1].read(9)
        assert ahead[2].read(9) == b"\2"


def test_item_asked_for_twice_or_out_of_turn_is_read() -> None:
    items = [_Slow(i % 250, 0) for i in range(400)]
    with ReadAhead(items, range(400), 9) as ahead:
        assert ahead[399].read(9)[0] == 399 % 250
        assert [ahead[i].read(9)[0] for i in (0, 0, 5)] == [0, 0, 5]


def test_what_was_read_out_of_turn_is_not_fetched_again() -> None:
    items = [_Slow(1, 0) for _ in range(400)]
    with ReadAhead(items, range(400), 9) as ahead:
        for i in reversed(range(400)):
            ahead[i].read(9)
    assert sum(it.n_reads for it in items) == 400


def test_no_more_is_begun_than_may_wait() -> None:
    items = [_Slow(1, 0) for _ in range(1000)]
    with ReadAhead(items, range(1000), 9) as ahead:
        ahead[0].read(9)
        time.sleep(0.2)
        assert sum(it.n_reads for it in items) < 200


def test_leaving_waits_for_what_is_under_way() -> None:
    with ReadAhead([_Slow(1, 0.05) for _ in range(100)], range(100), 9) as ahead:
        ahead[0].read(9)
    assert not [it for it in threading.enumerate() if it.name.startswith("featx-fetch")]


def test_identities_are_asked_for_at_the_same_time() -> None:
    begin = time.monotonic()
    found = identify_all([_Slow(i, 0.05) for i in range(32)])
    assert [it[1][0] for it in found] == list(range(32))
    assert time.monotonic() - begin < 0.8
