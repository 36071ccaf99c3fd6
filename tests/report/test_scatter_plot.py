from __future__ import annotations

from typing import Any

import numpy as np

from featx.features.results import Result
from featx.figures.scatter_data import ScatterData, prepare_scatter
from featx.report.point_sampling import MAX_POINTS
from featx.report.scatter_plot import (
    ScatterPlots,
    _color_modes,
    _point_size,
    plot_scatter,
)


def details(n_points: int, n_maps: int = 2) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    maps = [
        {"layer": f"l{i}", "method": "umap", "coordinates": rng.normal(0, 1 + i, (n_points, 2))}
        for i in range(n_maps)
    ]
    labels = [str(i % 3) for i in range(n_points)]
    return {
        "maps": maps,
        "points": {"paths": [f"{i}.png" for i in range(n_points)], "labels": labels},
    }


def plotted(given: dict[str, Any]) -> ScatterPlots | None:
    return plot_scatter(prepare_scatter(Result("depth", "photos", [], details=given)), "k")


def test_all_embeddings_have_the_same_scale() -> None:
    plots = plotted(details(50))

    assert plots is not None
    spans = {round(plot.x_range.end - plot.x_range.start, 6) for plot in plots.roots.values()}
    spans |= {round(plot.y_range.end - plot.y_range.start, 6) for plot in plots.roots.values()}
    assert len(spans) == 1


def test_every_point_is_in_sight() -> None:
    given = details(50)
    plots = plotted(given)

    assert plots is not None
    plot, xy = plots.roots["0"], np.concatenate([m["coordinates"] for m in given["maps"]])
    assert plot.x_range.start < xy[:, 0].min() < xy[:, 0].max() < plot.x_range.end
    assert plot.y_range.start < xy[:, 1].min() < xy[:, 1].max() < plot.y_range.end


def test_more_points_than_a_page_can_move_are_sampled() -> None:
    plots = plotted(details(MAX_POINTS + 500, n_maps=1))

    assert plots is not None
    assert (plots.n_points, plots.n_drawn) == (MAX_POINTS + 500, MAX_POINTS)
    assert len(plots.payload["names"]) == len(plots.paths) == MAX_POINTS


def test_result_without_embeddings_draws_none() -> None:
    assert plotted({}) is None


def test_a_lost_coordinate_does_not_hide_the_others() -> None:
    given = details(50)
    given["maps"][0]["coordinates"][3] = np.nan

    plots = plotted(given)

    assert plots is not None
    assert np.isfinite(plots.roots["0"].x_range.start)


def test_modes_are_those_that_are_known() -> None:
    points = {
        "labels": ["a", "b"],
        "splits": ["train", ""],
        "domains": None,
        "predicted": ["a", "a"],
    }

    modes = _color_modes(ScatterData((), (), points), np.arange(2))

    assert [mode["name"] for mode in modes] == ["class", "split", "correct"]
    assert [c["name"] for c in modes[1]["categories"]] == ["train", "(none)"]
    assert [c["name"] for c in modes[2]["categories"]] == ["right", "wrong"]


def test_points_shrink_as_they_become_many() -> None:
    sizes = [_point_size(n, is_large=True) for n in (10, 500, 5000)]

    assert sizes == sorted(sizes, reverse=True)


def test_a_single_embedding_has_one_figure() -> None:
    plots = plotted(details(9, n_maps=1))

    assert plots is not None
    assert list(plots.roots) == ["walk"]
