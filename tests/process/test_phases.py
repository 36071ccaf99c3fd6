from __future__ import annotations

import importlib
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from featx.process.phases import phase, profile


@phase("outer")
def outer() -> None:
    time.sleep(0.02)
    inner()


@phase("inner")
def inner() -> None:
    time.sleep(0.05)


def test_phases_add_up_to_the_time_on_the_clock() -> None:
    start = time.perf_counter()
    with profile() as seconds:
        outer()
        time.sleep(0.01)
    assert 0.08 <= sum(seconds.values()) <= time.perf_counter() - start


def test_a_phase_excludes_those_that_it_contains() -> None:
    start = time.perf_counter()
    with profile() as seconds:
        outer()
    assert seconds["inner"] >= 0.05
    assert seconds["outer"] >= 0.02
    assert seconds["inner"] + seconds["outer"] <= time.perf_counter() - start


def test_waiting_is_divided_as_the_workers_took_their_time() -> None:
    @phase("wait", is_shared=True)
    def wait() -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(work, [0.3, 0.05]))

    def work(seconds: float) -> None:
        with phase("long" if seconds > 0.1 else "short"):
            time.sleep(seconds)

    with profile() as seconds:
        wait()
    assert seconds["wait"] == pytest.approx(0, abs=1e-6)
    assert seconds["long"] > seconds["short"] > 0


def test_an_import_is_a_phase_wherever_it_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_to_import.py").write_text("import time; time.sleep(0.3)")
    monkeypatch.syspath_prepend(tmp_path)
    plain = __import__, importlib.import_module
    with profile() as seconds, phase("outer"):
        import slow_to_import  # noqa: F401
    del sys.modules["slow_to_import"]
    assert seconds["import"] >= 0.3 > seconds["outer"]
    assert plain == (__import__, importlib.import_module)


def test_an_error_ends_its_phase() -> None:
    @phase("fails")
    def fail() -> None:
        raise ValueError

    with profile() as seconds:
        with pytest.raises(ValueError, match=r"^$"):
            fail()
        time.sleep(0.3)
    assert seconds["fails"] < 0.3 <= seconds["other"]


def test_without_a_profile_nothing_is_measured() -> None:
    with phase("nothing"):
        pass
    with profile() as seconds:
        pass
    assert set(seconds) <= {"other"}
