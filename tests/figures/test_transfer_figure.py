from __future__ import annotations

from matplotlib.colors import to_hex

from featx.figures.palette import SOURCE, TARGET
from featx.figures.transfer_data import TransferData, TransferPoint
from featx.figures.transfer_figure import draw_transfer
from tests.figures.conftest import boxes_of, overlapping

NETWORK = "cnn:squeezenet1_0:penultimate,pooling=gap,weights=nets/a.pth"
DATA = TransferData(
    tuple(
        TransferPoint(spec, alignment, 0.8, 0.5 if alignment else 0.3, low=0.2, high=0.6)
        for spec in ("hog", NETWORK)
        for alignment in ("", "coral")
    )
)


def test_names_say_the_alignment_from_the_top() -> None:
    [axes] = draw_transfer(DATA).axes

    assert axes.yaxis.get_inverted()
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "hog",
        "hog + CORAL",
        "cnn:squeezenet1_0:penultimate,poo…",
        "cnn:squeezenet1_0:penultimate,poo… + CORAL",
    ]


def test_transfer_is_drawn_from_source_to_target() -> None:
    [axes] = draw_transfer(DATA).axes

    dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in dots[:4]] == [
        (0.8, 0), (0.3, 0), (0.8, 1), (0.5, 1)
    ]  # fmt: skip
    assert [to_hex(line.get_color()) for line in dots[:2]] == [SOURCE, TARGET]


def test_interval_is_drawn_only_where_both_ends_are_known() -> None:
    ends = [(0.2, 0.6), (0.2, None), (None, None)]
    points = (TransferPoint("hog", "", 0.8, 0.3, low, high) for low, high in ends)

    [axes] = draw_transfer(TransferData(tuple(points))).axes

    intervals = [line for line in axes.get_lines() if list(line.get_xdata()) == [0.2, 0.6]]
    assert [list(line.get_ydata()) for line in intervals] == [[0, 0]]


def test_no_text_covers_another() -> None:
    assert overlapping(boxes_of(draw_transfer(DATA, "From domain to domain, pacs"))) == 0
