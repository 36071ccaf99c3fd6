from __future__ import annotations

import numpy as np
import pytest

from featx.evaluation.image_conditions import Appearance, find_conditions, is_blank

RNG = np.random.default_rng(0)


def noise(height: int, width: int) -> np.ndarray:
    return RNG.integers(0, 255, (height, width, 3)).astype(np.uint8)


def conditions(*images: np.ndarray) -> list[tuple[int, str]]:
    usual = [noise(60, 80) for _ in range(4)]
    rows = Appearance().fit_transform([*usual, *images])
    return [(it.row - 4, it.problem) for it in find_conditions(rows)]


@pytest.mark.parametrize("shade", [0, 120, 255])
def test_images_of_one_shade_are_blank(shade: int) -> None:
    almost = np.full((60, 80, 3), shade, np.uint8)
    almost[0, 0] ^= 1

    assert conditions(np.full((60, 80, 3), shade, np.uint8), almost) == [(0, "blank"), (1, "blank")]


def test_a_small_mark_is_not_blank() -> None:
    marked = np.zeros((60, 80, 3), np.uint8)
    marked[20:30, 20:30] = 200

    assert not is_blank(Appearance().fit_transform([marked])).any()


def test_small_and_long_images_are_told_from_the_usual_ones() -> None:
    assert conditions(noise(31, 40), noise(40, 400), noise(300, 60), noise(60, 100)) == [
        (0, "tiny"),
        (1, "odd shape"),
        (2, "odd shape"),
    ]


def test_where_all_are_small_none_is_tiny() -> None:
    rows = Appearance().fit_transform([noise(28, 28) for _ in range(5)])

    assert not list(find_conditions(rows))
