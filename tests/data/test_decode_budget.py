from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from featx.data import decode_budget
from featx.data.decode_budget import _Budget
from featx.data.images import Images
from featx.extractors.color import MeanColor


def test_an_image_waits_until_there_is_room() -> None:
    budget, events, has_first = _Budget(100), [], threading.Event()

    def second() -> None:
        has_first.wait()
        with budget.decoding():
            budget.reserve(60)
            events.append("second")

    with ThreadPoolExecutor(1) as pool:
        with budget.decoding():
            budget.reserve(60)
            has_first.set()
            waiting = pool.submit(second)
            assert not waiting.done()
            events.append("first")
        waiting.result(5)
    assert events == ["first", "second"]


def test_an_image_larger_than_the_budget_is_decoded_alone() -> None:
    budget = _Budget(100)
    with budget.decoding():
        budget.reserve(1000)
    assert budget._n_reserved == 0


def test_a_thread_with_a_reservation_does_not_wait_for_more() -> None:
    budget = _Budget(100)
    with budget.decoding():
        budget.reserve(90)
        with budget.decoding():  # Of the same image.
            budget.reserve(300)
        assert budget._n_reserved == 300
    assert budget._n_reserved == 0


def test_an_error_releases_the_reservation() -> None:
    budget = _Budget(100)

    def fail() -> None:
        with budget.decoding():
            budget.reserve(90)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert budget._n_reserved == 0


@pytest.mark.parametrize(("suffix", "mode"), [("JPEG", "RGB"), ("PNG", "I;16"), ("TIFF", "RGB")])
def test_threads_together_reserve_no_more_than_the_budget(
    suffix: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_image = 8 * 3 * 64 * 64
    budget, most = _Budget(2 * n_image), []
    reserve = budget.reserve

    def watched(n_bytes: int) -> None:
        reserve(n_bytes)
        most.append(budget._n_reserved)

    monkeypatch.setattr(budget, "reserve", watched)
    monkeypatch.setattr(decode_budget, "_budget", budget)
    file = io.BytesIO()
    pixels = np.zeros((64, 64, 3), np.uint8) if mode == "RGB" else np.zeros((64, 64), np.uint16)
    Image.fromarray(pixels).save(file, suffix)

    MeanColor(n_jobs=8).fit_transform(Images([file.getvalue()] * 64))

    assert n_image <= max(most) <= 2 * n_image
    assert budget._n_reserved == 0
