"""Wherever chunks are computed, their rows are the same, and what fails there ends the run."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from featx.data.images import Images
from featx.errors import SchedulerError, StoreError
from featx.extractors.color import ColorHistogram
from featx.store.feature_store import FeatureStore
from featx.streaming.rows import stream_rows
from featx.streaming.schedulers import Cluster
from featx.streaming.workers import run_ahead, run_chunks
from tests.streaming.conftest import InLanes, InParent


def no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_every_back_end_gives_the_same_bytes(
    store: FeatureStore, photos: list[str], expected: np.ndarray, backend: str
) -> None:
    with joblib.parallel_config(backend, n_jobs=2):
        stored = ColorHistogram(store=store).transform(photos)
        plain = ColorHistogram().transform(photos)
    assert stored.tobytes() == plain.tobytes() == expected.tobytes()


@pytest.mark.parametrize("kind", [InParent, InLanes])
def test_what_runs_in_the_parent_gives_the_same_bytes(
    kind: type[InParent],
    store: FeatureStore,
    photos: list[str],
    n_decoded: Counter[str],
    expected: np.ndarray,
) -> None:
    n_decoded.clear()
    for _ in range(2):
        assert kind(store=store, n_jobs=2).transform(photos).tobytes() == expected.tobytes()
    assert n_decoded.total() == len(photos)
    for n_jobs in (1, 3, None):
        assert kind(n_jobs=n_jobs).transform(photos).tobytes() == expected.tobytes()
    assert store.info().n_shards == 3


@pytest.mark.parametrize("kind", [InParent, InLanes])
def test_what_runs_in_the_parent_stops_on_a_full_disk(
    kind: type[InParent], store: FeatureStore, photos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.info()
    monkeypatch.setattr(os, "replace", no_room)
    with pytest.raises(StoreError, match=r"^No space left"):
        kind(store=store).transform(photos)
    assert no_threads_left()


def no_threads_left() -> bool:
    return not [it.name for it in threading.enumerate() if it.name.startswith("featx")]


def test_an_error_in_a_lane_stops_the_run_and_keeps_what_was_stored(
    store: FeatureStore, photos: list[str]
) -> None:
    images = Images(photos * 3, names=[str(i) for i in range(3 * len(photos))])
    extractor = InLanes(store=store, n_jobs=1)
    extractor.spoiled = 2
    with pytest.raises(RuntimeError, match="spoiled"):
        stream_rows(extractor, images)
    assert no_threads_left()
    assert store.info().n_rows == 10


def test_no_task_outlives_the_error_of_another_one(
    small: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    running: set[int] = set()
    barrier = threading.Barrier(2)

    def fail_beside_a_slow_one(self: Any, batch: Any) -> Any:
        if barrier.wait(10):
            raise RuntimeError("spoiled")
        running.add(1)
        time.sleep(0.3)
        running.clear()
        return np.stack(batch)

    monkeypatch.setattr(ColorHistogram, "_extract", fail_beside_a_slow_one)
    with pytest.raises(RuntimeError, match="spoiled"):
        list(run_chunks(ColorHistogram(n_jobs=2), small, range(12), {"": "f"}))
    assert not running


def test_results_come_as_soon_as_they_are_there() -> None:
    with ThreadPoolExecutor(1) as pool:
        seen: list[int] = []

        def calls() -> Iterator[Callable[[], int]]:
            for i in range(5):
                yield partial(int, i)
                pool.submit(int).result()  # By now the call has been answered.
                seen.append(i)

        for result in run_ahead(pool, calls(), 100):
            assert len(seen) <= result + 1


class LostError(Exception):
    """The error of a task whose worker is gone."""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the tasks after which a worker is lost; this machine is the cluster."""
    losses: list[int] = []
    cluster = Cluster("test", lambda: {"backend": "threading", "n_jobs": 1}, (LostError,))
    monkeypatch.setattr("featx.streaming.workers.current_cluster", lambda: cluster)
    extract, n_tasks = ColorHistogram._extract, Counter[str]()

    def extract_or_lose(self: Any, batch: Any) -> Any:
        n_tasks["done"] += 1
        if n_tasks["done"] in losses:
            raise LostError
        return extract(self, batch)

    monkeypatch.setattr(ColorHistogram, "_extract", extract_or_lose)
    monkeypatch.setattr(ColorHistogram, "batch_length", 2)
    return losses


