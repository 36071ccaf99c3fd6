from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models

from featx.errors import ModelError
from featx.networks.head_replacement import put, replace_head, replace_modules


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10))


def test_layers_before_the_new_head_keep_their_values() -> None:
    replacement = {"at": "3", "layers": [["drop", "dropout", 0.5], ["logits", "linear", 144, 2]]}
    before, batch = network(), torch.rand(2, 3, 8, 8)
    after: Any = replace_modules(network(), [replacement])
    assert torch.equal(after[:3](batch), before[:3](batch))
    assert list(after.state_dict())[2:] == ["3.logits.weight", "3.logits.bias"]


def test_every_kind_of_layer_is_built_as_it_is_written() -> None:
    layers = [
        ["a", "conv", 3, 6, 3],
        ["b", "relu"],
        ["c", "gap"],
        ["d", "flatten"],
        ["e", "batch_norm", 6],
        ["f", "dropout", 0.1],
        ["g", "linear", 6, 8],
        ["h", "unflatten", 2, 2, 2],
    ]
    built = replace_modules(network(), json.loads(json.dumps([{"at": "0", "layers": layers}])))
    assert built.get_submodule("0")(torch.rand(3, 3, 5, 5)).shape == (3, 2, 2, 2)


def test_later_heads_go_into_earlier_ones() -> None:
    first = {"at": "3", "layers": [["hidden", "linear", 144, 5], ["out", "linear", 5, 3]]}
    second = {"at": "3.out", "layers": [["out", "linear", 5, 2]]}
    assert replace_modules(network(), [first, second])(torch.rand(4, 3, 8, 8)).shape == (4, 2)


def test_removed_modules_let_their_input_through() -> None:
    replacement = {"at": "3", "layers": [["out", "linear", 144, 2]], "removed": ["1"]}
    changed: Any = replace_modules(network(), [replacement])
    maps = torch.randn(2, 4, 6, 6)
    assert torch.equal(changed[1](maps), maps)


@pytest.mark.parametrize("path", ["7", "3.inner", "a.b.c"])
def test_module_that_is_not_there_is_named(path: str) -> None:
    with pytest.raises(ModelError, match=f"Sequential has no module '{path}'"):
        put(network(), path, nn.ReLU())


def test_kind_that_nobody_knows_is_refused_with_the_choices() -> None:
    with pytest.raises(ModelError, match=r"'lstm' is not known.*linear, conv, gap"):
        replace_modules(network(), [{"at": "3", "layers": [["x", "lstm", 2]]}])


@pytest.mark.parametrize("build", [models.squeezenet1_1, models.mobilenet_v3_small])
def test_networks_give_as_many_logits_as_their_new_head_has_classes(build: Any) -> None:
    changed = replace_head(build(), 3).eval()
    assert changed(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


@pytest.mark.parametrize(
    "head",
    [
        nn.Linear(4, 10, bias=False),
        nn.Conv2d(4, 10, 3, 2, padding=2, dilation=2, bias=False, padding_mode="reflect"),
    ],
    ids=["linear", "conv"],
)
def test_new_head_is_like_the_old_one_but_for_its_outputs(head: nn.Module) -> None:
    (changed,) = replace_head(nn.Sequential(head), 3)  # type: ignore[arg-type]
    assert repr(changed) == repr(head).replace("10", "3")
