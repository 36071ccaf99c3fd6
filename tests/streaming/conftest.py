"""Extractors that run as networks do, and what the photographs' rows must be."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import featx.data.images
from featx.extractors.color import ColorHistogram


class InParent(ColorHistogram):
    """Runs as a network does: in the calling process, with threads around it."""

    batch_length = 5
    runs_in_parent = True


class InLanes(InParent):
    """Runs as a network does on a processor: each thread takes images from file to rows."""

    has_worker_threads = True
    spoiled = -1

    @contextmanager
    def worker_threads(self, layers: Any, n_images: int, n_jobs: int) -> Iterator[Any]:
        indices = itertools.count()

        def extract(batch: Any, layers: Any) -> dict[str, np.ndarray]:
            if next(indices) == self.spoiled:
                raise RuntimeError("spoiled")
            return self._extract_layers(batch, layers)

        yield SimpleNamespace(extract=extract, begin=lambda: None, backend=lambda: "own")


@pytest.fixture
def n_decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each image was decoded, by name."""
    counts: Counter[str] = Counter()
    decode = featx.data.images.decode

    def counted(image: Any, *, name: str | None = None, **options: Any) -> Any:
        counts[name or ""] += 1
        return decode(image, name=name, **options)

    monkeypatch.setattr(featx.data.images, "decode", counted)
    return counts


@pytest.fixture
def expected(photos: list[str]) -> np.ndarray:
    """What the photographs' rows are without any store."""
    return ColorHistogram().transform(photos)
