from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from featx.errors import ModelError
from featx.finetuning.heads import Head, last_maps, parse_sizes, prepare_network
from featx.networks.configs import find_config
from featx.networks.head_replacement import replace_modules
from tests.finetuning.conftest import Normed, prepare, trained


def pooled() -> nn.Sequential:
    """Maps pooled to a grid and flattened for dense layers, as in VGG."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 8),
        nn.ReLU(),
        nn.Linear(8, 10),
    )


@pytest.mark.parametrize("model", ["alexnet", "squeezenet1_0", "resnet18", "featxnet"])
def test_dense_head_takes_the_place_of_the_classifier(model: str) -> None:
    prepared = prepare(model, 5, hidden=(8,), dropout=0.5, batch_norm=True)

    out = prepared.network(torch.rand(2, 3, 64, 64))

    assert out.shape == (2, 5)
    assert trained(prepared) >= {f"{prepared.head}.logits.weight", f"{prepared.head}.norm1.weight"}
    assert all(name.startswith(f"{prepared.head}.") for name in trained(prepared))


def test_dense_head_averages_the_last_maps() -> None:
    prepared = prepare(pooled(), 3, dropout=0.5)
    batch = torch.rand(2, 3, 64, 64)
    logits = prepared.network.get_submodule(f"{prepared.head}.logits")

    averaged = prepared.network[:3](batch).mean((2, 3))  # type: ignore[index]

    torch.testing.assert_close(prepared.network(batch), logits(averaged))


def test_head_reads_the_layer_that_is_named() -> None:
    prepared = prepare(pooled(), 3, layer="4", hidden=(5,))
    batch = torch.rand(2, 3, 64, 64)

    features = prepared.network[:5](batch)  # type: ignore[index]

    head = prepared.network.get_submodule(prepared.head)
    torch.testing.assert_close(prepared.network(batch), head(features.relu()))


def test_plain_head_changes_nothing_before_it() -> None:
    network = Normed()
    config = find_config(network, size=16)

    prepared = prepare_network(config, 2)

    own, before = prepared.network.state_dict(), network.state_dict()
    new = {"8.weight", "8.bias"}
    assert prepared.new_tensors == new
    assert own["8.weight"].shape == (2, 4)
    assert all(torch.equal(own[name], before[name]) for name in before.keys() - new)


def test_head_is_drawn_from_the_seed_and_from_no_global_state() -> None:
    config = find_config(Normed(), size=16)
    before = torch.random.get_rng_state()

    heads = [prepare_network(config, 2, random_state=i).network[8].weight for i in (0, 0, 1)]

    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert torch.equal(before, torch.random.get_rng_state())


def test_new_logits_start_near_zero_whatever_the_size_of_features() -> None:
    features = 100 * torch.rand(8, 8)

    prepared = prepare(pooled(), 3)

    assert prepared.network[6](features).abs().max() < 30  # type: ignore[index]
    assert nn.Linear(8, 3)(features).abs().max() > 30


@pytest.mark.parametrize("padding", ["same", "valid", 1])
def test_convolution_as_classifier_keeps_its_padding(padding: Any) -> None:
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    last = nn.Conv2d(4, 10, 1, padding=padding)
    end = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

    prepared = prepare(nn.Sequential(body, last, end), 2)

    maps = torch.rand(1, 4, 8, 8)
    assert prepared.network[1](maps).shape[2:] == last(maps).shape[2:]  # type: ignore[index]


@pytest.mark.parametrize(
    ("model", "heads"),
    [
        ("timm/deit_tiny_distilled_patch16_224", ["head", "head_dist"]),
        ("timm/levit_128s", ["head.linear", "head_dist.linear"]),
    ],
)
def test_both_heads_of_a_distilled_network_are_new(model: str, heads: list[str]) -> None:
    prepared = prepare_network(find_config(model, weights="random"), 3)
    prepared.take_as_loaded()

    assert sorted(prepared.heads) == heads
    assert {name.rpartition(".")[0] for name in prepared.new_tensors} == set(heads)
    assert trained(prepared, train="head") == prepared.new_tensors
    assert prepared.network(torch.rand(2, 3, 224, 224)).shape == (2, 3)


class Tokens(nn.Module):
    """Four patches and a class token; declares that it has one."""

    num_prefix_tokens = 1

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 6, 16, 16)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        return torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], dim=1)


HEADLESS: dict[str, Any] = {
    "vector": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ),
    "maps": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU()),
    "tokens": Tokens,
}


@pytest.mark.parametrize("kind", HEADLESS)
@pytest.mark.parametrize("hidden", [(), (5,)])
def test_network_without_a_classifier_gets_a_head_after_its_output(
    kind: str, hidden: tuple[int, ...]
) -> None:
    network = HEADLESS[kind]()

    prepared = prepare_network(find_config(network, size=32), 2, Head(hidden=hidden))

    assert prepared.head == "head"
    assert {name.split(".")[0] for name in prepared.new_tensors} == {"head"}
    assert set(prepared.report.loaded) == {f"body.{name}" for name in network.state_dict()}
    images = torch.rand(3, 3, 32, 32)
    assert prepared.network(images).shape == (3, 2)
    again = replace_modules(HEADLESS[kind](), prepared.replacements)
    again.load_state_dict(prepared.network.state_dict())
    assert torch.equal(again(images), prepared.network(images))


@pytest.mark.parametrize(
    ("model", "pooling", "n_columns"),
    [
        ("vit_tiny_patch16_224", "cls+mean", 384),
        ("vit_small_patch14_dinov2", "mean", 384),
        ("deit_tiny_distilled_patch16_224", "cls", 192),
    ],
)
def test_head_pools_tokens(model: str, pooling: str, n_columns: int) -> None:
    pytest.importorskip("timm")
    config = find_config(f"timm/{model}", weights="random", size=224)
    prepared = prepare_network(config, 2, Head(pooling=pooling))
    body = prepared.network.body.network  # type: ignore[union-attr]
    images = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        tokens = body.forward_features(images)  # type: ignore[operator, union-attr]
        rows = prepared.network.head[0](tokens)  # type: ignore[index]
        logits = prepared.network(images)
        assert torch.equal(logits, prepared.network.head[1](rows))  # type: ignore[index]
    n_prefix: Any = getattr(body, "num_prefix_tokens", 0)
    expected = {
        "cls": lambda: tokens[:, 0],
        "mean": lambda: tokens[:, n_prefix:].mean(1),
        "cls+mean": lambda: torch.cat([tokens[:, 0], tokens[:, n_prefix:].mean(1)], 1),
    }[pooling]()
    assert rows.shape == (2, n_columns)
    assert torch.allclose(rows, expected, atol=1e-6)
    again = replace_modules(config.source.build(config.weights), prepared.replacements)
    again.load_state_dict(prepared.network.state_dict())
    assert torch.equal(again.eval()(images), logits)


def test_pooling_where_the_network_pools_by_itself_is_refused() -> None:
    with pytest.raises(ModelError, match="pooling='mean' needs a network of timm"):
        prepare("squeezenet1_0", pooling="mean")


def test_rectifier_after_the_classifier_is_removed() -> None:
    prepared = prepare("squeezenet1_0")
    nn.init.constant_(prepared.network.get_submodule(prepared.head).bias, -9)  # type: ignore[arg-type]

    assert prepared.network(torch.rand(1, 3, 64, 64)).max() < 0
    assert prepared.replacements[-1]["removed"] == ["classifier.2"]


def test_layer_with_no_weights_after_it_takes_no_head() -> None:
    with pytest.raises(ModelError, match="No layer with weights follows '8'"):
        prepare(Normed(), layer="logits")


def test_last_maps_are_the_last_layer_with_places() -> None:
    assert last_maps(prepare(pooled()).table).node == "2"
    assert (
        last_maps(prepare(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64**2, 2))).table).node == "0"
    )


@pytest.mark.parametrize("wrong", ["abc", "256,x", "0", [64, -1], "1.5", (2.7,), (True,)])
def test_sizes_that_are_none_are_refused(wrong: Any) -> None:
    with pytest.raises(ModelError, match="sizes of dense layers, such as 256,64"):
        parse_sizes(wrong)
