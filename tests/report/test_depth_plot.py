from __future__ import annotations

from featx.figures.depth_data import DepthCurve, DepthData
from featx.report.depth_plot import plot_depth


def curve(measure: str, *values: float | None) -> DepthCurve:
    none = (None,) * len(values)
    return DepthCurve(measure, values, low=none, high=none, shuffled=none, random=none)


def test_each_measure_of_two_layers_has_a_plot() -> None:
    data = DepthData(("a", "b"), (curve("purity", 0.2, 0.5), curve("nmi", None, 0.5)))

    plots = plot_depth(data, "k")

    assert list(plots) == ["purity"]
    assert plots["purity"].xaxis[0].major_label_overrides == {0: "a", 1: "b"}


def test_a_missing_interval_has_no_width() -> None:
    plot = plot_depth(DepthData(("a", "b"), (curve("purity", 0.2, 0.5),)), "k")["purity"]

    data = plot.renderers[0].data_source.data
    assert data["low"] == data["high"] == [0.2, 0.5]
    assert data["tip"] == ["0.200", "0.500"]


def test_a_result_without_depth_has_no_plot() -> None:
    assert plot_depth(None, "k") == {}
