"""Turn images into rows: find the missing ones, decode ahead, extract in batches, store, collect.

`Extractor.transform` and `featx.engine.extraction.extract` both use this module. An extractor makes
rows of images, or of the rows of another extractor, its base. With a store, the rows of both are
stored, and only missing ones are made: first those of the base, then those made of them. Without a
store, both steps run on a few images at a time. Whatever the number of images, only a few chunks
are in memory at the same time.
"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, TypeAlias

import joblib
import numpy as np
import numpy.typing as npt

from featx._linalg import find_not_finite
from featx.data.images import Images
from featx.data.reading import Reading
from featx.errors import (
    ImageError,
    NonFiniteRowsWarning,
    UnstoredRowsWarning,
)
from featx.process.phases import phase
from featx.store.feature_store import FeatureStore, open_usable_store
from featx.streaming.chunks import (
    Chunk,
    batches,
    row_fingerprint,
    row_settings,
    to_shards,
    try_prepare,
)
from featx.streaming.progress import ProgressCallback
from featx.streaming.workers import run_ahead, run_chunks

Matrix: TypeAlias = npt.NDArray[np.float32]
_MAX_ATTEMPTS = 3
"""Attempts to make rows of images that change, or whose stored rows are damaged, meanwhile."""


@dataclass
class Failure:
    """Index of an image that could not be read, and the error."""

    index: int
    error: ImageError


@dataclass
class Rows:
    """Rows of each layer, in the order of the images; NaN for images that failed."""

    blocks: dict[str, Matrix]
    failures: list[Failure]
    n_cached: int = 0

    def matrix(self) -> Matrix:
        """Rows of all layers side by side: (n_images, n_columns_of_all_layers)."""
        blocks = list(self.blocks.values())
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)


@phase("extract", is_shared=True)
def stream_rows(
    extractor: Any,
    images: Images,
    *,
    progress: ProgressCallback | None = None,
    blocks: Mapping[str, Matrix] | None = None,
    collect: bool = True,
) -> Rows:
    """Extract the rows of `images`, through the extractor's store if it has one.

    Parameters
    ----------
    extractor : Extractor
    images : Images
    progress : ProgressCallback, optional
    blocks : mapping, optional
        Layer -> float32 array of shape (n_images, width) to fill; by default arrays in memory are
        allocated.
    collect : bool, default=True
        Whether to return rows; otherwise only the store is filled.

    Returns
    -------
    Rows
    """
    progress = progress or ProgressCallback()
    if images.reading.is_each:
        return _rows_of_bands(extractor, images, progress, dict(blocks or {}), collect=collect)
    store = _store_of(extractor)
    if store is None:
        return _rows_without_store(extractor, images, progress, dict(blocks or {}))
    run = _Run(store, images, progress)
    stage = _Stage(extractor, images.reading)
    return run.rows(stage, dict(blocks or {}), collect=collect)


def stream_inputs(extractor: Any, images: Images) -> Iterator[Any]:
    """Iterate over the inputs of `extractor` for fitting, in the order of the images.

    Yields
    ------
    prepared image, row or ragged rows of the base, or ImageError if the image failed
    """
    if images.reading.is_each:
        return chain.from_iterable(stream_inputs(extractor, band) for band in _bands_of(images))
    base, store = extractor._base(), _store_of(extractor)
    if base is None:
        return _prepared(extractor, images)
    if store is None:
        return _inputs_without_store(base, images)
    return _Run(store, images, ProgressCallback()).inputs(_Stage(base, images.reading))


@phase("extract", is_shared=True)
def store_base_rows(extractor: Any, images: Images, progress: ProgressCallback) -> None:
    """Extract and store the rows of the base, with progress, if there are a base and a store.

    Fitting and extracting then read these rows, so that this slow step is done only once.
    """
    base, store = extractor._base(), _store_of(extractor)
    if base is not None and store is not None:
        for band in _bands_of(images):
            stage = _Stage(base, band.reading)
            _Run(store, band, progress).rows(stage, {}, collect=False)


def _bands_of(images: Images) -> list[Images]:
    """Images of each band if every band is an image of its own, else only the given ones."""
    reading = images.reading
    if not reading.is_each:
        return [images]
    n_bands = images.count_bands()
    return [images.read_as(reading.of_band(band)) for band in range(1, n_bands + 1)]


def _rows_of_bands(
    extractor: Any,
    images: Images,
    progress: ProgressCallback,
    blocks: dict[str, Matrix],
    *,
    collect: bool,
) -> Rows:
    """Rows of the bands as images of their own, side by side within each layer."""
    bands = _bands_of(images)
    progress = _BandProgress(progress, len(bands))
    failures: dict[int, Failure] = {}
    n_cached = len(images)
    for k, band in enumerate(bands):
        views = {}
        for layer in extractor.layers if collect else ():
            width = extractor.n_features(layer)
            block = _block(blocks, layer, (len(images), len(bands) * width))
            views[layer] = block[:, k * width : (k + 1) * width]
        rows = stream_rows(extractor, band, progress=progress, blocks=views, collect=collect)
        failures |= {failure.index: failure for failure in rows.failures}
        n_cached = min(n_cached, rows.n_cached)
    for block in blocks.values():
        block[sorted(failures)] = np.nan
    return Rows(blocks, [failures[index] for index in sorted(failures)], n_cached)


class _BandProgress(ProgressCallback):
    """Reports an image as done when all of its bands are done."""

    def __init__(self, progress: ProgressCallback, n_bands: int) -> None:
        self.progress = progress
        self.n_bands = n_bands
        self.is_planned = False
        self.n_done = 0

    def plan(self, n_images: int, n_cached: int) -> None:
        """Forward the plan of the first band only."""
        if not self.is_planned:
            self.progress.plan(n_images, n_cached)
        self.is_planned = True

    def advance(self, n_images: int) -> None:
        """Advance by one image for every `n_bands` bands."""
        n_before = self.n_done // self.n_bands
        self.n_done += n_images
        self.progress.advance(self.n_done // self.n_bands - n_before)

    def note(self, text: str) -> None:
        """Forward the call."""
        self.progress.note(text)


def _store_of(extractor: Any) -> FeatureStore | None:
    """Store of an extractor; None, with a warning, if its rows cannot be stored."""
    store = open_usable_store(extractor.store)
    if store is None or not extractor.unstorable:
        return store
    warnings.warn(
        f"Rows are neither stored nor read from the store: {extractor.unstorable}.",
        UnstoredRowsWarning,
        stacklevel=4,
    )
    return None


class _Stage:
    """An extractor with the fingerprints of its rows, and the stage of its base."""

    def __init__(self, producer: Any, reading: Reading) -> None:
        base = producer._base()
        self.producer = producer
        self.reading = reading
        self.base = None if base is None else _Stage(base, reading)
        self.fingerprints = {
            layer: row_fingerprint(producer, layer, reading) for layer in producer.layers
        }

    def settings(self, layer: str) -> dict[str, Any]:
        """Settings behind the fingerprint of a layer's rows."""
        return row_settings(self.producer, layer, self.reading)


