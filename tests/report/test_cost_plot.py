from __future__ import annotations

from featx.figures.cost_data import CostData, CostPoint
from featx.report.cost_plot import plot_cost


def point(spec: str, cost: float, accuracy: float, *, is_control: bool = False) -> CostPoint:
    return CostPoint(spec, cost, accuracy, low=None, high=None, is_control=is_control)


def test_names_do_not_overlap() -> None:
    many = [point(f"a long name of features {i}", 1 + i, 0.5 + i / 1000) for i in range(50)]

    plot = plot_cost(CostData("ms_per_image", (point("cheap", 0.1, 0.1), *many)), "k")

    named = [text for label in plot.center[-2:] for text in label.source.data["text"]]
    assert "a long name of features 49" in named
    assert len(named) < 10


def test_controls_are_diamonds_under_their_short_names() -> None:
    points = (point("hog,cell_px=8", 1, 0.5), point("pixels", 2, 0.4, is_control=True))

    plot = plot_cost(CostData("ms_per_image", points), "k", {"hog,cell_px=8": "hog"})

    data = plot.renderers[1].data_source.data
    assert data["shape"] == ["circle", "diamond"]
    assert data["spec"] == ["hog", "pixels"]
    assert data["tip"] == ["50.0%", "40.0%"]
