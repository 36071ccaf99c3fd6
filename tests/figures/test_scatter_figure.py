from __future__ import annotations

from pathlib import Path

import numpy as np

from featx.figures.scatter_data import ScatterData, ScatterPanel
from featx.figures.scatter_figure import draw_scatter
from featx.figures.style import save_figure


def scatter(*spaces: np.ndarray) -> ScatterData:
    panels = tuple(ScatterPanel(f"fc{i}", "pca", xy, 0.9, 0.5) for i, xy in enumerate(spaces))
    return ScatterData(panels, tuple("abcde" * 10), {})


def test_every_point_is_drawn_once_in_each_panel() -> None:
    points = np.random.default_rng(0).normal(size=(50, 2))
    for axes in draw_scatter(scatter(points, points)).axes:
        drawn = np.concatenate([found.get_offsets() for found in axes.collections])
        np.testing.assert_allclose(np.sort(drawn, axis=0), np.sort(points, axis=0))


def test_all_panels_have_one_scale() -> None:
    points = np.random.default_rng(0).normal(size=(50, 2))
    first, second = draw_scatter(scatter(points, points / 2)).axes
    assert first.get_xlim() == second.get_xlim()
    assert first.get_xlim()[1] >= points[:, 0].max()


def test_points_are_vectors_in_svg(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(50, 2))
    [file] = save_figure(draw_scatter(scatter(points)), tmp_path / "maps", ["svg"])
    assert "<image" not in file.read_text("utf-8")