class _Chained:
    """An extractor and its base as one extractor: from prepared images to rows."""

    def __init__(self, producer: Any, base: Any) -> None:
        self.producer, self.base = producer, base
        self.layers = producer.layers
        self.least_px = base.least_px
        self.n_bands = getattr(base, "n_bands", 3)
        self.n_jobs = producer.n_jobs
        self.batch_length = min(producer.batch_length, base.batch_length)
        self.runs_in_parent = producer.runs_in_parent or base.runs_in_parent

    def n_features(self, layer: str) -> int:
        """Number of values per image in memory, by which the size of chunks is chosen."""
        return int(self.producer.n_features(layer) + self.base.n_features(_layer_of(self.base)))

    def _prepare(self, pixels: Any) -> Any:
        return self.base._prepare(pixels)

    def _extract_layers(self, batch: Sequence[Any], layers: Sequence[str]) -> Mapping[str, Any]:
        layer = _layer_of(self.base)
        rows = list(self.base._extract_layers(batch, [layer])[layer])
        return self.producer._extract_layers(rows, layers)


def _chain(producer: Any) -> Any:
    """`producer`, chained with its bases so that it takes images."""
    base = producer._base()
    return producer if base is None else _Chained(producer, _chain(base))


def _layer_of(base: Any) -> str:
    """The only layer of an extractor that is the base of another one."""
    if len(base.layers) != 1:
        names = ", ".join(base.layers)
        raise ValueError(f"An extractor over another one takes one layer; its base has {names}.")
    return str(base.layers[0])


