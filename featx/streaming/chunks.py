"""Process a chunk of images: decode, extract, and write its rows to a store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from featx._fingerprints import fingerprint
from featx._linalg import rows_per_chunk
from featx.data.decode_budget import decoding
from featx.data.images import Images
from featx.data.reading import Reading
from featx.errors import ImageError
from featx.process.phases import phase
from featx.store.shards import Shard, write_shard

_RECORDED = ("device", "backend", "batch_size", "n_jobs")
"""Parameters of speed that each shard records, though they are not part of the fingerprint."""


@dataclass
class Chunk:
    """Result of a few images: rows in memory (`blocks`, by layer), or shards on disk."""

    indices: list[int]
    digests: list[str] = field(default_factory=list)
    blocks: dict[str, Any] = field(default_factory=dict)
    shards: list[Shard] = field(default_factory=list)
    failures: dict[int, ImageError] = field(default_factory=dict)

    @property
    def done(self) -> list[int]:
        """Indices of the images that have rows."""
        return [index for index in self.indices if index not in self.failures]


@phase("decode")
def try_prepare(producer: Any, images: Images, index: int, *, has_digest: bool) -> tuple[str, Any]:
    """Digest (empty without `has_digest`), and the prepared image or the error."""
    try:
        with decoding():
            least_px = producer.least_px
            if has_digest:
                digest, pixels = images.read(index, least_px)
            else:  # Hashing an array may take as long as extracting its features.
                digest, pixels = "", images.pixels(index, least_px)
            _check_bands(producer, pixels)
            return digest, producer._prepare(pixels)
    except ImageError as error:
        name = images.names[index]
        return "", error if error.name == name else ImageError(name, error.reason)


def _check_bands(producer: Any, pixels: Any) -> None:
    """Raise an error if an image does not have the number of bands that an extractor expects."""
    expected, n_bands = getattr(producer, "n_bands", 3), pixels.shape[2]
    if n_bands != expected:
        raise ImageError(
            "",
            f"{n_bands} bands; expected {expected}: select one or three (--bands 4,3,2), or read "
            "each as an image of its own (--bands each)",
        )


def row_settings(producer: Any, layer: str, reading: Reading) -> dict[str, Any]:
    """Settings behind the fingerprint of rows: those of the extractor and of reading images.

    Parameters
    ----------
    producer : Producer
    layer : str
    reading : Reading
    """
    settings: dict[str, Any] = producer.settings(layer)
    return settings | ({"reading": reading.settings()} if reading.settings() else {})


def row_fingerprint(producer: Any, layer: str, reading: Reading) -> str:
    """Digest of `row_settings`; with default reading, the extractor's own fingerprint."""
    if not reading.settings():
        return str(producer.fingerprint(layer))
    return fingerprint(row_settings(producer, layer, reading))


@phase("extract")
def extract_chunk(
    extract: Callable[..., Mapping[str, Any]],
    indices: list[int],
    decoded: Iterable[tuple[str, Any]],
    fingerprints: Mapping[str, str],
) -> Chunk:
    """Extract the rows of each layer for a few decoded images; failed ones are set aside."""
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


@phase("write rows")
def to_shards(
    producer: Any,
    chunk: Chunk,
    fingerprints: Mapping[str, str],
    folder: Path | None,
    reading: Reading,
    **speed: str,
) -> Chunk:
    """Write a chunk's rows to the store in `folder`, if there is one, and free their memory."""
    if folder is None or not chunk.blocks:
        return chunk
    speed = {name: str(getattr(producer, name, None)) for name in _RECORDED} | speed
    for layer, rows in chunk.blocks.items():
        settings = row_settings(producer, layer, reading)
        chunk.shards.append(
            write_shard(folder, fingerprints[layer], chunk.digests, rows, speed, settings)
        )
    chunk.blocks = {}
    return chunk


def batches(items: Iterable[Any], length: int) -> Iterator[list[Any]]:
    """Items in lists of `length`; the last one may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, length)):
        yield batch


def chunk_length(producer: Any) -> int:
    """Number of images in a chunk: the producer's batch size, or fewer for 32 MiB of rows."""
    widths = [producer.n_features(layer) for layer in producer.layers]
    row_bytes = 4 * max(sum(widths), 1)
    return int(max(1, min(producer.batch_length, rows_per_chunk(row_bytes))))
