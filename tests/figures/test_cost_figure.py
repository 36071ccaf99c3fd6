from __future__ import annotations

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from featx.figures.cost_data import CostData, CostPoint
from featx.figures.cost_figure import draw_cost
from featx.figures.palette import QUIET, TRAINED
from tests.figures.conftest import boxes_of, overlapping


def point(spec: str, cost: float, accuracy: float, *, is_control: bool = False) -> CostPoint:
    return CostPoint(spec, cost, accuracy, accuracy - 0.125, accuracy + 0.125, is_control)


def drawn(*points: CostPoint) -> Figure:
    return draw_cost(CostData("ms_per_image", points))


@pytest.mark.parametrize("n_points", [1, 4, 10])
def test_no_name_of_features_covers_another(n_points: int) -> None:
    points = (
        point(f"cnn:squeezenet1_0:fire{i},pooling=gap", 10 + i % 3, 0.5 + 0.02 * (i % 4))
        for i in range(n_points)
    )

    assert overlapping(boxes_of(drawn(*points))) == 0


def test_every_point_has_its_interval_and_its_name() -> None:
    axes = drawn(point("hog,cell_px=8", 2, 0.5), point("pixels", 1, 0.25)).axes[0]

    lines = [line.get_xydata().tolist() for line in axes.get_lines()]
    assert lines == [
        [[2, 0.375], [2, 0.625]], [[2, 0.5]], [[1, 0.125], [1, 0.375]], [[1, 0.25]]
    ]  # fmt: skip
    assert sorted(text.get_text() for text in axes.texts) == ["hog,cell_px=8", "pixels"]


def test_controls_are_gray_squares() -> None:
    axes = drawn(point("hog", 2, 0.5), point("pixels", 1, 0.3, is_control=True)).axes[0]

    looks = {(line.get_marker(), to_hex(line.get_color())) for line in axes.get_lines()[1::2]}
    assert looks == {("o", TRAINED), ("s", QUIET)}
    assert {text.get_text(): text.get_color() for text in axes.texts}["pixels"] == QUIET


def test_costs_of_five_orders_of_magnitude_are_all_in_view() -> None:
    axes = drawn(point("a", 0.01, 0.3), point("b", 1000, 0.5)).axes[0]

    assert axes.get_xscale() == "log"
    low, high = axes.get_xlim()
    assert low < 0.01 < 1000 < high


def test_a_folder_of_weights_is_left_out_of_the_name() -> None:
    axes = drawn(point("cnn:m:fc7,weights=/long/folder/a.pth", 1, 0.5)).axes[0]

    assert [text.get_text() for text in axes.texts] == ["cnn:m:fc7"]
