from __future__ import annotations

import pytest

from featx.errors import LayerError, ModelError
from featx.finetuning.freezing import (
    Policy,
    _module_of,
    parse_rates,
    plan_training,
)
from featx.finetuning.heads import prepare_network
from featx.networks.configs import find_config
from tests.finetuning.conftest import Normed, prepare, trained


def test_train_from_a_layer_takes_that_and_all_deeper() -> None:
    prepared = prepare("alexnet")

    names = {name.rpartition(".")[0] for name in trained(prepared, train="conv5")}

    assert names == {"features.10", "classifier.1", "classifier.4", "classifier.6"}


def test_name_of_a_block_means_the_whole_of_it() -> None:
    prepared = prepare()

    assert _module_of(prepared.table, "fire9") == "features.12"
    names = trained(prepared, train="fire9")
    assert len(names) == 8
    assert all(name.startswith(("features.12", "classifier")) for name in names)


def test_stage_means_the_module_that_holds_its_blocks() -> None:
    assert _module_of(prepare("resnet18").table, "stage4") == "layer4"


def test_frozen_layers_take_the_norm_after_them_along() -> None:
    names = trained(prepare(Normed()), train="all", batch_norm="adapt", freeze=("conv1",))

    assert names == {"3.weight", "3.bias", "4.weight", "4.bias", "8.weight", "8.bias"}


def test_batch_norm_is_held_unless_it_is_to_adapt() -> None:
    prepared = prepare(Normed())

    held = plan_training(prepared, Policy(train="all"))
    adapting = plan_training(prepared, Policy(batch_norm="adapt"))

    assert not {"1.weight", "1.running_mean"} & held.updated
    assert {"1.weight", "1.running_mean", "4.running_var"} <= adapting.updated
    assert not {"0.weight", "3.weight"} & adapting.updated
    assert adapting.boundary < held.boundary or adapting.boundary == 1


def test_batch_norm_that_no_weights_gave_trains_with_its_layer() -> None:
    prepared = prepare_network(find_config(Normed(), weights="random", size=16), 2)

    assert "1.running_mean" in plan_training(prepared, Policy(train="all")).updated


def test_zero_means_frozen_and_rates_hold_for_their_layers() -> None:
    prepared = prepare("alexnet")

    rates = plan_training(
        prepared, Policy(train="all", lr=1e-2, head_lr=1e-1, rates={"conv1": 0.0, "fc6": 1e-5})
    ).rates

    assert "features.0.weight" not in rates
    assert rates["classifier.1.weight"] == 1e-5
    assert rates["classifier.6.bias"] == 1e-1
    assert rates["features.3.weight"] == 1e-2


def test_rates_decay_from_the_head_to_the_input() -> None:
    rates = plan_training(prepare("alexnet"), Policy(train="all", lr=1.0, layer_decay=0.5)).rates

    assert rates["classifier.6.weight"] == 1
    assert rates["classifier.4.weight"] == 0.5
    assert rates["features.0.weight"] == 0.5**7


def test_only_a_part_loaded_leaves_the_rest_to_train() -> None:
    prepared = prepare("alexnet")
    prepared.report.new |= {"classifier.4.weight": "", "classifier.4.bias": ""}

    assert {n.rpartition(".")[0] for n in trained(prepared)} == {"classifier.4", "classifier.6"}


def test_nothing_left_to_train_is_an_error() -> None:
    with pytest.raises(ModelError, match="is trainable"):
        trained(prepare(), rates={"conv26": 0.0})


def test_a_wrong_layer_is_met_with_the_nearest() -> None:
    with pytest.raises(LayerError, match="conv5"):
        trained(prepare("alexnet"), train="conv55")


def test_a_layer_without_weights_cannot_be_frozen() -> None:
    with pytest.raises(ModelError, match="has no weights"):
        trained(prepare("alexnet"), freeze=("pool1",))


def test_what_is_frozen_runs_as_in_inference() -> None:
    prepared = prepare("alexnet")

    plan_training(prepared, Policy(train="fc7")).apply(prepared.network)

    modes = {path: m.training for path, m in prepared.network.named_modules()}
    assert not modes["features.10"]
    assert not modes["classifier.0"]
    assert modes["classifier.4"]


def test_rates_are_read() -> None:
    assert parse_rates(["conv1=0"]) == {"conv1": 0.0}
    with pytest.raises(ModelError, match="LAYER=NUMBER"):
        parse_rates(["conv1"])
    for wrong in ("-1", "nan", "inf", "fast"):
        with pytest.raises(ModelError, match=f"'conv1={wrong}' is invalid; expected LAYER"):
            parse_rates([f"conv1={wrong}"])
