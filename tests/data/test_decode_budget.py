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
        with budget.spending():
            budget.take(60)
            events.append("second")

    with ThreadPoolExecutor(1) as pool:
        with budget.spending():
            budget.take(60)
            has_first.set()
            waiting = pool.submit(second)
            assert not waiting.done()
            events.append("first")
        waiting.result(5)
    assert events == ["first", "second"]


def test_an_image_larger_than_the_budget_is_decoded_alone() -> None:
    budget = _Budget(100)
    with budget.spending():
        budget.take(1000)
    assert budget._n_held == 0


def test_one_who_holds_some_does_not_wait_for_more() -> None:
    budget = _Budget(100)
    with budget.spending():
        budget.take(90)
        with budget.spending():  # Of the same image.
            budget.take(300)
        assert budget._n_held == 300
    assert budget._n_held == 0


def test_an_error_gives_back_what_was_taken() -> None:
    budget = _Budget(100)

    def fail() -> None:
        with budget.spending():
            budget.take(90)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert budget._n_held == 0


@pytest.mark.parametrize(("suffix", "mode"), [("JPEG", "RGB"), ("PNG", "I;16"), ("TIFF", "RGB")])
def test_threads_together_hold_no_more_than_the_budget(
    suffix: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_image = 8 * 3 * 64 * 64
    budget, most = _Budget(2 * n_image), []
    take = budget.take

    def watched(n_bytes: int) -> None:
        take(n_bytes)
        most.append(budget._n_held)

    monkeypatch.setattr(budget, "take", watched)
    monkeypatch.setattr(decode_budget, "_budget", budget)
    file = io.BytesIO()
    pixels = np.zeros((64, 64, 3), np.uint8) if mode == "RGB" else np.zeros((64, 64), np.uint16)
    Image.fromarray(pixels).save(file, suffix)

    MeanColor(n_jobs=8).fit_transform(Images([file.getvalue()] * 64))

    assert n_image <= max(most) <= 2 * n_image
    assert budget._n_held == 0
