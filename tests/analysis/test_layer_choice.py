from __future__ import annotations

import pytest

from featx.analysis.layer_choice import choose_apart, choose_layers
from featx.errors import LayerError
from featx.networks.configs import list_layers


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("alexnet", "relu_conv1 pool1 relu_conv2 pool2 relu_conv3 relu_conv4 relu_conv5 pool5 "
                    "relu_fc6 relu_fc7"),
        ("squeezenet1_0", "relu_conv1 pool1 fire2 fire3 fire4 pool2 fire5 fire6 fire7 fire8 "
                          "pool3 fire9"),
        ("resnet18", "relu_conv1 pool1 block1 stage1 block3 stage2 block5 stage3 block7 stage4 "
                     "penultimate"),
    ],
)  # fmt: skip
def test_all_is_one_layer_for_each_step(model: str, expected: str) -> None:
    assert choose_layers(list_layers(model)) == expected.split()


def test_a_deep_network_is_seen_by_its_stages() -> None:
    names = choose_layers(list_layers("resnet101"))
    assert names == ["relu_conv1", "pool1", *[f"stage{i}" for i in range(1, 5)], "penultimate"]


def test_layers_come_in_order_of_execution_each_once() -> None:
    table = list_layers("alexnet")
    assert choose_layers(table, "fc7, pool1,features.2") == ["pool1", "fc7"]
    assert choose_layers(table, ["-1", "conv1"]) == ["conv1", "-1"]


def test_a_wrong_layer_is_met_with_the_nearest() -> None:
    with pytest.raises(LayerError, match="Did you mean 'pool1'"):
        choose_layers(list_layers("alexnet"), "pol1")


def test_places_apart_follow_the_curve() -> None:
    flat_then_steep = [0.0] * 10 + [0.25, 0.5, 0.75, 1.0]
    chosen = choose_apart(flat_then_steep, 6)
    assert chosen[0] == 0
    assert chosen[-1] == 13
    assert len([index for index in chosen if index >= 9]) >= 3


def test_a_short_curve_is_taken_whole() -> None:
    assert choose_apart([0.5]) == [0]
    assert choose_apart([0.5, 0.5, 0.5]) == [0, 1, 2]


def test_layers_without_a_class_token_are_left_out_where_it_is_asked_for() -> None:
    table = list_layers("timm/vit_tiny_patch16_224")

    assert choose_layers(table, "all", "cls") == choose_layers(table)[1:]
    assert "conv1" in choose_layers(table, "all", "mean")
