from __future__ import annotations

from featx.figures.transfer_data import TransferData, TransferPoint
from featx.report.transfer_plot import plot_transfer


def test_each_feature_set_has_a_line_that_says_its_alignment() -> None:
    points = tuple(
        TransferPoint("hog,cell_px=8", alignment, source=0.8, target=0.5, low=None, high=0.6)
        for alignment in ("", "coral")
    )

    plot = plot_transfer(TransferData(points), "k", {"hog,cell_px=8": "hog"})

    assert plot.yaxis[0].major_label_overrides == {0: "hog", 1: "hog + coral"}
    assert plot.renderers[1].data_source.data["low"] == [0.5, 0.5]
