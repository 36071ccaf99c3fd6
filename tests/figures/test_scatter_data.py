from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from featx.features.results import Result
from featx.figures.palette import FAINT, N_PAPER_LOOKS
from featx.figures.scatter_data import (
    _N_SINGLED_OUT,
    ScatterData,
    ScatterPanel,
    find_groups,
    prepare_scatter,
    square_extent,
)


def scatter(points: np.ndarray, groups: Sequence[str]) -> ScatterData:
    return ScatterData((ScatterPanel("fc7", "pca", points, 0.9, 0.5),), tuple(groups), {})


def test_up_to_24_groups_all_look_different() -> None:
    names = [f"{i:02}" for i in range(N_PAPER_LOOKS)]
    groups, note = find_groups(scatter(np.zeros((N_PAPER_LOOKS, 2)), names))
    assert len({(group.color, group.marker) for group in groups}) == N_PAPER_LOOKS
    assert note == ""


def test_of_many_groups_the_purest_and_the_least_pure_stand_out() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([f"{i:03}" for i in range(40)], 20)
    spread = np.repeat(np.linspace(0.01, 3, 40), 20)
    centers = rng.normal(size=(40, 2)).repeat(20, axis=0) * 4
    points = centers + spread[:, None] * rng.normal(size=(800, 2))
    groups, note = find_groups(scatter(points, labels))
    assert groups[0].color == FAINT
    assert len(groups[0].indices) == 800 - 20 * _N_SINGLED_OUT
    assert int(groups[1].name) < 15 < int(groups[-1].name)
    assert "12 of 40 classes in color" in note


def test_a_lost_coordinate_does_not_change_the_extent() -> None:
    points = np.array([[0.0, 0.0], [2.0, 1.0]])
    lost = np.array([[np.nan, 9.0]])

    assert square_extent([points, lost], margin=0) == square_extent([points], margin=0)


def test_all_points_in_one_place_have_an_extent() -> None:
    assert square_extent([np.ones((3, 2))], margin=0.1) == [(0.0, 2.0), (0.0, 2.0)]


@pytest.mark.parametrize(
    ("details", "groups"),
    [
        ({"groups": ["x", "y"], "points": {"labels": ["a", "b"]}}, ("x", "y")),
        ({"points": {"labels": ["a", "b"]}}, ("a", "b")),
        ({}, ("image", "image")),
    ],
)
def test_groups_are_those_of_the_result_or_else_its_classes(
    details: dict[str, object], groups: tuple[str, ...]
) -> None:
    maps = [{"layer": "fc7", "method": "pca", "coordinates": [[0, 0], [1, 1]]}]
    data = prepare_scatter(Result("umap", "photos", [], details={"maps": maps, **details}))

    assert data is not None
    assert data.groups == groups
