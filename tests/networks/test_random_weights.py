from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from featx.errors import ModelError
from featx.networks.random_weights import randomize


def trained(module: nn.Module) -> dict[str, Tensor]:
    """Values unlike any initialization in every parameter, and what they are."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(5, 1)
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "convnext_atto", "resnetv2_50d_gn"])
def test_no_trained_parameter_is_left(name: str) -> None:
    module = timm.create_model(name)
    before = trained(module)
    randomize(module)
    left = [name for name, p in module.named_parameters() if torch.allclose(p, before[name])]
    assert left == []


class Own(nn.Module):
    """Parameters of one, two and many values, and one that nobody trained."""

    def __init__(self) -> None:
        super().__init__()
        self.scalar = nn.Parameter(torch.tensor(3.0))
        self.pair = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.token = nn.Parameter(torch.arange(100.0))
        self.scale = nn.Parameter(torch.ones(7))


def test_what_no_reset_reaches_keeps_its_spread() -> None:
    module = Own()
    randomize(module)
    assert module.token.std() == torch.arange(100.0).std()
    assert sorted(module.pair.tolist()) == [1.0, 2.0]


def test_parameters_of_few_values_are_drawn_whatever_the_seed() -> None:
    for seed in range(8):
        torch.manual_seed(seed)
        module = Own()
        randomize(module)
        assert module.pair.tolist() == [2.0, 1.0]
        assert module.scalar.item() != 3.0


def test_an_initialization_that_nobody_trained_stays() -> None:
    module = Own()
    randomize(module)
    assert torch.equal(module.scale, torch.ones(7))


def test_statistics_of_frozen_batch_norm_are_forgotten() -> None:
    module = FrozenBatchNorm2d(4)
    for buffer in module.buffers():
        buffer.normal_(5, 1)
    randomize(module)
    assert torch.equal(module.running_var, torch.ones(4))
    assert torch.equal(module.bias, torch.zeros(4))


def test_a_trained_parameter_that_stays_is_an_error() -> None:
    class Stubborn(nn.Parameter):
        def copy_(self, *args: Any) -> Any:
            return self

    module = nn.Module()
    module.weight = Stubborn(torch.arange(4.0))
    with pytest.raises(ModelError, match="Cannot randomize the trained parameters weight"):
        randomize(module)
