from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from featx.reporting.maps import color_modes, draw_maps, point_size
from featx.reporting.palettes import color_of, shape_of
from featx.reporting.sampling import MAX_POINTS, sample_points


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


def test_all_maps_have_the_same_scale() -> None:
    maps = draw_maps(details(50), "k")

    assert maps is not None
    spans = {round(plot.x_range.end - plot.x_range.start, 6) for plot in maps.roots.values()}
    spans |= {round(plot.y_range.end - plot.y_range.start, 6) for plot in maps.roots.values()}
    assert len(spans) == 1


def test_every_point_is_in_sight() -> None:
    given = details(50)
    maps = draw_maps(given, "k")

    assert maps is not None
    plot, xy = maps.roots["0"], np.concatenate([m["coordinates"] for m in given["maps"]])
    assert plot.x_range.start < xy[:, 0].min() < xy[:, 0].max() < plot.x_range.end
    assert plot.y_range.start < xy[:, 1].min() < xy[:, 1].max() < plot.y_range.end


def test_maps_of_more_points_than_flow_are_sampled() -> None:
    maps = draw_maps(details(MAX_POINTS + 500, n_maps=1), "k")

    assert maps is not None
    assert (maps.n_points, maps.n_drawn) == (MAX_POINTS + 500, MAX_POINTS)
    assert len(maps.payload["names"]) == len(maps.paths) == MAX_POINTS


def test_result_without_maps_draws_none() -> None:
    assert draw_maps({}, "k") is None


def test_a_lost_coordinate_does_not_hide_the_others() -> None:
    given = details(50)
    given["maps"][0]["coordinates"][3] = np.nan

    maps = draw_maps(given, "k")

    assert maps is not None
    assert np.isfinite(maps.roots["0"].x_range.start)


def test_sample_keeps_every_class_and_its_share() -> None:
    labels = ["a"] * 900 + ["b"] * 90 + ["c"]

    kept = sample_points(len(labels), labels, max_points=100)

    found = [labels[i] for i in kept]
    assert len(found) == 100
    assert found.count("c") == 1
    assert found.count("b") == pytest.approx(9, abs=2)


def test_sample_is_repeatable() -> None:
    labels = ["a", "b"] * 400

    assert (
        sample_points(800, labels, max_points=50) == sample_points(800, labels, max_points=50)
    ).all()


def test_modes_are_those_that_are_known() -> None:
    points = {
        "labels": ["a", "b"],
        "splits": ["train", ""],
        "domains": None,
        "predicted": ["a", "a"],
    }

    modes = color_modes(points, np.arange(2))

    assert [mode["name"] for mode in modes] == ["class", "split", "correct"]
    assert [c["name"] for c in modes[1]["categories"]] == ["train", "(none)"]
    assert [c["name"] for c in modes[2]["categories"]] == ["right", "wrong"]


def test_102_classes_all_look_different() -> None:
    looks = {(color_of(i), shape_of(i)) for i in range(102)}

    assert len(looks) == 102


def test_points_shrink_as_they_become_many() -> None:
    sizes = [point_size(n, is_large=True) for n in (10, 500, 5000)]

    assert sizes == sorted(sizes, reverse=True)


def test_a_single_map_has_one_figure() -> None:
    maps = draw_maps(details(9, n_maps=1), "k")

    assert maps is not None
    assert list(maps.roots) == ["walk"]
