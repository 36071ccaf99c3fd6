from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from featx.errors import TrainingError
from featx.finetuning.freeze_check import Checksums, FreezeCheck
from featx.finetuning.freezing import Policy, plan_training
from tests.finetuning.conftest import Normed, prepare


def changed(change: Callable[[nn.Linear], object]) -> list[str]:
    """Names of the tensors of a linear layer that a change changes."""
    network = nn.Linear(2, 2)
    nn.init.zeros_(network.weight)
    checksums = Checksums.of(network, updated=["bias"])
    with torch.no_grad():
        change(network)
    return checksums.compare(network).changed


def test_changed_buffer_is_caught() -> None:
    prepared = prepare(Normed())
    plan = plan_training(prepared, Policy())
    plan.apply(prepared.network)
    checksums = Checksums.of(prepared.network, updated=plan.updated)
    prepared.network[1].train()  # type: ignore[index]

    prepared.network(torch.rand(4, 3, 16, 16))
    freeze_check = checksums.compare(prepared.network)

    assert set(freeze_check.changed) == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    with pytest.raises(TrainingError, match=r"changed: 1\.running"):
        freeze_check.check()


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: layer.weight[0, 0].add_(1e-45),
        lambda layer: layer.weight.neg_(),  # Zeros of the other sign are equal but not the same.
        lambda layer: setattr(layer, "weight", nn.Parameter(torch.zeros(4, 1))),
        lambda layer: layer.half(),
        lambda layer: delattr(layer, "weight"),
    ],
    ids=["smallest", "sign", "shape", "type", "gone"],
)
def test_every_bit_shape_and_type_counts(change: Callable[[nn.Linear], object]) -> None:
    assert changed(change) == ["weight"]


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: layer.bias.add_(1),
        lambda layer: layer.weight.set_(layer.weight.clone()),
        lambda layer: layer.to(memory_format=torch.channels_last) and layer.eval(),
    ],
    ids=["updated", "copied", "mode"],
)
def test_updated_tensors_and_memory_layout_do_not_count(
    change: Callable[[nn.Linear], object],
) -> None:
    assert changed(change) == []


def test_buffers_that_are_not_saved_are_checked() -> None:
    network = nn.Linear(2, 1)
    network.register_buffer("step", torch.tensor(float("nan")), persistent=False)
    checksums = Checksums.of(network, updated=[])
    assert checksums.compare(network) == FreezeCheck(2, 1, 4)  # NaN is bit for bit NaN.

    network.step.zero_()  # type: ignore[union-attr, operator]

    assert checksums.compare(network).changed == ["step"]


def test_message_names_the_first_five_changed_tensors() -> None:
    check = FreezeCheck(7, 0, 70, changed=[f"w{i}" for i in range(5)])

    assert str(check) == "5 of 7 frozen parameters and 0 frozen buffers changed: w0, w1, w2, w3, w4"
    assert str(replace(check, changed=[*check.changed, "w5"])).endswith("w4 …")
