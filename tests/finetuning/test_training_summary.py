from __future__ import annotations

import torch
from torch import nn

from featx.finetuning.freezing import Policy, plan_training
from featx.finetuning.training_summary import count_parameters, summarize
from tests.finetuning.conftest import Normed, prepare

VGG16_CONVOLUTIONS = 14_714_688
"""Parameters of VGG16's convolutions: what Keras' own summary prints for include_top=False."""


class Scaled(nn.Module):
    """A parameter of the network itself, and a layer that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3, 1, 1))
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.fc = nn.Linear(3, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.conv(self.conv(x * self.scale).relu())
        logits: torch.Tensor = self.fc(maps.mean((2, 3)))
        return logits


def test_convolutions_of_vgg16_are_counted_as_keras_counts_them() -> None:
    prepared = prepare("vgg16", hidden=(256,))

    counts = count_parameters(prepared, plan_training(prepared, Policy()))

    assert counts["frozen"] == VGG16_CONVOLUTIONS
    assert counts["trainable"] == 512 * 256 + 256 + 256 * 2 + 2


def test_summary_adds_up() -> None:
    prepared = prepare("resnet18")
    rows = summarize(prepared, plan_training(prepared, Policy()))

    *layers, total, trainable, frozen = (row["parameters"] for row in rows)

    assert sum(layers) == total == trainable + frozen == 11_177_538
    assert trainable == 1026


def test_parameters_of_no_layer_and_of_a_layer_run_twice_are_counted_once() -> None:
    prepared = prepare(Scaled())

    *layers, total, _, _ = summarize(prepared, plan_training(prepared, Policy(train="all")))

    assert sum(row["parameters"] for row in layers) == total["parameters"]
    assert [row["node"] for row in layers if row["parameters"]] == ["conv", "fc", "(own)"]


def test_rows_say_what_trains_and_how_fast() -> None:
    prepared = prepare(Normed())
    policy = Policy(train="all", lr=1e-2, head_lr=1e-1, rates={"conv1": 0.0})

    rows = {row["node"]: row for row in summarize(prepared, plan_training(prepared, policy))}

    states = {node: (row["state"], row["lr"]) for node, row in rows.items() if row["state"]}
    held = ("frozen", None)  # Batch norm, too, keeps what came with the weights.
    assert states == {
        **dict.fromkeys(("0", "1", "4"), held),
        "3": ("trainable", 1e-2),
        "8": ("trainable", 1e-1),
    }
    assert rows["2"]["state"] == ""


def test_layer_of_which_a_part_trains_says_so() -> None:
    prepared = prepare(Normed())
    plan = plan_training(prepared, Policy())
    plan.rates.pop("8.bias")

    (row,) = (row for row in summarize(prepared, plan) if row["node"] == "8")

    assert (row["state"], row["parameters"]) == ("partly", 10)
