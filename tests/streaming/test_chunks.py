from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from featx.data.images import Images
from featx.data.reading import Reading
from featx.errors import ImageError
from featx.extractors.color import ColorHistogram
from featx.store.shards import open_shard
from featx.streaming.chunks import (
    Chunk,
    batches,
    chunk_length,
    extract_chunk,
    to_shards,
    try_prepare,
)


def chunk_of_two() -> Chunk:
    return Chunk([0, 1], ["d0", "d1"], {"a": np.eye(2, 3, dtype=np.float32)})


@pytest.mark.parametrize("length", [1, 3, 7, 10])
def test_batches_hold_every_item_in_order(length: int) -> None:
    parts = list(batches(iter(range(7)), length))
    assert [item for part in parts for item in part] == list(range(7))
    assert {len(part) for part in parts[:-1]} <= {length}


@pytest.mark.parametrize(
    ("n_columns", "expected"), [(10, 64), (2**20, 4), (2**23, 1), (2**26, 1), (0, 64)]
)
def test_a_chunk_holds_a_batch_or_32_mib_of_all_layers_rows(n_columns: int, expected: int) -> None:
    producer = SimpleNamespace(
        layers=["pool1", "fc7"], n_features=lambda layer: n_columns, batch_length=64
    )
    assert chunk_length(producer) == expected


def test_failed_images_are_set_aside_from_the_rows() -> None:
    error = ImageError("b.jpg", "no image")
    decoded = [("d7", 1.0), ("", error), ("d5", 2.0)]
    chunk = extract_chunk(
        lambda items, layers: {layers[0]: np.array(items)}, [7, 3, 5], decoded, {"fc7": "f"}
    )
    assert (chunk.done, chunk.digests, chunk.failures) == ([7, 5], ["d7", "d5"], {3: error})
    assert chunk.blocks["fc7"].tolist() == [1.0, 2.0]


def test_nothing_is_extracted_where_no_image_was_readable() -> None:
    def extract(items: Any, layers: Any) -> dict[str, Any]:
        raise AssertionError("called without images")

    chunk = extract_chunk(extract, [4], [("", ImageError("b.jpg", "no image"))], {"": "f"})
    assert (chunk.done, chunk.blocks) == ([], {})


def test_an_error_while_preparing_bears_the_images_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any, pixels: Any) -> Any:
        raise ImageError("array", "too small")

    monkeypatch.setattr(ColorHistogram, "_prepare", fail)
    images = Images(np.zeros((2, 4, 4, 3), np.uint8), names=["a.png", "b.png"])
    digest, error = try_prepare(ColorHistogram(), images, 1, has_digest=True)
    assert (digest, error.name, error.reason) == ("", "b.png", "too small")


def test_an_image_is_digested_only_where_its_rows_are_stored() -> None:
    images = Images(np.zeros((2, 4, 4, 3), np.uint8))
    digests = [try_prepare(ColorHistogram(), images, 1, has_digest=has)[0] for has in (True, False)]
    assert digests == [images.digest(1), ""]


def test_rows_are_read_back_from_the_shards_and_not_held(tmp_path: Path) -> None:
    chunk = to_shards(
        ColorHistogram(n_jobs=3), chunk_of_two(), {"a": "f"}, tmp_path, Reading(), backend="own"
    )
    [shard] = chunk.shards
    rows = open_shard(tmp_path, shard.file, shard.layout)
    assert rows is not None
    np.testing.assert_array_equal(rows, np.eye(2, 3))
    assert (chunk.blocks, shard.fingerprint, shard.digests) == ({}, "f", ("d0", "d1"))
    assert (shard.producer["n_jobs"], shard.producer["backend"]) == ("3", "own")


def test_rows_without_a_folder_stay_in_memory() -> None:
    chunk = to_shards(ColorHistogram(), chunk_of_two(), {"a": "f"}, None, Reading())
    assert (list(chunk.blocks), chunk.shards) == (["a"], [])
