from __future__ import annotations

import pytest
import torch
from torch import nn

from featx.finetuning.training_loop import _learning_rate_factor


def test_decay_without_warm_up_is_pytorchs_cosine() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    expected = []
    for _ in range(20):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        cosine.step()

    assert [_learning_rate_factor(i, 20, 0, "cosine") for i in range(20)] == pytest.approx(expected)


def test_warm_up_has_equal_steps_and_never_exceeds_the_peak() -> None:
    factors = [_learning_rate_factor(i, 12, 4, "constant") for i in range(12)]

    assert factors == [0.25, 0.5, 0.75, *[1.0] * 9]
    assert max(_learning_rate_factor(i, 12, 3.5, "cosine") for i in range(12)) == 1