@pytest.mark.parametrize("is_stored", [True, False])
def test_images_of_a_lost_worker_are_computed_again(
    tmp_path: Path, cluster: list[int], photos: list[str], expected: np.ndarray, is_stored: bool
) -> None:
    cluster.extend([2, 3, 6])
    store = FeatureStore(tmp_path / "store") if is_stored else None
    rows = ColorHistogram(store=store).transform(photos)
    assert rows.tobytes() == expected.tobytes()


def test_a_cluster_that_loses_every_worker_ends_the_run_in_one_line(
    store: FeatureStore, cluster: list[int], photos: list[str]
) -> None:
    cluster.extend(range(3, 100))
    with pytest.raises(SchedulerError, match=r"lost its workers 4 times in a row.*8 of 12 images"):
        ColorHistogram(store=store).transform(photos)
    assert store.info().n_rows == 4


def test_rows_come_back_from_workers_that_cannot_reach_the_store(
    monkeypatch: pytest.MonkeyPatch, store: FeatureStore, photos: list[str], expected: np.ndarray
) -> None:
    seen: list[str | None] = []

    def is_reachable(folder: Path | None, mark: str | None) -> bool:
        assert folder is not None
        assert mark is not None
        seen.append(mark)
        assert (folder / mark).exists()
        return False

    monkeypatch.setattr("featx.streaming.workers.is_reachable", is_reachable)
    assert ColorHistogram(store=store).transform(photos).tobytes() == expected.tobytes()
    assert store.info().n_rows == len(photos)
    assert not (store.folder / str(seen[0])).exists()


def test_a_worker_s_full_disk_is_the_run_s(
    store: FeatureStore, photos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.info()
    monkeypatch.setattr(os, "replace", no_room)
    with pytest.raises(StoreError, match=r"^No space left"):
        ColorHistogram(n_jobs=2, store=store).transform(photos)


@pytest.fixture
def small() -> Images:
    """Twelve small images."""
    return Images(np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), np.uint8))


@pytest.mark.parametrize("kind", [ColorHistogram, InParent, InLanes])
def test_chunks_come_in_order_and_hold_every_image_once(
    small: Images, kind: type[ColorHistogram]
) -> None:
    chunks = list(run_chunks(kind(n_jobs=2), small, [7, 3, 11, 0, 5], {"": "f"}))
    assert [index for chunk in chunks for index in chunk.indices] == [7, 3, 11, 0, 5]
    rows = np.concatenate([chunk.blocks[""] for chunk in chunks])
    expected = np.concatenate(
        [ColorHistogram().transform(small.take([index])) for index in (7, 3, 11, 0, 5)]
    )
    np.testing.assert_array_equal(rows, expected)


def test_images_are_shared_out_among_the_jobs_that_were_asked_for(small: Images) -> None:
    def lengths(n_jobs: int | None) -> list[int]:
        chunks = run_chunks(ColorHistogram(n_jobs=n_jobs), small, range(12), {"": "f"})
        return [len(chunk.indices) for chunk in chunks]

    with joblib.parallel_config("threading", n_jobs=2):
        assert lengths(3) == [4, 4, 4]
        assert lengths(None) == [6, 6]


def test_a_job_of_another_run_takes_no_cores_of_its_own(
    small: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def n_chunks() -> int:
        return len(list(run_chunks(ColorHistogram(), small, range(12), {"": "f"})))

    monkeypatch.setattr(joblib, "cpu_count", lambda: 4)
    inside = joblib.Parallel(2, backend="threading")(joblib.delayed(n_chunks)() for _ in range(2))
    assert (inside, n_chunks()) == ([1, 1], 4)


def test_results_keep_the_order_of_the_calls() -> None:
    def wait(i: int) -> int:
        time.sleep(0.02 * (4 - i))
        return i

    with ThreadPoolExecutor(5) as pool:
        assert list(run_ahead(pool, (partial(wait, i) for i in range(5)), 5)) == [0, 1, 2, 3, 4]


def test_no_more_calls_begin_than_were_allowed() -> None:
    begun: list[int] = []
    with ThreadPoolExecutor(8) as pool:
        results = run_ahead(pool, (partial(begun.append, i) for i in range(50)), 3)
        for n_taken, _ in enumerate(results, start=1):
            assert len(begun) <= n_taken + 3


def test_what_was_under_way_comes_before_the_error_that_ends_the_calls() -> None:
    def calls() -> Iterator[Callable[[], Any]]:
        yield partial(int, 1)
        yield partial(int, 2)
        raise RuntimeError("spoiled")

    with ThreadPoolExecutor(1) as pool:
        results = run_ahead(pool, calls(), 9)
        assert [next(results), next(results)] == [1, 2]
        with pytest.raises(RuntimeError, match="spoiled"):
            next(results)
