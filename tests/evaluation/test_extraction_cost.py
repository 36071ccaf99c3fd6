from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from featx.data.images import Images
from featx.errors import ImageError
from featx.evaluation import extraction_cost
from featx.evaluation.extraction_cost import time_extraction
from featx.extractors.color import MeanColor
from featx.store.feature_store import FeatureStore


def numbered(n_images: int) -> Images:
    """Images whose pixels are all their index."""
    pixels = np.arange(n_images, dtype=np.uint8)[:, None, None, None]
    return Images(np.broadcast_to(pixels, (n_images, 2, 2, 3)))


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Indices of the images that were extracted, in order; image 9 is broken."""
    indices: list[int] = []
    prepare = MeanColor._prepare

    def note(self: Any, pixels: Any) -> Any:
        indices.append(int(pixels[0, 0, 0]))
        if indices[-1] == 9:
            raise ImageError("9", "broken")
        return prepare(self, pixels)

    monkeypatch.setattr(MeanColor, "_prepare", note)
    return indices


@pytest.mark.parametrize("n_images", [1, 3, 10, 64, 100, 200])
def test_the_images_that_are_timed_are_spread_evenly(n_images: int, prepared: list[int]) -> None:
    time_extraction(MeanColor(), numbered(n_images), n_jobs=1)
    warm_up, *timed = prepared
    assert warm_up == 0
    assert len(set(timed)) == len(timed) == min(n_images, 64)
    gaps = np.diff([-1, *sorted(timed), n_images])
    assert gaps.max() <= -(-n_images // 64)


def test_the_quickest_round_counts_for_each_of_its_images(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = itertools.accumulate([0.0, 0.8, 5.0, 0.4, 5.0, 0.6, 5.0, 0.9])
    clock = SimpleNamespace(perf_counter=lambda: next(moments))
    monkeypatch.setattr(extraction_cost, "time", clock)
    milliseconds = time_extraction(MeanColor(), numbered(8), n_jobs=1)
    assert milliseconds == pytest.approx(1000 * 0.4 / 2)


def test_a_store_saves_no_time(store: FeatureStore, prepared: list[int]) -> None:
    extractor = MeanColor(store=store, n_jobs=1)
    extractor.transform(numbered(8))
    prepared.clear()
    time_extraction(extractor, numbered(8), n_jobs=1)
    assert sorted(prepared) == [0, *range(8)]
    assert extractor.store is store
