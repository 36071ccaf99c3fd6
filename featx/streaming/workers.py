"""Run chunks in parallel: in joblib tasks, in worker threads, or in the calling process.

A network runs in the calling process. On a CPU, each core processes its own batches, from decoding
to rows; on an accelerator, threads decode ahead of it. Other threads write shards. All other
extractors run in joblib tasks, with the configured joblib back end.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import joblib
from joblib.parallel import get_active_backend

from featx._imports import single_threaded_opencv
from featx.data.images import Images
from featx.errors import SchedulerError
from featx.store.shards import is_reachable, reachable_mark
from featx.streaming.chunks import (
    Chunk,
    batches,
    chunk_length,
    extract_chunk,
    to_shards,
    try_prepare,
)
from featx.streaming.schedulers import Cluster, current_cluster, joblib_config

logger = logging.getLogger(__name__)

_CHUNKS_AHEAD = 2

_N_RETRIES = 3
"""How often in a row a cluster may lose workers before any further image is completed."""

_N_PER_CALL = 8
"""Images that a decoding thread processes per task, as each task needs the GIL."""

_N_WRITERS = 2
"""Threads that write shards: while one waits for the disk, the other copies memory."""


def run_chunks(
    producer: Any,
    images: Images,
    indices: Sequence[int],
    fingerprints: Mapping[str, str],
    folder: Path | None = None,
) -> Iterator[Chunk]:
    """Iterate over chunks of rows in order; with `folder`, over written shards in any order."""
    run = partial(_run_chunks, producer, images, fingerprints=fingerprints, folder=folder)
    cluster = current_cluster()
    yield from run(indices) if cluster is None else _run_on_cluster(cluster, run, indices)


def _run_on_cluster(
    cluster: Cluster, run: Callable[[Sequence[int]], Iterator[Chunk]], indices: Sequence[int]
) -> Iterator[Chunk]:
    """Chunks computed by a cluster; those of lost workers are submitted again."""
    missing, n_failed = dict.fromkeys(indices), 0
    while missing:
        try:
            with joblib_config(cluster):
                for chunk in run(list(missing)):
                    for index in chunk.indices:
                        del missing[index]
                    n_failed = 0
                    yield chunk
        except cluster.lost as error:
            n_failed += 1
            if n_failed > _N_RETRIES:
                raise SchedulerError(
                    f"The {cluster.name} cluster has lost its workers {n_failed} times in a "
                    f"row ({type(error).__name__}); {len(missing):,} of {len(indices):,} images "
                    "are left. Stored rows remain valid: make sure that the workers have enough "
                    "memory, and run again."
                ) from error
            logger.warning(
                "A worker of the %s cluster was lost; its images are recomputed.",
                cluster.name,
            )


def _run_chunks(
    producer: Any,
    images: Images,
    indices: Sequence[int],
    fingerprints: Mapping[str, str],
    folder: Path | None,
) -> Iterator[Chunk]:
    """Chunks computed by this process or joblib's back end."""
    n_jobs = _n_jobs(producer)
    length = min(chunk_length(producer), -(-len(indices) // n_jobs) or 1)
    run = partial(_in_parallel, n_jobs=n_jobs)
    if producer.runs_in_parent and _has_threads():
        if getattr(producer, "has_worker_threads", False):
            run = partial(_in_worker_threads, n_jobs=n_jobs)
        else:
            run, length = partial(_in_parent), chunk_length(producer)
    parts = [list(indices[i : i + length]) for i in range(0, len(indices), length)]
    if run.func is _in_parallel:  # Its tasks, perhaps of other processes, read ahead themselves.
        yield from run(producer, images, parts, fingerprints, folder)
        return
    with images.reading_ahead(indices) as ahead:
        yield from run(producer, ahead, parts, fingerprints, folder)


def _in_parallel(
    producer: Any,
    images: Images,
    parts: list[list[int]],
    fingerprints: Mapping[str, str],
    folder: Path | None,
    n_jobs: int,
) -> Iterator[Chunk]:
    """Run each chunk as a joblib task, with the configured back end."""
    context = _AwaitedTasks() if _has_threads() else nullcontext(_work)
    with context as work:
        yield from _in_tasks(work, producer, images, parts, fingerprints, folder, n_jobs)


def _in_tasks(
    work: Callable[..., Chunk],
    producer: Any,
    images: Images,
    parts: list[list[int]],
    fingerprints: Mapping[str, str],
    folder: Path | None,
    n_jobs: int,
) -> Iterator[Chunk]:
    with reachable_mark(folder) as mark:
        task = joblib.delayed(partial(work, mark=mark))
        tasks = (task(producer, images.take(part), part, fingerprints, folder) for part in parts)
        for chunk in _run_tasks(tasks, n_jobs, is_ordered=folder is None):
            # Workers that cannot reach the store have returned their rows.
            yield to_shards(producer, chunk, fingerprints, folder, images.reading)


def _run_tasks(tasks: Iterable[Any], n_jobs: int, *, is_ordered: bool) -> Iterator[Chunk]:
    """Results of joblib's tasks in the order of the tasks, or as they are completed."""
    # One task per worker at a time, and shards are committed as they are completed: if a process
    # is killed, at most one shard per worker is lost.
    start = partial(joblib.Parallel, n_jobs, prefer="threads", batch_size=1, pre_dispatch="n_jobs")
    if get_active_backend(prefer="threads")[0].supports_return_generator:
        order = "generator" if is_ordered else "generator_unordered"
        yield from start(return_as=order)(tasks)
        return
    with start() as parallel:
        for slab in batches(tasks, parallel._effective_n_jobs()):
            yield from parallel(slab)


class _AwaitedTasks:
    """Context at whose end no task in a thread is running any more.

    After an error joblib does not wait for its threads. One that is still decoding in C++ code when
    the interpreter is finalized aborts the process.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._n_running = 0
        self._is_closed = False

    def __enter__(self) -> Callable[..., Chunk]:
        return self._run

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.wait_for(lambda: not self._n_running)

    def _run(self, *arguments: Any, **named: Any) -> Chunk:
        with self._changed:
            if self._is_closed:
                raise RuntimeError("The run has ended.")
            self._n_running += 1
        try:
            return _work(*arguments, **named)
        finally:
            with self._changed:
                self._n_running -= 1
                self._changed.notify_all()


def _in_worker_threads(
    producer: Any,
    images: Images,
    parts: list[list[int]],
    fingerprints: Mapping[str, str],
    folder: Path | None,
    n_jobs: int,
) -> Iterator[Chunk]:
    """Process each chunk from file to rows in one thread per core; others write shards."""
    prepare = partial(try_prepare, producer, images, has_digest=folder is not None)
    with producer.worker_threads(list(fingerprints), sum(map(len, parts)), n_jobs) as threads:

        def work(indices: list[int]) -> Chunk:
            return extract_chunk(threads.extract, indices, map(prepare, indices), fingerprints)

        def write(chunk: Chunk) -> Chunk:
            speed = {"backend": threads.backend()}
            return to_shards(producer, chunk, fingerprints, folder, images.reading, **speed)

        pool = ThreadPoolExecutor(n_jobs, "featx-worker", threads.begin)
        writers = ThreadPoolExecutor(_N_WRITERS, "featx-write")
        try:
            chunks = run_ahead(pool, (partial(work, part) for part in parts), n_jobs + 1)
            writes = (partial(write, chunk) for chunk in chunks)
            yield from run_ahead(writers, writes, _N_WRITERS)
        finally:
            pool.shutdown(cancel_futures=True)
            writers.shutdown()


def _in_parent(
    producer: Any,
    images: Images,
    parts: list[list[int]],
    fingerprints: Mapping[str, str],
    folder: Path | None,
) -> Iterator[Chunk]:
    """Decode in threads ahead of the network, and write shards in another thread."""
    n_ahead = _CHUNKS_AHEAD * max(map(len, parts), default=0)
    decoders = ThreadPoolExecutor(joblib.cpu_count(), "featx-decode")
    writer = ThreadPoolExecutor(1, "featx-write")
    prepare = partial(try_prepare, producer, images, has_digest=folder is not None)
    groups = (group for part in parts for group in batches(part, _N_PER_CALL))
    calls = (partial(_call_all, prepare, group) for group in groups)
    decoded = chain.from_iterable(run_ahead(decoders, calls, n_ahead // _N_PER_CALL))
    extract = partial(extract_chunk, producer._extract_layers, fingerprints=fingerprints)
    chunks = (extract(part, islice(decoded, len(part))) for part in parts)
    try:
        write = partial(to_shards, producer)
        writes = (partial(write, chunk, fingerprints, folder, images.reading) for chunk in chunks)
        yield from run_ahead(writer, writes, 1)
    finally:
        decoders.shutdown(cancel_futures=True)
        writer.shutdown()


def _call_all(call: Callable[[int], Any], indices: Sequence[int]) -> list[Any]:
    return [call(index) for index in indices]


def _work(
    producer: Any,
    images: Images,
    indices: list[int],
    fingerprints: Mapping[str, str],
    folder: Path | None,
    *,
    mark: str | None = None,
) -> Chunk:
    """Decode, extract and write a chunk, in any process.

    If the store's folder cannot be reached, as on another machine, the rows are returned.
    OpenCV's own threads would come on top of one job per core.
    """
    with single_threaded_opencv(), images.reading_ahead(range(len(images))) as ahead:
        prepare = partial(try_prepare, producer, ahead, has_digest=folder is not None)
        decoded = map(prepare, range(len(images)))
        chunk = extract_chunk(producer._extract_layers, indices, decoded, fingerprints)
    target = folder if is_reachable(folder, mark) else None
    return to_shards(producer, chunk, fingerprints, target, images.reading)


def run_ahead(
    pool: ThreadPoolExecutor, calls: Iterable[Callable[[], Any]], n_ahead: int
) -> Iterator[Any]:
    """Results of `calls` in order, while at most `n_ahead` further ones are running.

    If iterating over `calls` raises an error, the results of earlier calls come first.
    """
    pending: deque[Future[Any]] = deque()
    failure: Exception | None = None
    iterator = iter(calls)
    while failure is None:
        try:
            pending.append(pool.submit(next(iterator)))
        except StopIteration:
            break
        except Exception as error:
            failure = error
        while pending and (len(pending) > n_ahead or pending[0].done()):
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
    if failure is not None:
        raise failure


def _n_jobs(producer: Any) -> int:
    """Number of jobs: the producer's, else that of joblib's configuration, else all cores.

    Inside a job of another joblib run, only this job's share of the cores.
    """
    backend, n_configured = get_active_backend()
    n_jobs = producer.n_jobs if producer.n_jobs is not None else n_configured
    if n_jobs is None and backend.nesting_level:
        n_threads = os.environ.get("OMP_NUM_THREADS", "")  # joblib sets it in its processes.
        return int(n_threads) if n_threads.isdigit() else 1
    return int(joblib.effective_n_jobs(n_jobs)) if n_jobs is not None else int(joblib.cpu_count())


def _has_threads() -> bool:
    """Whether the active joblib back end runs tasks in threads."""
    return bool(getattr(get_active_backend(prefer="threads")[0], "uses_threads", False))
