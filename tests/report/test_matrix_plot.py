from __future__ import annotations

import numpy as np

from featx.figures.matrix_data import ConfusionData
from featx.report.matrix_plot import _MAX_LABELED, confused_pairs, plot_confusion


def confusion(*counts: list[int], classes: tuple[str, ...] = ("a", "b")) -> ConfusionData:
    return ConfusionData(classes, np.array(counts))


def test_confusion_draws_only_what_happened() -> None:
    plot = plot_confusion(confusion([3, 0], [1, 2]), "k")

    data = plot.renderers[0].data_source.data
    assert list(zip(data["i"], data["j"])) == [(0, 0), (1, 0), (1, 1)]
    assert data["tip"] == ["3 of 3", "1 of 3", "2 of 3"]


def test_confusion_of_102_classes_names_none_on_the_axes() -> None:
    names = tuple(f"c{i}" for i in range(102))

    plot = plot_confusion(ConfusionData(names, np.eye(102, dtype=int)), "k")

    assert _MAX_LABELED < 102
    assert plot.xaxis[0].ticker.ticks == []


def test_class_without_images_confuses_nothing() -> None:
    data = confusion([0, 0], [0, 2])

    assert plot_confusion(data, "k").renderers[0].data_source.data["i"] == [1]
    assert confused_pairs(data) == []


def test_tex_in_a_name_is_not_typeset() -> None:
    plot = plot_confusion(confusion([1, 0], [0, 1], classes=("$$x$$", r"\(y\)")), "k")

    labels = plot.xaxis[0].major_label_overrides.values()
    assert not any("$$" in label or r"\(" in label for label in labels)
