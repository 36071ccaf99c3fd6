from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from featx.finetuning.heads import Head, prepare_network
from featx.finetuning.split_network import find_tail
from featx.networks.configs import find_config
from featx.networks.hooks import HookedNetwork
from featx.networks.pooling import Tap


@pytest.mark.parametrize(
    ("model", "boundary", "layer"),
    [
        ("squeezenet1_0", "classifier.1", "features.12"),
        ("alexnet", "classifier.6", "classifier.5"),
        ("alexnet", "features.10", "features.9"),
        ("resnet18", "fc", "flatten"),
        ("resnet18", "layer4.1.conv2", "layer4.0"),
    ],
)
def test_body_and_tail_give_what_the_network_gives(model: str, boundary: str, layer: str) -> None:
    made = prepare_network(find_config(model, weights="random", size=64), 3, Head())
    batch = torch.rand(2, 3, 64, 64)
    found = find_tail(made, made.table.recording.entered[boundary])
    assert found is not None
    index, tail = found
    kept: list[torch.Tensor] = []

    if layer == "flatten":
        made.network.fc.register_forward_pre_hook(lambda _, args: kept.append(args[0]))  # type: ignore[union-attr]
    else:
        made.network.get_submodule(layer).register_forward_hook(lambda *args: kept.append(args[2]))
    logits = made.network(batch)

    assert layer in made.table.recording.nodes[index.index].names
    torch.testing.assert_close(tail(kept[0]), logits)


@pytest.mark.parametrize(
    ("model", "head", "node", "original"),
    [
        ("vit_tiny_patch16_224", {"pooling": "mean"}, "body.network.norm", "norm"),
        ("vit_small_patch14_dinov2", {}, "body", "getitem_2"),
    ],
)
def test_what_a_head_follows_is_cut_off_under_its_own_name(
    model: str, head: dict[str, Any], node: str, original: str
) -> None:
    pytest.importorskip("timm")
    plan = find_config(f"timm/{model}", weights="random", size=224)
    made = prepare_network(plan, 3, Head(**head))
    batch = torch.rand(2, 3, 224, 224)
    found = find_tail(made, made.table.recording.entered["head"])
    assert found is not None
    assert (found[0].node, made.original(found[0])) == (node, original)
    with torch.no_grad():
        (rows,) = HookedNetwork(made.network, [Tap(found[0], "flatten", (node,))])(batch)
        logits = found[1](rows.reshape(-1, *found[0].shape))
        torch.testing.assert_close(logits, made.network(batch))


def test_network_that_cannot_be_traced_has_no_tail() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.fc = nn.Linear(4, 10)

        def forward(self, x: torch.Tensor) -> Any:
            maps = self.conv(x)
            if len(maps) > 1000:
                maps = -maps
            return self.fc(maps.mean((2, 3)))

    made = prepare_network(find_config(Branching(), weights="random", size=16), 3)

    assert find_tail(made, made.table.recording.entered["fc"]) is None


def test_network_whose_graph_goes_another_way_has_no_tail() -> None:
    class Deviating(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.fc = nn.Linear(4, 10)

        def forward(self, x: torch.Tensor) -> Any:
            vectors = self.conv(x).mean((2, 3))
            if isinstance(vectors, torch.Tensor):
                vectors = vectors / 10
            return self.fc(vectors)

    made = prepare_network(find_config(Deviating(), weights="random", size=16), 3)

    assert find_tail(made, made.table.recording.entered["fc"]) is None
