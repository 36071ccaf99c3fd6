from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from featx.finetuning.heads import Head, prepare_network
from featx.finetuning.split_network import split_off_frozen_part
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
def test_frozen_part_and_tail_compute_the_output(model: str, boundary: str, layer: str) -> None:
    prepared = prepare_network(find_config(model, weights="random", size=64), 3, Head())
    batch = torch.rand(2, 3, 64, 64)
    part = split_off_frozen_part(prepared, prepared.table.recording.entered[boundary], {})
    assert part is not None
    outputs: list[torch.Tensor] = []

    if layer == "flatten":
        prepared.network.fc.register_forward_pre_hook(lambda _, args: outputs.append(args[0]))  # type: ignore[union-attr]
    else:
        prepared.network.get_submodule(layer).register_forward_hook(
            lambda *args: outputs.append(args[2])
        )
    logits = prepared.network(batch)

    assert layer in prepared.table.recording.nodes[part.layer.index].names
    torch.testing.assert_close(part.tail(outputs[0]), logits)


@pytest.mark.parametrize(
    ("model", "head", "node", "original"),
    [
        ("vit_tiny_patch16_224", {"pooling": "mean"}, "body.network.norm", "norm"),
        ("vit_small_patch14_dinov2", {}, "body", "getitem_2"),
    ],
)
def test_part_before_a_following_head_has_its_original_name(
    model: str, head: dict[str, Any], node: str, original: str
) -> None:
    pytest.importorskip("timm")
    plan = find_config(f"timm/{model}", weights="random", size=224)
    prepared = prepare_network(plan, 3, Head(**head))
    batch = torch.rand(2, 3, 224, 224)
    part = split_off_frozen_part(prepared, prepared.table.recording.entered["head"], {})
    assert part is not None
    assert (part.layer.node, prepared.original(part.layer)) == (node, original)
    with torch.no_grad():
        (rows,) = HookedNetwork(prepared.network, [Tap(part.layer, "flatten", (node,))])(batch)
        logits = part.tail(rows.reshape(-1, *part.layer.shape))
        torch.testing.assert_close(logits, prepared.network(batch))


def test_network_that_cannot_be_traced_is_not_split() -> None:
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

    prepared = prepare_network(find_config(Branching(), weights="random", size=16), 3)

    assert split_off_frozen_part(prepared, prepared.table.recording.entered["fc"], {}) is None


def test_network_whose_graph_takes_another_branch_is_not_split() -> None:
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

    prepared = prepare_network(find_config(Deviating(), weights="random", size=16), 3)

    assert split_off_frozen_part(prepared, prepared.table.recording.entered["fc"], {}) is None
