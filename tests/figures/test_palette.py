from __future__ import annotations

import pytest

from featx.figures.palette import (
    _PAPER,
    N_PAPER_LOOKS,
    SCREEN,
    Palette,
    color_of,
    marker_of,
)


@pytest.mark.parametrize(("palette", "n_classes"), [(_PAPER, N_PAPER_LOOKS), (SCREEN, 102)])
def test_classes_all_look_different(palette: Palette, n_classes: int) -> None:
    looks = {(color_of(i, palette), marker_of(i, palette)) for i in range(n_classes)}

    assert len(looks) == n_classes


def test_figure_and_page_share_the_first_colors() -> None:
    assert [color_of(i) for i in range(6)] == [color_of(i, SCREEN) for i in range(6)]


def test_first_eight_classes_share_a_marker() -> None:
    for palette in (_PAPER, SCREEN):
        assert len({marker_of(i, palette) for i in range(8)}) == 1
        assert marker_of(8, palette) != marker_of(7, palette)
