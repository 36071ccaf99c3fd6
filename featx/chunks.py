"""A few images at a time, by whatever means: decode, extract, write.

A network runs in the calling process: on a processor one batch on each core, which decodes,
computes and waits for nobody; on an accelerator with decoding threads ahead of it. A thread
behind it writes. Everything else is tasks of joblib, under the back end that its configuration
names.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import joblib
from joblib.parallel import get_active_backend

from featx._linalg import rows_per_chunk
from featx.errors import ImageError
from featx.images import Images
from featx.shards import Shard, write_shard

CHUNKS_AHEAD = 2
N_WRITERS = 2
"""Threads that write shards: while one waits for the disk, the other copies."""

RECORDED = ("device", "backend", "batch_size", "n_jobs")
"""Parameters of speed that each shard records, though no row is found by them."""


@dataclass
class Chunk:
    """What came of a few images: rows in memory, or shards on disk."""

    indices: list[int]
    digests: list[str] = field(default_factory=list)
    blocks: dict[str, Any] = field(default_factory=dict)
    shards: list[Shard] = field(default_factory=list)
    failures: dict[int, ImageError] = field(default_factory=dict)

    @property
    def done(self) -> list[int]:
        """Indices of the images that have rows."""
        return [index for index in self.indices if index not in self.failures]


def run_chunks(
    producer: Any,
    images: Images,
    indices: Sequence[int],
    fingerprints: Mapping[str, str],
    folder: Path | None = None,
) -> Iterator[Chunk]:
    """Chunks of rows in order; with a folder written there as shards, in the order of ending."""
    n_jobs = _n_jobs(producer)
    length = min(_chunk_length(producer), -(-len(indices) // n_jobs) or 1)
    run = partial(_in_parallel, n_jobs=n_jobs)
    if producer.runs_in_parent and _has_threads():
        if getattr(producer, "has_lanes", False):
            run = partial(_in_lanes, n_jobs=n_jobs)
        else:
            run, length = partial(_in_parent), _chunk_length(producer)
    parts = [list(indices[i : i + length]) for i in range(0, len(indices), length)]
    return run(producer, images, parts, fingerprints, folder)


def _in_parallel(
    producer: Any,
    images: Images,
    parts: list[list[int]],
    fingerprints: Mapping[str, str],
    folder: Path | None,
    n_jobs: int,
) -> Iterator[Chunk]:
    """Each chunk a task of joblib, under whatever back end its configuration names."""
    task = joblib.delayed(_work)
    tasks = (task(producer, images.take(part), part, fingerprints, folder) for part in parts)
    # One task for each worker at a time and no shard waiting for an earlier one: whatever
    # dies, and whoever lives on, one shard of each worker is lost at most.
    start = partial(joblib.Parallel, n_jobs, prefer="threads", batch_size=1, pre_dispatch="n_jobs")
    if get_active_backend(prefer="threads")[0].supports_return_generator:
        order = "generator" if folder is None else "generator_unordered"
        yield from start(return_as=order)(tasks)
        return
    with start() as parallel:
        for slab in batches(tasks, parallel._effective_n_jobs()):
            yield from parallel(slab)


def _in_lanes(
    producer: Any,
    images: Images,
    parts: list[list[int]],
    fingerprints: Mapping[str, str],
    folder: Path | None,
    n_jobs: int,
) -> Iterator[Chunk]:
    """Each core takes its chunks from files to rows; threads behind them write shards."""
    prepare = partial(try_prepare, producer, images, has_digest=folder is not None)
    with producer.lanes(list(fingerprints), sum(map(len, parts)), n_jobs) as lanes:

        def work(indices: list[int]) -> Chunk:
            return _extract_chunk(lanes.extract, indices, map(prepare, indices), fingerprints)

        def write(chunk: Chunk) -> Chunk:
            return to_shards(producer, chunk, fingerprints, folder, backend=lanes.backend())

        pool = ThreadPoolExecutor(n_jobs, "featx-lane", lanes.begin)
        writers = ThreadPoolExecutor(N_WRITERS, "featx-write")
        try:
            chunks = run_ahead(pool, (partial(work, part) for part in parts), n_jobs + 1)
            writes = (partial(write, chunk) for chunk in chunks)
            yield from run_ahead(writers, writes, N_WRITERS)
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
    """Decode in threads ahead of the network, and write shards in a thread behind it."""
    n_ahead = CHUNKS_AHEAD * max(map(len, parts), default=0)
    decoders = ThreadPoolExecutor(joblib.cpu_count(), "featx-decode")
    writer = ThreadPoolExecutor(1, "featx-write")
    prepare = partial(try_prepare, producer, images, has_digest=folder is not None)
    calls = (partial(prepare, index) for part in parts for index in part)
    decoded = run_ahead(decoders, calls, n_ahead)
    extract = partial(_extract_chunk, producer._extract_layers, fingerprints=fingerprints)
    chunks = (extract(part, islice(decoded, len(part))) for part in parts)
    try:
        writes = (partial(to_shards, producer, chunk, fingerprints, folder) for chunk in chunks)
        yield from run_ahead(writer, writes, 1)
    finally:
        decoders.shutdown(cancel_futures=True)
        writer.shutdown()


def _work(
    producer: Any,
    images: Images,
    indices: list[int],
    fingerprints: Mapping[str, str],
    folder: Path | None,
) -> Chunk:
    """All of a chunk's work, in whatever process: decode, extract, write."""
    prepare = partial(try_prepare, producer, images, has_digest=folder is not None)
    decoded = map(prepare, range(len(images)))
    chunk = _extract_chunk(producer._extract_layers, indices, decoded, fingerprints)
    return to_shards(producer, chunk, fingerprints, folder)