def _rows_without_store(
    extractor: Any, images: Images, progress: ProgressCallback, blocks: dict[str, Matrix]
) -> Rows:
    """Compute all rows, and store none."""
    progress.plan(len(images), 0)
    failures: dict[int, ImageError] = {}
    layers = dict.fromkeys(extractor.layers, "")
    for chunk in run_chunks(_chain(extractor), images, range(len(images)), layers):
        for layer, rows in chunk.blocks.items():
            _block(blocks, layer, (len(images), rows.shape[1]))[chunk.done] = rows
        failures |= chunk.failures
        progress.advance(len(chunk.indices))
    return _finished(extractor, blocks, failures, len(images))


def _prepared(extractor: Any, images: Images) -> Iterator[Any]:
    """Prepared images in order, or an ImageError for each that failed."""
    with (
        ThreadPoolExecutor(joblib.cpu_count()) as pool,
        images.reading_ahead(range(len(images))) as ahead,
    ):
        calls = (
            partial(try_prepare, extractor, ahead, i, has_digest=False) for i in range(len(images))
        )
        yield from (item for _, item in run_ahead(pool, calls, 64))


def _inputs_without_store(base: Any, images: Images) -> Iterator[Any]:
    """Rows of `base` for each image in order, or an ImageError for each that failed."""
    layer = _layer_of(base)
    for chunk in run_chunks(_chain(base), images, range(len(images)), {layer: ""}):
        rows = iter(chunk.blocks.get(layer, ()))
        yield from (chunk.failures.get(index) or next(rows) for index in chunk.indices)


