from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from featx.figures.depth_data import DepthCurve, DepthData
from featx.figures.depth_figure import draw_depth

NONE = (None, None, None)


def curve(measure: str = "accuracy", values: Any = (0.2, 0.5, 0.9), **more: Any) -> DepthCurve:
    others = dict.fromkeys(("low", "high", "shuffled", "random"), NONE) | more
    return DepthCurve(measure, values, **others)


def data(*curves: DepthCurve) -> DepthData:
    return DepthData(("conv1", "pool1", "fc7"), curves)


def test_a_layer_without_a_value_leaves_a_gap() -> None:
    [axes] = draw_depth(data(curve(values=(0.2, None, 0.9)))).axes

    *_, trained = axes.get_lines()
    np.testing.assert_array_equal(trained.get_ydata(), [0.2, np.nan, 0.9])


def test_each_control_is_a_line_of_its_own() -> None:
    controls = {"shuffled": (0.1, 0.1, 0.1), "random": (0.3, 0.3, 0.3)}

    [axes] = draw_depth(data(curve(**controls))).axes

    assert [list(line.get_ydata()) for line in axes.get_lines()] == [
        [0.1] * 3, [0.3] * 3, [0.2, 0.5, 0.9]
    ]  # fmt: skip
    assert len({line.get_color() for line in axes.get_lines()}) == 3


@pytest.mark.parametrize("random", [NONE, (0.3, 0.3, 0.3)])
def test_random_weights_are_in_the_legend_only_where_measured(random: Any) -> None:
    figure = draw_depth(data(curve(random=random)))

    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert ("random weights" in names) == (random != NONE)


def test_interval_is_shaded_from_end_to_end() -> None:
    [axes] = draw_depth(data(curve(low=(0.1, 0.4, 0.8), high=(0.3, 0.6, 1.0)))).axes

    [shade] = axes.collections
    corners = {tuple(xy) for path in shade.get_paths() for xy in path.vertices}
    assert {(0, 0.1), (0, 0.3), (1, 0.4), (1, 0.6), (2, 0.8), (2, 1.0)} <= corners


def test_layers_are_named_below_the_lowest_panel_of_each_column_alone() -> None:
    names = ("accuracy", "purity", "nmi", "ari")
    figure = draw_depth(data(*map(curve, names)))

    labels = [[tick.get_text() for tick in axes.get_xticklabels()] for axes in figure.axes]
    assert labels == [[""] * 3, *[["conv1", "pool1", "fc7"]] * 3]


def test_a_measure_that_can_be_negative_has_a_line_at_zero() -> None:
    signed, unit = draw_depth(data(curve("silhouette", (-0.3, 0.1, 0.2)), curve())).axes

    assert [0, 0] in [list(line.get_ydata()) for line in signed.get_lines()]
    assert signed.get_ylim()[0] < -0.3
    assert unit.get_ylim() == (0, 1.02)
