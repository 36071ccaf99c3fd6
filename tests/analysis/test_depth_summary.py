from __future__ import annotations

from typing import Any

from featx.analysis.depth_summary import describe_depth


def row(layer: str, accuracy: float, **more: float) -> dict[str, Any]:
    measured = {"purity": 0.3, "silhouette": 0.0, "purity_shuffled": 0.1}
    interval = {"low": accuracy - 0.05, "high": accuracy + 0.05}
    return {"layer": layer, "accuracy": accuracy, **interval, **measured, **more}


def text_of(*rows: dict[str, Any], n_classes: int = 4) -> str:
    return "\n".join(describe_depth(rows, "alexnet", n_classes, 1234))


def test_the_best_layer_is_named_where_it_is_not_the_last() -> None:
    first = describe_depth([row("pool1", 0.4), row("pool5", 0.9), row("fc7", 0.8)], "a", 4, 9)[0]
    assert "0.400 at pool1" in first
    assert "0.800 at fc7" in first
    assert "pool5 with 0.900" in first


def test_one_layer_is_compared_to_its_control_alone() -> None:
    text = text_of(row("fc7", 0.8, accuracy_random=0.3, purity_random=0.2, silhouette_random=0))
    assert "best" not in text
    assert "30% are of the same class at fc7; 10% with shuffled labels" in text
    assert "The silhouette is 0.00 (1,234 images of 4 classes)." in text
    assert "random weights at fc7: accuracy +0.500; purity +0.100; silhouette +0.000." in text


def test_the_first_layer_within_the_interval_of_the_best_is_named() -> None:
    rows = [row("pool1", 0.4), row("pool2", 0.76), row("pool5", 0.79), row("fc7", 0.8)]
    assert "pool2 is the first layer" in text_of(*rows)
    assert "0.750 to 0.850" in text_of(*rows)


def test_no_earlier_layer_is_named_where_all_are_worse() -> None:
    assert "first layer" not in text_of(row("pool1", 0.4), row("fc7", 0.8))


def test_controls_are_chance_and_random_weights_at_the_best_layer_and_over_depth() -> None:
    controls = [
        {"accuracy_shuffled": s, "accuracy_random": a, "purity_random": 0.2, "silhouette_random": 0}
        for s, a in ((0.3, 0.1), (0.2, 0.5), (0.2, 0.5))
    ]
    layers = [("pool1", 0.4), ("pool5", 0.9), ("fc7", 0.7)]
    text = text_of(*(row(*layer, **more) for layer, more in zip(layers, controls)), n_classes=5)
    assert "at most 0.300" in text
    assert "0.200 for classes" in text
    # The control rises more from the first layer to the last (.4 to .3), and is worse everywhere.
    assert "at pool5, the best layer" in text
    assert "accuracy +0.400 and +0.325;" in text


def test_without_controls_none_are_described() -> None:
    assert len(describe_depth([row("pool1", 0.4), row("fc7", 0.8)], "alexnet", 4, 1234)) == 2
