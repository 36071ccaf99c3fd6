from __future__ import annotations

import numpy as np
import pytest
from bokeh.models import HoverTool

from featx.report.plots import (
    add_tip,
    empty_plot,
    name_ticks,
    percent_format,
    percent_text,
    with_gaps,
)


def test_settings_of_a_plot_go_before_the_common_look() -> None:
    plain, low = empty_plot("figure-a"), empty_plot("figure-b", height=100)

    assert (plain.name, low.name) == ("figure-a", "figure-b")
    assert low.height == 100 != plain.height
    assert plain.tools == low.tools == []
    assert plain.sizing_mode == low.sizing_mode == "stretch_width"


def test_a_tip_belongs_to_its_own_glyphs_alone() -> None:
    plot = empty_plot("figure-a")
    bars, dots = plot.vbar(x=[0], top=[1]), plot.scatter([0], [1])

    add_tip(plot, dots, [("spec", "@{spec}")], mode="vline")

    [tool] = plot.select(HoverTool)
    assert tool.renderers == [dots] != [bars]
    assert (tool.tooltips, tool.mode) == ([("spec", "@{spec}")], "vline")


def test_names_that_are_cut_to_the_same_text_keep_their_ticks() -> None:
    axis = empty_plot("figure-a").xaxis[0]

    name_ticks(axis, ["abcdefg", "abcdefh", "abcde"], longest=5)

    assert axis.ticker.ticks == [0, 1, 2]
    assert axis.major_label_overrides == {0: "abcd…", 1: "abcd…", 2: "abcde"}


@pytest.mark.parametrize(("n_names", "is_turned"), [(0, False), (4, False), (5, True)])
def test_many_names_are_turned(n_names: int, is_turned: bool) -> None:
    axis = empty_plot("figure-a").xaxis[0]

    name_ticks(axis, ["name"] * n_names)

    assert len(axis.ticker.ticks) == n_names
    assert (axis.major_label_orientation != "horizontal") == is_turned


@pytest.mark.parametrize("ends", [(0.4, None), (None, 0.6), (None, None)])
def test_an_interval_with_one_end_is_not_told(ends: tuple[float | None, float | None]) -> None:
    assert percent_text(0.5, *ends) == "50.0%"


def test_an_axis_in_percent_takes_shares() -> None:
    assert percent_format().format == "0%"


def test_missing_values_become_gaps_and_zeros_stay() -> None:
    np.testing.assert_array_equal(with_gaps([0, None, 0.5]), [0, np.nan, 0.5])
