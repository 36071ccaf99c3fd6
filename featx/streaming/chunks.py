"""A few images at a time: decode, extract, write."""

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


@phase("decode")
def try_prepare(producer: Any, images: Images, index: int, *, has_digest: bool) -> tuple[str, Any]:
    """Digest, if it is wanted, and prepared image, or the error where it failed."""
    try:
        with decoding():
            least_px = producer.least_px
            digest, pixels = (  # A digest of an array takes as long as its features may.
                images.read(index, least_px) if has_digest else ("", images.pixels(index, least_px))
            )
            _check_bands(producer, pixels)
            return digest, producer._prepare(pixels)
    except ImageError as error:
        name = images.names[index]
        return "", error if error.name == name else ImageError(name, error.reason)


def _check_bands(producer: Any, pixels: Any) -> None:
    """Refuse images of other bands than an extractor takes."""
    expected, n_bands = getattr(producer, "n_bands", 3), pixels.shape[2]
    if n_bands != expected:
        raise ImageError(
            "",
            f"{n_bands} bands; expected {expected}: take one or three by bands (--bands 4,3,2), "
            "or each as an image of its own (--bands each)",
        )


def row_settings(producer: Any, layer: str, reading: Reading) -> dict[str, Any]:
    """What the fingerprint of rows is taken of: the extractor's settings, and how images are read.

    Parameters
    ----------
    producer : Producer
    layer : str
    reading : Reading
    """
    settings: dict[str, Any] = producer.settings(layer)
    return settings | ({"reading": reading.settings()} if reading.settings() else {})


def row_fingerprint(producer: Any, layer: str, reading: Reading) -> str:
    """Digest of `row_settings`: the extractor's own where images are read as by default."""
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
    """Rows of each layer for a few decoded images, those that failed aside."""
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
    """Write a chunk's rows under `folder`, if there is one, and let go of them."""
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
    """Items in lists of `length`, the last one perhaps shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, length)):
        yield batch


def chunk_length(producer: Any) -> int:
    """Images in a chunk: the producer's batch, or what 32 MiB of rows hold."""
    widths = [producer.n_features(layer) for layer in producer.layers]
    row_bytes = 4 * max(sum(widths), 1)
    return int(max(1, min(producer.batch_length, rows_per_chunk(row_bytes))))
