from __future__ import annotations

from typing import Any

import numpy as np

from featx.data.images import Images
from featx.extractors.color import ColorHistogram
from featx.streaming.progress import BarOnly, ProgressCallback
from featx.streaming.rows import stream_rows


class Heard(ProgressCallback):
    """Keeps every call that is not only about columns."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def note(self, text: str) -> None:
        self.calls.append(("note", text))

    def plan(self, n_images: int, n_cached: int) -> None:
        self.calls.append(("plan", n_images, n_cached))

    def train(self, name: str, n_images: int) -> None:
        self.calls.append(("train", name, n_images))

    def advance(self, n_images: int) -> None:
        self.calls.append(("advance", n_images))


def test_only_how_far_training_is_passes_to_the_bar() -> None:
    heard = Heard()
    bar = BarOnly(heard)
    bar.begin(["hog"], [3])
    bar.note("one of many runs")
    bar.plan(8, 0)
    bar.train("head", 80)
    bar.advance(8)
    assert heard.calls == [("train", "head", 80), ("advance", 8)]


def test_a_run_is_planned_before_it_advances() -> None:
    heard = Heard()
    images = Images(np.zeros((5, 8, 8, 3), np.uint8))
    stream_rows(ColorHistogram(n_jobs=1), images, progress=heard)
    assert heard.calls[0] == ("plan", 5, 0)
    assert sum(n_images for _, n_images in heard.calls[1:]) == 5


def test_a_listener_may_leave_out_what_it_does_not_need() -> None:
    class Bar(ProgressCallback):
        n_done = 0

        def advance(self, n_images: int) -> None:
            self.n_done += n_images

    bar = Bar()
    stream_rows(ColorHistogram(n_jobs=1), Images(np.zeros((5, 8, 8, 3), np.uint8)), progress=bar)
    assert bar.n_done == 5
