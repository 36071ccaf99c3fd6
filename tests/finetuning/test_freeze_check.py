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
    """What of a linear layer counts as moved after a change."""
    network = nn.Linear(2, 2)
    nn.init.zeros_(network.weight)
    checksums = Checksums.of(network, moving=["bias"])
    with torch.no_grad():
        change(network)
    return checksums.prove(network).moved


def test_moving_buffer_is_caught() -> None:
    made = prepare(Normed())
    plan = plan_training(made, Policy())
    plan.apply(made.network)
    checksums = Checksums.of(made.network, moving=plan.moving)
    made.network[1].train()  # type: ignore[index]

    made.network(torch.rand(4, 3, 16, 16))
    freeze_check = checksums.prove(made.network)

    assert set(freeze_check.moved) == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    with pytest.raises(TrainingError, match=r"moved: 1\.running"):
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
def test_any_other_bit_shape_or_type_has_moved(change: Callable[[nn.Linear], object]) -> None:
    assert changed(change) == ["weight"]


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: layer.bias.add_(1),
        lambda layer: layer.weight.set_(layer.weight.clone()),
        lambda layer: layer.to(memory_format=torch.channels_last) and layer.eval(),
    ],
    ids=["moving", "copied", "mode"],
)
def test_what_may_move_and_where_bytes_lie_do_not_count(
    change: Callable[[nn.Linear], object],
) -> None:
    assert changed(change) == []


def test_buffers_that_no_file_holds_are_watched() -> None:
    network = nn.Linear(2, 1)
    network.register_buffer("step", torch.tensor(float("nan")), persistent=False)
    checksums = Checksums.of(network, moving=[])
    assert checksums.prove(network) == FreezeCheck(2, 1, 4)  # NaN is bit for bit NaN.

    network.step.zero_()  # type: ignore[union-attr, operator]

    assert checksums.prove(network).moved == ["step"]


def test_message_names_the_first_five_that_moved() -> None:
    check = FreezeCheck(7, 0, 70, moved=[f"w{i}" for i in range(5)])

    assert str(check) == "5 of 7 frozen parameters and 0 frozen buffers moved: w0, w1, w2, w3, w4"
    assert str(replace(check, moved=[*check.moved, "w5"])).endswith("w4 …")
