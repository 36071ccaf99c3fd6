from __future__ import annotations

import pytest

from featx import load_dataset
from featx.errors import ProjectionError
from featx.figures.kernel_figure import draw_filters


def test_without_data_the_first_kernels_are_drawn() -> None:
    figure, result = draw_filters("featxnet")
    assert result.rows == [{"n_kernels": 32, "size_px": [5, 5]}]
    assert figure.texts[0].get_text() == "featxnet, first kernels"


def test_with_data_a_block_is_drawn_for_each_channel() -> None:
    digits = load_dataset("digits").take(range(40))
    figure, result = draw_filters("featxnet", digits, "pool1", channels=[3, 7], store=None)
    assert [row["channel"] for row in result.rows] == [3, 7]
    assert result.sentences[0] == "2 channels of pool1"
    assert len(figure.axes) == 2


def test_a_layer_without_data_is_refused() -> None:
    with pytest.raises(ProjectionError, match="give data too"):
        draw_filters("featxnet", layer="pool1")
