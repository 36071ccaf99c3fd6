from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from featx.errors import LayerError, ModelError, TrainingError
from featx.finetuning.freeze_check import Checksums
from featx.finetuning.freezing import (
    Policy,
    _module_of,
    parse_rates,
    plan_training,
)
from featx.finetuning.heads import (
    Head,
    Prepared,
    parse_sizes,
    prepare_network,
)
from featx.finetuning.training_summary import count_parameters, summarize
from featx.networks.configs import find_config

VGG16_CONVOLUTIONS = 14_714_688
"""Parameters of VGG16's convolutions: what Keras' own summary prints for include_top=False."""


def prepared(model: Any = "squeezenet1_0", n_classes: int = 2, **head: Any) -> Prepared:
    plan = find_config(model, weights="random", size=64)
    made = prepare_network(plan, n_classes, Head(**head))
    made.report.loaded = [k for k, v in made.report.new.items() if v != "the new head"]
    made.report.new = {k: v for k, v in made.report.new.items() if v == "the new head"}
    return made


class Normed(nn.Sequential):
    """Two convolutions with batch norm, and a classifier."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 10),
        )


def trained(made: Prepared, **policy: Any) -> set[str]:
    return set(plan_training(made, Policy(**policy)).rates)


def test_convolutions_of_vgg16_are_counted_as_keras_counts_them() -> None:
    made = prepared("vgg16", hidden=(256,))

    counts = count_parameters(made, plan_training(made, Policy()))

    assert counts["frozen"] == VGG16_CONVOLUTIONS
    assert counts["trainable"] == 512 * 256 + 256 + 256 * 2 + 2


@pytest.mark.parametrize("model", ["alexnet", "squeezenet1_0", "resnet18", "featxnet"])
def test_dense_head_takes_the_place_of_the_classifier(model: str) -> None:
    made = prepared(model, 5, hidden=(8,), dropout=0.5, batch_norm=True)

    out = made.network(torch.rand(2, 3, 64, 64))

    assert out.shape == (2, 5)
    assert trained(made) >= {f"{made.head}.logits.weight", f"{made.head}.norm1.weight"}
    assert all(name.startswith(f"{made.head}.") for name in trained(made))


def test_dense_head_averages_the_last_maps() -> None:
    made = prepared("vgg11", 3, hidden=(), dropout=0.5)
    batch = torch.rand(1, 3, 64, 64)
    logits = made.network.get_submodule(f"{made.head}.logits")

    maps = made.network.features(batch)  # type: ignore[operator]
    averaged = nn.functional.adaptive_avg_pool2d(maps, 7).mean((2, 3))

    torch.testing.assert_close(made.network(batch), logits(averaged))


def test_train_from_a_layer_takes_that_and_all_deeper() -> None:
    made = prepared("alexnet")

    names = {name.rpartition(".")[0] for name in trained(made, train="conv5")}

    assert names == {"features.10", "classifier.1", "classifier.4", "classifier.6"}


def test_name_of_a_block_means_the_whole_of_it() -> None:
    made = prepared()

    assert _module_of(made.table, "fire8") == "features.12"
    names = trained(made, train="fire8")
    assert len(names) == 8
    assert all(name.startswith(("features.12", "classifier")) for name in names)


def test_stage_means_the_module_that_holds_its_blocks() -> None:
    assert _module_of(prepared("resnet18").table, "stage4") == "layer4"


def test_frozen_layers_take_the_norm_after_them_along() -> None:
    names = trained(prepared(Normed()), train="all", batch_norm="adapt", freeze=("conv1",))

    assert names == {"3.weight", "3.bias", "4.weight", "4.bias", "8.weight", "8.bias"}


def test_batch_norm_is_held_unless_it_is_to_adapt() -> None:
    made = prepared(Normed())

    held = plan_training(made, Policy(train="all"))
    adapting = plan_training(made, Policy(batch_norm="adapt"))

    assert not {"1.weight", "1.running_mean"} & held.moving
    assert {"1.weight", "1.running_mean", "4.running_var"} <= adapting.moving
    assert not {"0.weight", "3.weight"} & adapting.moving
    assert adapting.boundary < held.boundary or adapting.boundary == 1


def test_batch_norm_that_no_weights_gave_trains_with_its_layer() -> None:
    made = prepare_network(find_config(Normed(), weights="random", size=16), 2)

    assert "1.running_mean" in plan_training(made, Policy(train="all")).moving


def test_zero_means_frozen_and_rates_hold_for_their_layers() -> None:
    made = prepared("alexnet")

    rates = plan_training(
        made, Policy(train="all", lr=1e-2, head_lr=1e-1, rates={"conv1": 0.0, "fc6": 1e-5})
    ).rates

    assert "features.0.weight" not in rates
    assert rates["classifier.1.weight"] == 1e-5
    assert rates["classifier.6.bias"] == 1e-1
    assert rates["features.3.weight"] == 1e-2


def test_rates_decay_from_the_head_to_the_input() -> None:
    rates = plan_training(prepared("alexnet"), Policy(train="all", lr=1.0, layer_decay=0.5)).rates

    assert rates["classifier.6.weight"] == 1
    assert rates["classifier.4.weight"] == 0.5
    assert rates["features.0.weight"] == 0.5**7


def test_only_a_part_loaded_leaves_the_rest_to_train() -> None:
    made = prepared("alexnet")
    made.report.new |= {"classifier.4.weight": "", "classifier.4.bias": ""}

    assert {n.rpartition(".")[0] for n in trained(made)} == {"classifier.4", "classifier.6"}


def test_nothing_left_to_train_is_an_error() -> None:
    with pytest.raises(ModelError, match="left to train"):
        trained(prepared(), rates={"conv26": 0.0})


def test_a_wrong_layer_is_met_with_the_nearest() -> None:
    with pytest.raises(LayerError, match="conv5"):
        trained(prepared("alexnet"), train="conv55")


def test_a_layer_without_weights_cannot_be_frozen() -> None:
    with pytest.raises(ModelError, match="has no weights"):
        trained(prepared("alexnet"), freeze=("pool1",))


def test_summary_adds_up() -> None:
    made = prepared("resnet18")
    rows = summarize(made, plan_training(made, Policy()))

    *layers, total, trainable, frozen = (row["parameters"] for row in rows)

    assert sum(layers) == total == trainable + frozen == 11_177_538
    assert trainable == 1026


def test_what_is_frozen_runs_as_in_inference() -> None:
    made = prepared("alexnet")

    plan_training(made, Policy(train="fc7")).apply(made.network)

    modes = {path: m.training for path, m in made.network.named_modules()}
    assert not modes["features.10"]
    assert not modes["classifier.0"]
    assert modes["classifier.4"]


def test_moving_buffer_is_caught() -> None:
    made = prepared(Normed())
    plan = plan_training(made, Policy())
    plan.apply(made.network)
    checksums = Checksums.of(made.network, moving=plan.moving)
    made.network[1].train()  # type: ignore[index]

    made.network(torch.rand(4, 3, 16, 16))
    freeze_check = checksums.prove(made.network)

    assert set(freeze_check.moved) == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    with pytest.raises(TrainingError, match=r"moved: 1\.running"):
        freeze_check.check()


def test_rates_are_read() -> None:
    assert parse_rates(["conv1=0"]) == {"conv1": 0.0}
    with pytest.raises(ModelError, match="LAYER=NUMBER"):
        parse_rates(["conv1"])
    for wrong in ("-1", "nan", "inf", "fast"):
        with pytest.raises(ModelError, match=f"'conv1={wrong}' cannot be taken; wanted LAYER=NUMB"):
            parse_rates([f"conv1={wrong}"])


@pytest.mark.parametrize("wrong", ["abc", "256,x", "0", [64, -1], "1.5", (2.7,), (True,)])
def test_sizes_that_are_none_are_refused(wrong: Any) -> None:
    with pytest.raises(ModelError, match="sizes of dense layers, such as 256,64"):
        parse_sizes(wrong)