class _Run:
    """A run of one sequence of images through a store, with their digests and failures."""

    def __init__(self, store: FeatureStore, images: Images, progress: ProgressCallback) -> None:
        self.store = store
        self.images = images
        self.progress = progress
        self.digests: dict[int, str] = {}
        self.failures: dict[int, ImageError] = {}
        self.n_copies: Counter[str] = Counter()
        self.is_reported = np.zeros(len(images), bool)

    def rows(self, stage: _Stage, blocks: dict[str, Matrix], *, collect: bool) -> Rows:
        """Make and store missing rows, then read all rows from the store."""
        self._identify(range(len(self.images)))
        missing = self._missing(stage, self._good())
        n_cached = self._plan(missing)
        unread: list[int] = []
        for _ in range(_MAX_ATTEMPTS):
            self._make(stage, missing)
            unread = self._collect(stage, blocks) if collect else self._unstored(stage)
            if not unread:
                break
            self._identify(unread)  # Images may have changed, or stored rows are damaged.
            missing = self._missing(stage, self._good())
        for index in unread:
            self.failures[index] = ImageError(
                self.images.names[index], "changed while it was read; run again"
            )
        if not collect:
            return Rows({}, _listed(self.failures), n_cached)
        return _finished(stage.producer, blocks, self.failures, len(self.images), n_cached)

    def inputs(self, stage: _Stage) -> Iterator[Any]:
        """Rows of each image in order, or an ImageError for each that failed."""
        self._identify(range(len(self.images)))
        self._make(stage, self._missing(stage, self._good()))
        stored = self._read(stage, self._good())
        next_index, rows = next(stored, (-1, None))
        for index in range(len(self.images)):
            if index in self.failures:
                yield self.failures[index]
            elif index == next_index:
                yield rows
                next_index, rows = next(stored, (-1, None))
            else:  # The stored row is damaged; the store warns and removes it.
                yield self._make_one(stage.producer, index)

    def _identify(self, indices: Sequence[int]) -> None:
        """Compute the digests of images, and record those that cannot be read as failures."""
        is_all = len(indices) == len(self.images)
        images = self.images if is_all else self.images.take(indices)
        for index, digest in zip(indices, self.store.digests(images), strict=True):
            if isinstance(digest, ImageError):
                self.failures[index] = digest
                self.digests.pop(index, None)
            else:
                self.digests[index] = digest
        self.n_copies = Counter(self.digests.values())

    def _good(self) -> list[int]:
        """Indices of the images that have not failed."""
        return [index for index in self.digests if index not in self.failures]

    def _missing(self, stage: _Stage, indices: Sequence[int]) -> dict[tuple[str, ...], list[int]]:
        """Indices of images with missing rows, by the layers that are missing."""
        digests = [self.digests[index] for index in indices]
        layers: dict[int, tuple[str, ...]] = defaultdict(tuple)
        for layer, fingerprint in stage.fingerprints.items():
            for i in self.store.missing(fingerprint, digests):
                layers[indices[i]] += (layer,)
        groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for index in sorted(layers):
            groups[layers[index]].append(index)
        return groups

    def _unstored(self, stage: _Stage) -> list[int]:
        """Indices of the images whose rows are still missing."""
        groups = self._missing(stage, self._good()).values()
        return [index for indices in groups for index in indices]

    def _make(self, stage: _Stage, missing: Mapping[tuple[str, ...], list[int]]) -> None:
        """Make and store rows, one per image content; first those of the base."""
        layer_of = {fingerprint: layer for layer, fingerprint in stage.fingerprints.items()}
        for layers, indices in missing.items():
            for chunk in self._chunks(stage, layers, self._unique(indices)):
                for shard in chunk.shards:
                    layer = layer_of[shard.fingerprint]
                    self.store.commit(shard, stage.settings(layer))
                self.failures |= chunk.failures
                self._report(chunk.indices)
        self._fail_copies()

    def _chunks(
        self, stage: _Stage, layers: Sequence[str], indices: Sequence[int]
    ) -> Iterator[Chunk]:
        """Write rows to shards: made of images or, if there is a base, of its rows."""
        fingerprints = {layer: stage.fingerprints[layer] for layer in layers}
        if stage.base is None:
            folder = self.store.folder
            return run_chunks(stage.producer, self.images, indices, fingerprints, folder)
        self._make(stage.base, self._missing(stage.base, indices))
        stored = self._read(stage.base, indices)
        return self._chunks_of_rows(stage.producer, stored, fingerprints)

    def _chunks_of_rows(
        self, producer: Any, stored: Iterator[tuple[int, Any]], fingerprints: Mapping[str, str]
    ) -> Iterator[Chunk]:
        for batch in batches(stored, producer.batch_length):
            indices, rows = map(list, zip(*batch))
            chunk = Chunk(indices, [self.digests[index] for index in indices])
            chunk.blocks = producer._extract_layers(rows, list(fingerprints))
            folder = self.store.folder
            yield to_shards(producer, chunk, fingerprints, folder, self.images.reading)

    def _read(self, stage: _Stage, indices: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """Index and stored rows of each image; failed images and damaged rows are skipped."""
        indices = [index for index in indices if index not in self.failures]
        digests = [self.digests[index] for index in indices]
        fingerprint = stage.fingerprints[_layer_of(stage.producer)]
        for i, rows in self.store.read(fingerprint, digests):
            yield indices[i], rows if stage.producer.is_ragged else rows[0]

    def _make_one(self, producer: Any, index: int) -> Any:
        """Rows of one image, without storing them, or an ImageError if it failed."""
        chained, layer = _chain(producer), _layer_of(producer)
        _, item = try_prepare(chained, self.images, index, has_digest=False)
        if isinstance(item, ImageError):
            return item
        return chained._extract_layers([item], [layer])[layer][0]

    def _unique(self, indices: Sequence[int]) -> list[int]:
        """The first index of each image content."""
        first = {self.digests[index]: index for index in reversed(indices)}
        return list(first.values())[::-1]

    def _fail_copies(self) -> None:
        """Record a failure for all images of the same content."""
        reasons = {
            self.digests[index]: error.reason
            for index, error in self.failures.items()
            if index in self.digests
        }
        for index in self._good() if reasons else ():
            if self.digests[index] in reasons:
                reason = reasons[self.digests[index]]
                self.failures[index] = ImageError(self.images.names[index], reason)

    def _collect(self, stage: _Stage, blocks: dict[str, Matrix]) -> list[int]:
        """Read all rows into their blocks; return the indices of rows that cannot be read."""
        unread: set[int] = set()
        indices = self._good()
        digests = [self.digests[index] for index in indices]
        for layer, fingerprint in stage.fingerprints.items():
            width = self.store.width(fingerprint)
            if width is None:  # No valid rows; `fill` removes damaged ones.
                empty = np.empty((len(self.images), 0), np.float32)
                unread.update(self.store.fill(fingerprint, digests, empty, indices))
                continue
            block = _block(blocks, layer, (len(self.images), width))
            unread.update(self.store.fill(fingerprint, digests, block, indices))
        return sorted(unread)

    def _plan(self, missing: Mapping[tuple[str, ...], list[int]]) -> int:
        """Report the plan, and images without missing rows as done; number of cached images."""
        self.is_reported[:] = True
        for indices in missing.values():
            self.is_reported[indices] = False
        n_done = int(self.is_reported.sum())
        n_cached = n_done - len(self.failures)
        self.progress.plan(len(self.images), n_cached)
        self.progress.advance(n_done)
        return n_cached

    def _report(self, indices: Sequence[int]) -> None:
        """Report images, and others of the same content, as done; each image only once."""
        new = [index for index in indices if not self.is_reported[index]]
        self.is_reported[new] = True
        self.progress.advance(sum(self.n_copies[self.digests[index]] for index in new))


def _block(blocks: dict[str, Matrix], layer: str, shape: tuple[int, int]) -> Matrix:
    """Array of a layer's rows, allocated once its width is known."""
    if layer not in blocks:
        blocks[layer] = np.empty(shape, np.float32)
    return blocks[layer]


def _finished(
    extractor: Any,
    blocks: dict[str, Matrix],
    failures: Mapping[int, ImageError],
    n_images: int,
    n_cached: int = 0,
) -> Rows:
    """Result of filled blocks, with NaN in the rows of images that failed."""
    for layer in extractor.layers:
        if layer not in blocks:  # No image could be read.
            _block(blocks, layer, (n_images, extractor.n_features(layer)))
        blocks[layer][sorted(failures)] = 0  # Only NaN of the extractor is worth a warning.
        _warn_of_not_finite(extractor, layer, blocks[layer], n_images - len(failures))
        blocks[layer][sorted(failures)] = np.nan
    return Rows({layer: blocks[layer] for layer in extractor.layers}, _listed(failures), n_cached)


def _warn_of_not_finite(extractor: Any, layer: str, block: Matrix, n_images: int) -> None:
    n = len(find_not_finite(block))
    if n:
        what = f"Layer {layer}" if layer else type(extractor).__name__
        warnings.warn(
            f"{what} gives NaN or infinite features for {n:,} of {n_images:,} images.",
            NonFiniteRowsWarning,
            stacklevel=4,
        )


def _listed(failures: Mapping[int, ImageError]) -> list[Failure]:
    return [Failure(index, error) for index, error in sorted(failures.items())]
