"""Warnings are ignored in every thread that asks for it, and shown again afterwards."""

from __future__ import annotations

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from featx.process.ignored_warnings import ignored_warning


def test_the_filters_are_those_of_before_however_threads_overlap() -> None:
    before = list(warnings.filters)
    first_is_in, second_is_in = threading.Event(), threading.Event()

    def first() -> None:
        with ignored_warning("first"):
            first_is_in.set()
            assert second_is_in.wait(10)
        # The other thread is still inside, and must not see its filter vanish.

    def second(first_is_done: threading.Event) -> None:
        assert first_is_in.wait(10)
        with ignored_warning("second"):
            second_is_in.set()
            assert first_is_done.wait(10)
            warnings.warn("second thing", UserWarning, stacklevel=1)

    done = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        other = pool.submit(second, done)
        pool.submit(first).add_done_callback(lambda _: done.set())
        other.result(20)
    assert list(warnings.filters) == before


def test_other_warnings_are_shown() -> None:
    with ignored_warning("this"), pytest.warns(UserWarning, match="that"):
        warnings.warn("that", UserWarning, stacklevel=1)


def test_an_error_restores_the_filters_too() -> None:
    before = list(warnings.filters)
    with pytest.raises(ValueError, match="inside"), ignored_warning("this"):
        raise ValueError("inside")
    assert list(warnings.filters) == before
