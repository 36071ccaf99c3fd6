from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featx.features.results import Result
from featx.figures.result_figures import draw_figures, save_figures
from tests.figures.conftest import boxes_of, overlapping


def depth_result(n_classes: int, n_points: int = 300) -> Result:
    """A profile of four layers in which classes gather, of any number of classes."""
    rng = np.random.default_rng(0)
    names = [f"class_{i:03} of things" for i in range(n_classes)]
    labels = [names[i % n_classes] for i in range(n_points)]
    centers = rng.normal(size=(n_classes, 2))
    layers = [f"relu_conv{i}" for i in range(1, 5)]
    rows = [
        {"spec": f"cnn:alexnet:{layer}", "layer": layer, "index": i, "accuracy": 0.2 * i,
         "low": 0.2 * i - 0.05, "high": 0.2 * i + 0.05, "purity": 0.2 * i, "purity_low": 0.1,
         "purity_high": 0.9, "silhouette": 0.1 * i, "silhouette_low": 0.0, "silhouette_high": 0.5,
         "nmi": 0.1 * i, "ari": 0.1 * i, "intrinsic_dimension": 5.0 + i, "accuracy_shuffled": 0.1,
         "purity_shuffled": 0.1, "silhouette_shuffled": 0.0, "accuracy_random": 0.3,
         "purity_random": 0.2, "silhouette_random": 0.0}
        for i, layer in enumerate(layers, 1)
    ]  # fmt: skip
    maps = [
        {"layer": layer, "method": "umap", "trustworthiness": 0.9, "neighbors_kept": 0.4,
         "coordinates": (centers[np.arange(n_points) % n_classes]
                         + rng.normal(size=(n_points, 2)) / i).tolist()}
        for i, layer in enumerate(layers, 1)
    ]  # fmt: skip
    matrix = rng.integers(0, 9, (n_classes, n_classes)).tolist()
    details = {
        "maps": maps,
        "points": {"labels": labels},
        "cka": {"layers": layers, "matrix": np.eye(4).tolist()},
        "confusion": {"hog": {"classes": names, "matrix": matrix}},
    }
    return Result("depth", "data/photos", rows, details=details)


@pytest.mark.parametrize("n_classes", [3, 17, 102])
def test_no_text_covers_another_or_leaves_the_page(n_classes: int) -> None:
    for name, figure in draw_figures(depth_result(n_classes)).items():
        boxes = boxes_of(figure)
        assert overlapping(boxes) == 0, name
        page = figure.bbox
        for box in boxes:
            assert page.x0 <= box.x0, name
            assert box.x1 <= page.x1, name
            assert page.y0 <= box.y0, name
            assert box.y1 <= page.y1, name


def test_names_are_never_markup(tmp_path: Path) -> None:
    result = depth_result(3, n_points=40)
    names = ["<script>", "$x_1^2$", "日本"]
    result.details["points"]["labels"] = [names[i % 3] for i in range(40)]
    result.details["confusion"]["hog"]["classes"] = names
    for file in save_figures(result, tmp_path, ("svg",)):
        assert "<script" not in file.read_text("utf-8")


def test_a_result_without_figures_has_none(tmp_path: Path) -> None:
    assert save_figures(Result("transfer", "photos", []), tmp_path) == []


def test_a_profile_without_measures_has_no_curves() -> None:
    rows = [{"layer": "pool1", "index": 1}, {"layer": "fc7", "index": 9}]

    assert draw_figures(Result("depth", "data/photos", rows)) == {}


def test_files_are_named_after_figure_and_format(tmp_path: Path) -> None:
    files = save_figures(depth_result(2, n_points=10), tmp_path, ("svg",))

    assert [file.name for file in files] == ["depth.svg", "maps.svg", "cka.svg", "confusion.svg"]
    assert sorted(files) == sorted(tmp_path.iterdir())
