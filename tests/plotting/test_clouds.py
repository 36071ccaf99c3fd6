from __future__ import annotations

import numpy as np

from featx.plotting.clouds import N_SINGLED_OUT, draw_maps, find_groups
from featx.plotting.style import FAINT, N_LOOKS


def one_map(points: np.ndarray, layer: str = "fc7") -> dict[str, object]:
    return {"layer": layer, "method": "pca", "coordinates": points.tolist(),
            "trustworthiness": 0.9, "neighbors_kept": 0.5}  # fmt: skip


def test_up_to_24_groups_all_look_different() -> None:
    names = [f"{i:02}" for i in range(N_LOOKS)]
    groups, note = find_groups(names, np.zeros((N_LOOKS, 2)))
    assert len({(group.color, group.marker) for group in groups}) == N_LOOKS
    assert note == ""


def test_of_many_groups_the_best_and_the_least_gathered_stand_out() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([f"{i:03}" for i in range(40)], 20)
    spread = np.repeat(np.linspace(0.01, 3, 40), 20)
    points = rng.normal(size=(40, 2)).repeat(20, axis=0) * 4 + spread[:, None] * rng.normal(
        size=(800, 2)
    )
    groups, note = find_groups(labels.tolist(), points, "fc7")
    assert groups[0].color == FAINT
    assert len(groups[0].places) == 800 - 20 * N_SINGLED_OUT
    assert int(groups[1].name) < 15 < int(groups[-1].name)
    assert "12 of 40 classes in colour" in note


def test_every_point_is_drawn_once_in_each_map() -> None:
    points = np.random.default_rng(0).normal(size=(50, 2))
    figure = draw_maps([one_map(points, "a"), one_map(points, "b")], list("abcde") * 10)
    for axes in figure.axes:
        drawn = np.concatenate([found.get_offsets() for found in axes.collections])
        np.testing.assert_allclose(np.sort(drawn, axis=0), np.sort(points, axis=0))


def test_all_maps_have_one_scale() -> None:
    points = np.random.default_rng(0).normal(size=(50, 2))
    figure = draw_maps([one_map(points), one_map(points / 2)], ["a"] * 50)
    first, second = figure.axes
    assert first.get_xlim() == second.get_xlim()
    assert first.get_xlim()[1] >= points[:, 0].max()
