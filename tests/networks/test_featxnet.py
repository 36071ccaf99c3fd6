"""The bundled network: its names, its size, its weights, its card."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from featx._fingerprints import digest_bytes
from featx.networks.featxnet import (
    PREPROCESSING,
    _Bottleneck,
    _fold_batch_norm,
    featxnet,
    load_card,
    trainable_featxnet,
    training_image_digests,
    weights_path,
)

NAMED_IN_THE_LITERATURE = (
    ["conv1", "relu_conv1", "pool1", "conv2", "relu_conv2", "pool2", "conv3", "relu_conv3"]
    + ["conv4", "relu_conv4", "conv5", "relu_conv5", "pool5"]
    + ["fc6", "relu_fc6", "fc7", "relu_fc7", "fc8"]
)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """The network with its weights."""
    network = featxnet()
    network.load_state_dict(load_file(weights_path()))
    return network


def images(n: int = 2, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, PREPROCESSING["crop"], PREPROCESSING["crop"], generator=rng)


def settled(network: nn.Module) -> nn.Module:
    """The network with batch statistics and scales far from what they start at."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value in (module.weight.data, module.running_var):
                value.uniform_(0.5, 2.0)
            for value in (module.bias.data, module.running_mean):
                value.uniform_(-0.5, 0.5)
    return network.eval()


def test_layers_have_the_names_of_the_literature_in_its_order() -> None:
    names = [name for name, _ in featxnet().named_children()]

    assert [name for name in names if name in NAMED_IN_THE_LITERATURE] == NAMED_IN_THE_LITERATURE


def test_has_at_most_two_million_parameters() -> None:
    assert sum(p.numel() for p in featxnet().parameters()) <= 2_000_000


def test_exported_form_has_no_batch_norm() -> None:
    assert not any(isinstance(module, nn.BatchNorm2d) for module in featxnet().modules())


def test_folding_batch_norm_changes_nothing_but_rounding() -> None:
    torch.manual_seed(0)
    network = settled(trainable_featxnet())

    with torch.inference_mode():
        expected, folded = network(images()), _fold_batch_norm(network)(images())

    torch.testing.assert_close(folded, expected, rtol=1e-4, atol=1e-4 * float(expected.std()))


def test_folding_leaves_the_network_given_as_it_is() -> None:
    network = trainable_featxnet()

    _fold_batch_norm(network)

    assert network.training
    assert "bn1" in dict(network.named_children())


def test_bottleneck_without_weights_in_its_body_rectifies() -> None:
    block = _Bottleneck(4, 2).eval()
    nn.init.zeros_(block.body.widen.weight)
    maps = torch.randn(1, 4, 3, 3)

    assert torch.equal(block(maps), maps.relu())


def test_pool5_is_seven_by_seven() -> None:
    network = featxnet()
    until_pool5 = network[: [n for n, _ in network.named_children()].index("pool5") + 1]

    assert until_pool5(images(1)).shape == (1, 256, 7, 7)


def test_weights_are_half_precision_and_at_most_four_megabytes() -> None:
    dtypes = {value.dtype for value in load_file(weights_path()).values()}

    assert dtypes == {torch.float16}
    assert weights_path().stat().st_size <= 4_000_000


def test_weights_are_numbers_behind_a_json_header() -> None:
    content = weights_path().read_bytes()
    n_header = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + n_header])

    n_bytes = sum(b - a for a, b in (entry["data_offsets"] for entry in header.values()))
    assert n_bytes == len(content) - 8 - n_header


def test_weights_fit_the_network_and_are_finite(network: nn.Module) -> None:
    assert all(bool(value.isfinite().all()) for value in network.state_dict().values())


def test_same_images_give_same_classes_whatever_the_batch(network: nn.Module) -> None:
    with torch.inference_mode():
        together = network(images(4))
        alone = torch.cat([network(image[None]) for image in images(4)])

    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4)


def test_card_names_the_weights_it_belongs_to() -> None:
    assert load_card()["weights_digest"] == digest_bytes(weights_path().read_bytes())


def test_card_says_what_it_was_trained_on() -> None:
    card = load_card()

    assert all(source["digest"] and source["n_images"] for source in card["trained_on"])
    assert not {"flowers17", "ants_bees"} & {source["name"] for source in card["trained_on"]}


def test_card_has_the_preprocessing_in_force() -> None:
    assert load_card()["preprocessing"] == json.loads(json.dumps(PREPROCESSING))


def test_training_images_are_as_many_as_the_card_says() -> None:
    n_images = sum(source["n_images"] for source in load_card()["trained_on"])

    # An image may lie in two collections.
    assert 0.95 * n_images <= len(training_image_digests()) <= n_images


def test_training_images_hold_none_of_those_it_is_measured_on(shared) -> None:
    folders = [shared("data/flowers17"), shared("data/ants_bees")]
    files = [path for folder in folders for path in folder.rglob("*.jpg")]
    digests = [int(digest_bytes(path.read_bytes())[:16], 16) for path in files]

    assert not np.isin(np.array(digests, np.uint64), training_image_digests()).any()
