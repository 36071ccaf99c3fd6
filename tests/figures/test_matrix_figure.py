from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from featx.figures.matrix_data import ConfusionData, SimilarityData
from featx.figures.matrix_figure import draw_confusion, draw_similarity


def confusion(*counts: list[int]) -> Figure:
    names = tuple(f"class {i}" for i in range(len(counts)))
    return draw_confusion(ConfusionData(names, np.array(counts)))


def digits_of(figure: Figure) -> dict[tuple[float, float], str]:
    """Text of each cell, by row and column."""
    return {text.get_position()[::-1]: text.get_text() for text in figure.axes[0].texts}


def test_confusion_shows_shares_as_colors_and_counts_as_text() -> None:
    figure = confusion([3, 1], [0, 8])

    [image] = figure.axes[0].get_images()
    np.testing.assert_allclose(image.get_array(), [[0.75, 0.25], [0, 1]])
    assert digits_of(figure) == {(0, 0): "3", (0, 1): "1", (1, 0): "", (1, 1): "8"}


def test_true_classes_are_rows_from_the_top() -> None:
    axes = confusion([3, 1], [0, 8]).axes[0]

    assert axes.get_ylabel() == "true class"
    assert axes.yaxis.get_inverted()
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["class 0", "class 1"]


def test_text_is_light_on_dark_cells_alone() -> None:
    texts = confusion([5, 5], [0, 8]).axes[0].texts

    assert [text.get_text() for text in texts if text.get_color() == "white"] == ["8"]


def test_colors_of_two_matrices_can_be_compared() -> None:
    flat = SimilarityData(("a", "b"), np.array([[0.5, 0.4], [0.4, 0.5]]))

    for figure in (draw_similarity(flat), confusion([1, 0], [0, 1])):
        assert figure.axes[0].get_images()[0].get_clim() == (0, 1)


def test_similarity_is_written_without_the_leading_zero() -> None:
    figure = draw_similarity(SimilarityData(("a", "b"), np.array([[1, 0.456], [0.004, 1]])))

    assert list(digits_of(figure).values()) == ["1.00", ".46", ".00", "1.00"]


def test_many_classes_leave_no_room_for_text_but_keep_their_names() -> None:
    n = 21
    figure = confusion(*np.eye(n, dtype=int).tolist())

    assert digits_of(figure) == {}
    assert len(figure.axes[0].get_yticklabels()) == n
