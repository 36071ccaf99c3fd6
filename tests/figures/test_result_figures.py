from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.features.results import Result
from featx.figures.result_figures import draw_figures, save_figures


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


def compare_result(n_rows: int) -> Result:
    rows: list[dict[str, Any]] = [
        {"spec": f"cnn:squeezenet1_0:fire{i},pooling=gap", "accuracy": 0.5 + 0.02 * (i % 4),
         "low": 0.45, "high": 0.62, "ms_per_image": 10.0 + i % 3, "is_control": i % 5 == 0}
        for i in range(n_rows)
    ]  # fmt: skip
    return Result("compare", "photos", rows)


def boxes_of(figure: Any) -> list[Any]:
    """Extents of every text that is seen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    unseen = [label for axes in figure.axes for label in labels_out_of_view(axes)]
    texts = [
        text
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and text not in unseen
    ]
    return [text.get_window_extent(canvas.get_renderer()) for text in texts]


def labels_out_of_view(axes: Any) -> list[Any]:
    """Labels of ticks beyond the ends of an axis, which are there but never drawn."""
    found = []
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        found += [tick.label1 for tick in ticks if not low <= tick.get_loc() <= high]
    return found


def overlapping(boxes: list[Any]) -> int:
    return sum(
        a.padded(-0.5).overlaps(b.padded(-0.5)) for i, a in enumerate(boxes) for b in boxes[:i]
    )


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


@pytest.mark.parametrize("n_rows", [1, 4, 10])
def test_no_name_of_features_covers_another(n_rows: int) -> None:
    figure = draw_figures(compare_result(n_rows))["cost"]
    assert overlapping(boxes_of(figure)) == 0


def test_the_same_numbers_give_the_same_bytes(tmp_path: Path) -> None:
    result = depth_result(5, n_points=40)
    first, second = save_figures(result, tmp_path / "a"), save_figures(result, tmp_path / "b")
    assert [file.name for file in first] == [
        f"{name}.{form}"
        for name in ("depth", "maps", "cka", "confusion")
        for form in ("png", "svg")
    ]
    for one, other in zip(first, second):
        assert one.read_bytes() == other.read_bytes()


def test_names_are_never_markup(tmp_path: Path) -> None:
    result = depth_result(3, n_points=40)
    names = ["<script>", "$x_1^2$", "日本"]
    result.details["points"]["labels"] = [names[i % 3] for i in range(40)]
    result.details["confusion"]["hog"]["classes"] = names
    for file in save_figures(result, tmp_path, ("svg",)):
        assert "<script" not in file.read_text("utf-8")


def test_a_users_own_settings_do_not_matter(tmp_path: Path) -> None:
    import matplotlib as mpl

    result = depth_result(3, n_points=40)
    plain = save_figures(result, tmp_path / "a", ("svg",))
    with mpl.rc_context({"font.size": 20, "axes.grid": True}):
        changed = save_figures(result, tmp_path / "b", ("svg",))
    assert plain[0].read_bytes() == changed[0].read_bytes()


def test_a_result_without_figures_has_none(tmp_path: Path) -> None:
    assert save_figures(Result("transfer", "photos", []), tmp_path) == []


def test_points_are_vectors_in_svg(tmp_path: Path) -> None:
    save_figures(depth_result(3, n_points=60), tmp_path, ("svg",))
    assert "<image" not in (tmp_path / "maps.svg").read_text("utf-8")


def finetune_result() -> Result:
    curves = [
        {"name": name, "seed": seed, "epoch": [1, 2, 3][: 3 - seed], "train_loss": [1.0, 0.5, 0.2],
         "valid_accuracy": [0.2, 0.5, 0.6][: 3 - seed]}
        for name in ("scratch", "full") for seed in (0, 1)
    ]  # fmt: skip
    labels = [{"name": "frozen", "seed": 0, "n_labels": [5, 20], "accuracy": [0.3, 0.4]}]
    details = {"curves": curves, "label_curves": labels}
    return Result("finetune", "data/photos", [], details=details)


def test_learning_is_drawn_with_a_mean_over_the_seeds() -> None:
    """A run that stopped early counts on with its last value; one colour for each name."""
    figures = draw_figures(finetune_result())

    assert list(figures) == ["learning"]
    by_epoch, by_labels = figures["learning"].axes
    mean = by_epoch.get_lines()[-1]  # Of "full", after the runs and the mean of "scratch".
    assert mean.get_xydata().tolist() == [[1, 0.2], [2, 0.5], [3, pytest.approx(0.55)]]
    assert len(by_epoch.get_lines()) == 6
    assert len({line.get_color() for line in by_epoch.get_lines()}) == 2
    assert by_labels.get_lines()[0].get_color() not in {
        line.get_color() for line in by_epoch.get_lines()
    }
    assert overlapping(boxes_of(figures["learning"])) == 0


def test_a_profile_without_measures_has_no_curves() -> None:
    rows = [{"layer": "pool1", "index": 1}, {"layer": "fc7", "index": 9}]

    assert draw_figures(Result("depth", "data/photos", rows)) == {}


def test_transfer_is_drawn_from_source_to_target() -> None:
    rows: list[dict[str, Any]] = [
        {"spec": spec, "source": index, "target": other, "alignment": alignment,
         "source_accuracy": 0.8, "target_accuracy": 0.3 + 0.2 * (alignment == "coral"),
         "low": 0.2, "high": 0.6}
        for spec in ("hog", "cnn:squeezenet1_0:penultimate,pooling=gap,weights=a.pth")
        for alignment in ("none", "coral")
        for index, other in (("mean", "mean"), ("photo", "sketch"))
    ]  # fmt: skip
    figures = draw_figures(Result("transfer", "pacs", rows))

    (axes,) = figures["transfer"].axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[:2] == ["hog", "hog + CORAL"]
    assert len(names) == 4  # Of averages alone.
    dots = [line.get_xdata()[0] for line in axes.get_lines() if line.get_marker() == "o"]
    assert dots[:4] == [0.8, 0.3, 0.8, 0.5]
    assert overlapping(boxes_of(figures["transfer"])) == 0
