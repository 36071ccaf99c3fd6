"""Pictures -> rows: see which are missing, decode ahead, extract in batches, store, collect.

The one mechanism under `Extractor.transform` and `featx.extraction.extract`. Whatever the
number of pictures, only a few chunks of them are in memory at a time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import joblib
import numpy as np
import numpy.typing as npt

from featx.chunks import Chunk, batches, run_ahead, run_chunks, to_shards, try_prepare
from featx.errors import ImageError
from featx.images import Images
from featx.store import FeatureStore, open_store
from featx.watching import Watcher

Matrix: TypeAlias = npt.NDArray[np.float32]
N_HEALS = 3


@dataclass
class Failure:
    """A picture that could not be read, by its place in the input."""

    index: int
    error: ImageError


@dataclass
class Rows:
    """Rows of all layers asked for, in the order of the pictures; NaN where one failed."""

    blocks: dict[str, Matrix]
    failures: list[Failure]
    n_cached: int = 0

    def matrix(self) -> Matrix:
        """All layers side by side: (n, sum of their columns)."""
        blocks = list(self.blocks.values())
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)


def stream_rows(
    extractor: Any,
    images: Images,
    *,
    watcher: Watcher | None = None,
    blocks: Mapping[str, Matrix] | None = None,
    collect: bool = True,
) -> Rows:
    """Rows of `images` by `extractor`, through its store where it has one.

    Parameters
    ----------
    extractor : Extractor
    images : Images
    watcher : Watcher, optional
        Told the plan and the progress.
    blocks : mapping, optional
        Layer -> float32 array (n_images, width) that takes its rows; by default they are
        made in memory.
    collect : bool, default=True
        With False the store is filled and no row is read from it.

    Returns
    -------
    Rows
    """
    run = _Run(extractor, images, watcher or Watcher())
    run.blocks.update(blocks or {})
    store = open_store(extractor.store)
    return run.plain() if store is None else run.through(store, collect=collect)


def stream_inputs(extractor: Any, images: Images) -> Iterator[Any]:
    """What `extractor` learns from: prepared or described pictures, in order, each once.

    Yields
    ------
    prepared picture, 2-D array of descriptors, or ImageError for a picture that failed
    """
    describer = extractor._describer()
    store = open_store(extractor.store)
    if describer is None:
        with ThreadPoolExecutor(joblib.cpu_count()) as pool:
            calls = (
                partial(try_prepare, extractor, images, i, has_digest=False)
                for i in range(len(images))
            )
            yield from (item for _, item in run_ahead(pool, calls, 64))
    elif store is None:
        for chunk in run_chunks(describer, images, range(len(images)), {"": ""}):
            rows = iter(chunk.blocks.get("", ()))
            yield from (chunk.failures.get(place) or next(rows) for place in chunk.places)
    else:
        yield from _Run(describer, images, Watcher()).described(store)


def store_descriptors(extractor: Any, images: Images, watcher: Watcher) -> None:
    """Describe pictures, watched, where `extractor` has a store to keep descriptors in.

    Learning and encoding then read them: what takes long is done once, and seen to go on.
    """
    describer = extractor._describer()
    store = open_store(extractor.store)
    if describer is not None and store is not None:
        _Run(describer, images, watcher).through(store, collect=False)


class _Run:
    """One producer over one sequence of pictures."""

    def __init__(self, producer: Any, images: Images, watcher: Watcher) -> None:
        self.producer = producer
        self.images = images
        self.watcher = watcher
        self.prints = {layer: producer.fingerprint(layer) for layer in producer.layers}
        self.digests: dict[int, str] = {}
        self.failures: dict[int, ImageError] = {}
        self.n_twins: Counter[str] = Counter()
        self.counted: set[int] = set()
        self.blocks: dict[str, Matrix] = {}

    def plain(self) -> Rows:
        """Everything computed, nothing stored."""
        self.watcher.plan(len(self.images), 0)
        for chunk in run_chunks(self.producer, self.images, range(len(self.images)), self.prints):
            for layer, rows in chunk.blocks.items():
                self._block(layer, rows.shape[1])[chunk.done] = rows
            self._note(chunk)
        return self._result(n_cached=0)

    def through(self, store: FeatureStore, *, collect: bool) -> Rows:
        """What the store lacks computed and stored, then everything read from it."""
        self._identify(store, range(len(self.images)))
        lacking = self._lacking(store)
        n_cached = len(self.digests) - sum(map(len, lacking.values()))
        self.watcher.plan(len(self.images), n_cached)
        self.watcher.advance(n_cached + len(self.failures))
        unread: list[int] = []
        for _ in range(N_HEALS):
            self._compute(store, lacking)
            unread = self._collect(store) if collect else self._unstored(store)
            if not unread:
                break
            self._identify(store, unread)  # Some may have changed since, others are damaged.
            lacking = self._lacking(store)
        for place in unread:
            self.failures[place] = ImageError(
                self.images.names[place], "changed while it was read; run again"
            )
        return self._result(n_cached) if collect else Rows({}, self._failures(), n_cached)

    def described(self, store: FeatureStore) -> Iterator[Any]:
        """Local descriptors of each picture in order, or the ImageError of one that failed."""
        self._identify(store, range(len(self.images)))
        self._compute(store, self._lacking(store))
        places = self._good_places()
        rows = store.read(self.prints[""], [self.digests[place] for place in places])
        stored = ((places[index], row) for index, row in rows)
        place, row = next(stored, (-1, None))
        for wanted in range(len(self.images)):
            if wanted in self.failures:
                yield self.failures[wanted]
            elif wanted == place:
                yield row
                place, row = next(stored, (-1, None))
            else:  # Damaged on disk: the store has warned, and drops it.
                digest, item = try_prepare(self.producer, self.images, wanted, has_digest=True)
                yield self.producer._extract_layers([item], [""])[""][0] if digest else item

    def _identify(self, store: FeatureStore, places: Sequence[int]) -> None:
        """Find the digest of every picture that can be read."""
        is_all = len(places) == len(self.images)
        images = self.images if is_all else self.images.take(places)
        for place, digest in zip(places, store.digests(images), strict=True):
            if isinstance(digest, ImageError):
                self.failures[place] = digest
                self.digests.pop(place, None)
            else:
                self.digests[place] = digest
        self.n_twins = Counter(self.digests.values())

    def _good_places(self) -> list[int]:
        return [place for place in self.digests if place not in self.failures]

    def _lacking(self, store: FeatureStore) -> dict[tuple[str, ...], list[int]]:
        """Places of the pictures that lack rows, by the layers that they lack."""
        places = self._good_places()
        digests = [self.digests[place] for place in places]
        layers: dict[int, tuple[str, ...]] = defaultdict(tuple)
        for layer, print_ in self.prints.items():
            for index in store.missing(print_, digests):
                layers[places[index]] += (layer,)
        groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for place in sorted(layers):
            groups[layers[place]].append(place)
        return groups

    def _unstored(self, store: FeatureStore) -> list[int]:
        """Places of the pictures that still lack rows."""
        return [place for places in self._lacking(store).values() for place in places]

    def _compute(self, store: FeatureStore, lacking: Mapping[tuple[str, ...], list[int]]) -> None:
        """Compute and store missing rows, each content once."""
        describer = getattr(self.producer, "_describer", lambda: None)()
        for layers, places in lacking.items():
            once = list({self.digests[place]: place for place in reversed(places)}.values())[::-1]
            if describer is not None:
                self._encode(store, describer, once)
                continue
            prints = {layer: self.prints[layer] for layer in layers}
            chunks = run_chunks(self.producer, self.images, once, prints, store.folder)
            for chunk in chunks:
                self._commit(store, chunk)
        self._fail_twins()

    def _commit(self, store: FeatureStore, chunk: Chunk) -> None:
        settings = {print_: layer for layer, print_ in self.prints.items()}
        for shard in chunk.shards:
            layer = settings[shard.fingerprint]
            store.commit(shard, self.producer.settings(layer))
        self._note(chunk)

    def _encode(self, store: FeatureStore, describer: Any, places: list[int]) -> None:
        """Rows from local descriptors, which are stored first where they are missing."""
        below = _Run(describer, self.images, self.watcher)
        below.digests = {place: self.digests[place] for place in places}
        below.n_twins = self.n_twins
        lacking = below._lacking(store)
        below._compute(store, lacking)
        self.counted.update(*lacking.values())  # Describing is the slow half.
        self.failures |= below.failures
        places = below._good_places()
        stored = store.read(below.prints[""], [self.digests[place] for place in places])
        for batch in batches(stored, self.producer.batch_length):
            chunk = Chunk([places[index] for index, _ in batch])
            chunk.digests = [self.digests[place] for place in chunk.places]
            chunk.blocks[""] = self.producer._encode([row for _, row in batch])
            self._commit(store, to_shards(self.producer, chunk, self.prints, store.folder))

    def _fail_twins(self) -> None:
        """Let a failure speak for every picture of the same content."""
        reasons = {
            self.digests[place]: error.reason
            for place, error in self.failures.items()
            if place in self.digests
        }
        for place in self._good_places() if reasons else ():
            if self.digests[place] in reasons:
                reason = reasons[self.digests[place]]
                self.failures[place] = ImageError(self.images.names[place], reason)

    def _collect(self, store: FeatureStore) -> list[int]:
        """Read all rows into their blocks; places of those that could not be read."""
        unread: set[int] = set()
        places = self._good_places()
        digests = [self.digests[place] for place in places]
        for layer, print_ in self.prints.items():
            width = store.width(print_)
            if width is None:
                unread.update(places)
                continue
            unread.update(store.fill(print_, digests, self._block(layer, width), places))
        return sorted(unread)

    def _block(self, layer: str, width: int) -> Matrix:
        if layer not in self.blocks:
            self.blocks[layer] = np.empty((len(self.images), width), np.float32)
        return self.blocks[layer]

    def _note(self, chunk: Chunk) -> None:
        self.failures.update(chunk.failures)
        places = [place for place in chunk.places if place not in self.counted]
        self.watcher.advance(
            sum(self.n_twins.get(self.digests.get(place, ""), 1) for place in places)
        )

    def _result(self, n_cached: int) -> Rows:
        for layer in self.prints:
            if layer not in self.blocks:  # No picture could be read.
                self._block(layer, self.producer.n_features(layer))
            self.blocks[layer][sorted(self.failures)] = np.nan
        blocks = {layer: self.blocks[layer] for layer in self.prints}
        return Rows(blocks, self._failures(), n_cached)

    def _failures(self) -> list[Failure]:
        return [Failure(place, error) for place, error in sorted(self.failures.items())]
