from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from featx.errors import ModelError
from featx.networks.module_state import copy_module, state_digest, state_stamp


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())


def test_stamp_notices_what_the_version_does_not() -> None:
    network = small()
    before = state_stamp(network)
    assert state_stamp(network) == before
    network[0].weight.data.add_(1)
    assert state_stamp(network) != before


def test_copy_on_meta_takes_no_memory() -> None:
    copied = copy_module(small(), on_meta=True)
    assert all(tensor.is_meta for tensor in copied.state_dict().values())


def test_copy_shares_no_values_with_its_original() -> None:
    network = small()
    before = state_digest(network)
    for tensor in copy_module(network).state_dict().values():
        tensor.add_(1)
    assert state_digest(network) == before


def test_copy_is_frozen_in_eval_mode_and_without_hooks() -> None:
    network, calls = small().train(), []
    network[0].register_forward_hook(lambda *args: calls.append(1))
    copied = copy_module(network)
    copied(torch.zeros(1, 3, 8, 8))
    assert not calls
    assert not any(module.training for module in copied.modules())
    assert not any(parameter.requires_grad for parameter in copied.parameters())
    assert network.training


def test_copy_has_no_hook_of_the_users_on_its_input() -> None:
    network, calls = small(), []
    network[0].register_forward_pre_hook(lambda *args: calls.append(1))
    copy_module(network)(torch.zeros(1, 3, 8, 8))
    assert not calls


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_hooks_that_compute_a_weight_stay_in_a_copy() -> None:
    network = nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 3)))
    with torch.no_grad():
        network[0].weight_g.mul_(2)  # The weight follows in the next forward pass.
    copied = copy_module(network)
    batch = torch.ones(1, 3)
    assert torch.equal(copied(batch), network(batch))


def test_stamp_notices_an_attribute() -> None:
    network = small()
    before = state_stamp(network)
    network[2].slope = 0.5
    assert state_stamp(network) != before


@pytest.mark.parametrize("on_meta", [False, True])
def test_tied_weights_stay_tied_in_a_copy(on_meta: bool) -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    network[1].weight = network[0].weight
    copied: Any = copy_module(network, on_meta=on_meta)
    assert copied[0].weight is copied[1].weight


def test_module_that_refuses_to_be_copied_is_named() -> None:
    class Stubborn(nn.Linear):
        def __deepcopy__(self, memo: Any) -> Any:
            raise ValueError("there is one of me")

    with pytest.raises(ModelError, match="Stubborn cannot be copied: there is one of me"):
        copy_module(Stubborn(2, 2))


@pytest.mark.parametrize("change", ["value", "buffer", "dtype", "shape", "name"])
def test_digest_follows_every_change(change: str) -> None:
    network, before = small(), state_digest(small())
    if change == "value":
        network[0].weight.data.view(-1)[57] += 1e-6
    elif change == "buffer":
        network[1].num_batches_tracked += 1
    elif change == "dtype":
        network.to(torch.bfloat16)
    elif change == "shape":
        network[0].weight.data = network[0].weight.data.reshape(4, 9, 3, 1)
    else:
        network = nn.Sequential(nn.ReLU(), *network)
    assert state_digest(network) != before


def test_digest_does_not_depend_on_the_layout_in_memory() -> None:
    network = small()
    turned = copy.deepcopy(network).to(memory_format=torch.channels_last)
    assert turned[0].weight.stride() != network[0].weight.stride()
    assert state_digest(turned) == state_digest(network)
