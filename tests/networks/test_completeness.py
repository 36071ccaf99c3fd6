from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from featx.errors import WeightsError
from featx.extractors.cnn import CNNFeatures

IMAGES = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)


class Chain(nn.Module):
    """Blocks of one width: any number of them has every tensor that fewer need."""

    def __init__(self, n_blocks: int, *, bias: bool = True, with_head: bool = True) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, bias=bias)
        self.blocks = nn.Sequential(*[nn.Conv2d(4, 4, 1) for _ in range(n_blocks)])
        self.head = nn.Linear(4, 2) if with_head else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.blocks(self.stem(x)).mean((2, 3)))
        return logits


class Rooted(Chain):
    """The same with its blocks side by side in the network itself."""

    def __init__(self, n_blocks: int) -> None:
        super().__init__(0)
        for i in range(n_blocks):
            setattr(self, f"block{i}", nn.Conv2d(4, 4, 1))
        self.n_blocks = n_blocks

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for i in range(self.n_blocks):
            x = getattr(self, f"block{i}")(x)
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def extract(network: nn.Module, state: dict[str, Tensor], folder: Path, layer: str = "-1") -> None:
    torch.save(state, folder / "w.pth")
    CNNFeatures(network, layer, weights=folder / "w.pth", size=32).fit_transform(IMAGES)


@pytest.mark.parametrize(
    ("shallow", "deep"),
    [("resnet18", "resnet34"), ("efficientnet_b0", "efficientnet_b1")],
)
def test_weights_of_a_deeper_relative_are_refused(shallow: str, deep: str, tmp_path: Path) -> None:
    torch.save(getattr(torchvision.models, deep)().state_dict(), tmp_path / "w.pth")
    features = CNNFeatures(shallow, "-1", weights=tmp_path / "w.pth", size=32)
    with pytest.raises(WeightsError, match=r"another network than .*; and \d+ more"):
        features.fit_transform(IMAGES)


def test_tensors_left_over_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"lacks \(blocks\.2\.weight; blocks\.2\.bias\)"):
        extract(Chain(2), Chain(3).state_dict(), tmp_path)


def test_layers_before_what_is_left_over_have_their_own_weights(tmp_path: Path) -> None:
    extract(Chain(2), Chain(3).state_dict(), tmp_path, layer="blocks.0")


def test_blocks_in_the_network_itself_are_counted_too(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"block2\.weight"):
        extract(Rooted(2), Rooted(3).state_dict(), tmp_path)


def test_a_bias_that_the_network_lacks_is_no_head(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"stem\.bias"):
        extract(Chain(2, bias=False), Chain(2).state_dict(), tmp_path)


def test_class_tokens_that_the_network_lacks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="reg_token"):
        extract(Chain(1), Chain(1).state_dict() | {"reg_token": torch.zeros(1)}, tmp_path)


@pytest.mark.parametrize(
    "name",
    ["head.weight", "fc.weight", "aux1.conv.weight", "projector.0.weight", "decoder.0.weight"]
    + ["stem.num_batches_tracked", "blocks.0.relative_position_index", "n_averaged", "mask_token"],
)
def test_heads_and_what_follows_from_the_structure_may_be_left_over(
    name: str, tmp_path: Path
) -> None:
    network = Chain(1, with_head=False)
    extract(network, network.state_dict() | {name: torch.zeros(1)}, tmp_path)