def try_prepare(producer: Any, images: Images, index: int, *, has_digest: bool) -> tuple[str, Any]:
    """Digest, if it is wanted, and prepared image, or the error where it failed."""
    try:
        least_px = producer.least_px
        digest, pixels = (  # A digest of an array takes as long as its features may.
            images.read(index, least_px) if has_digest else ("", images.pixels(index, least_px))
        )
        return digest, producer._prepare(pixels)
    except ImageError as error:
        name = images.names[index]
        return "", error if error.name == name else ImageError(name, error.reason)


def _extract_chunk(
    extract: Callable[..., Mapping[str, Any]],
    indices: list[int],
    decoded: Iterable[tuple[str, Any]],
    fingerprints: Mapping[str, str],
) -> Chunk:
    chunk = Chunk(indices)
    prepared = []
    for index, (digest, item) in zip(indices, decoded, strict=True):
        if isinstance(item, ImageError):
            chunk.failures[index] = item
        else:
            prepared.append(item)
            chunk.digests.append(digest)
    if prepared:
        chunk.blocks = dict(extract(prepared, list(fingerprints)))
    return chunk


def to_shards(
    producer: Any,
    chunk: Chunk,
    fingerprints: Mapping[str, str],
    folder: Path | None,
    **speed: str,
) -> Chunk:
    """Write a chunk's rows under `folder`, if there is one, and let go of them."""
    if folder is None:
        return chunk
    speed = {name: str(getattr(producer, name, None)) for name in RECORDED} | speed
    for layer, rows in chunk.blocks.items():
        chunk.shards.append(write_shard(folder, fingerprints[layer], chunk.digests, rows, speed))
    chunk.blocks = {}
    return chunk


def run_ahead(
    pool: ThreadPoolExecutor, calls: Iterable[Callable[[], Any]], n_ahead: int
) -> Iterator[Any]:
    """Results of `calls` in order and as they come, while `n_ahead` further ones are under way.

    Where the calls end in an error, what was under way before it comes first.
    """
    waiting: deque[Future[Any]] = deque()
    failure: Exception | None = None
    iterator = iter(calls)
    while failure is None:
        try:
            waiting.append(pool.submit(next(iterator)))
        except StopIteration:
            break
        except Exception as error:
            failure = error
        while waiting and (len(waiting) > n_ahead or waiting[0].done()):
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
    if failure is not None:
        raise failure


def batches(items: Iterable[Any], length: int) -> Iterator[list[Any]]:
    """Items in lists of `length`, the last one perhaps shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, length)):
        yield batch


def _n_jobs(producer: Any) -> int:
    """The producer's own wish, else joblib's configuration, else every core.

    A job of another joblib run, which has the cores already, takes its share of them.
    """
    backend, n_configured = get_active_backend()
    wish = producer.n_jobs if producer.n_jobs is not None else n_configured
    if wish is None and backend.nesting_level:
        share = os.environ.get("OMP_NUM_THREADS", "")  # joblib sets it in its processes.
        return int(share) if share.isdigit() else 1
    return int(joblib.effective_n_jobs(wish)) if wish is not None else int(joblib.cpu_count())


def _has_threads() -> bool:
    """Whether no back end with other processes has been asked for."""
    return bool(get_active_backend(prefer="threads")[0].uses_threads)


def _chunk_length(producer: Any) -> int:
    """Images in a chunk: the producer's batch, or what 32 MiB of rows hold."""
    widths = [producer.n_features(layer) for layer in producer.layers]
    row_bytes = 4 * max(sum(widths), 1)
    return int(max(1, min(producer.batch_length, rows_per_chunk(row_bytes))))
