from __future__ import annotations

from typing import Any

from featx.features.results import Result
from featx.figures.depth_data import DepthData, prepare_depth


def prepared(**columns: list[Any]) -> DepthData | None:
    n_rows = len(next(iter(columns.values())))
    rows = [{name: values[i] for name, values in columns.items()} for i in range(n_rows)]
    return prepare_depth(Result("depth", "photos", rows))


def test_layers_are_in_order_of_execution() -> None:
    data = prepared(layer=["fc7", "pool1"], index=[9, 1], purity=[0.8, 0.4])

    assert data is not None
    assert data.layers == ("pool1", "fc7")
    assert data.curves[0].values == (0.4, 0.8)


def test_interval_and_controls_belong_to_their_measure() -> None:
    data = prepared(layer=["fc7"], index=[9], accuracy=[0.5], low=[0.4], high=[0.6], purity=[0.7],
                    purity_low=[0.6], accuracy_random=[0.2], purity_shuffled=[0.1])  # fmt: skip

    assert data is not None
    accuracy, purity = data.curves
    assert (accuracy.low, accuracy.high, accuracy.random) == ((0.4,), (0.6,), (0.2,))
    assert (purity.low, purity.high, purity.shuffled) == ((0.6,), (None,), (0.1,))
    assert data.has_random


def test_rows_of_no_layer_make_no_curve() -> None:
    assert prepared(layer=["", "fc7"], index=[1, None], accuracy=[0.5, 0.6]) is None
