from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from featx.data.images import Images, Pixels
from featx.finetuning.domain_shift import FAR, SourceDistance, _shift_of, measure_distance


def normed() -> nn.Module:
    """Channels of gray images' mean 0.5, as batch norm keeps it."""
    network = nn.Sequential(nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network.append(nn.Linear(3, 2))
    network.preprocessing = {  # type: ignore[assignment]
        "resize": 8,
        "crop": [8, 8],
        "mean": [0, 0, 0],
        "std": [1, 1, 1],
    }
    network[0].running_mean.fill_(0.5)  # type: ignore[union-attr, operator]
    network[0].running_var.fill_(0.01)  # type: ignore[union-attr, operator]
    return network


def shaded(*shades: int) -> Images:
    return Images(np.array(shades, np.uint8).repeat(8 * 8 * 3).reshape(-1, 8, 8, 3))


def test_batch_norm_tells_the_distance_by_its_statistics() -> None:
    gray, white = shaded(128, 128, 128), shaded(255, 255, 255)

    near, far = (measure_distance(images, normed()) for images in (gray, white))

    assert near.way == "batch norm"
    assert near.value == pytest.approx(0.02, abs=0.01)
    assert far.value == pytest.approx(5, abs=0.01)
    assert near.is_like
    assert not far.is_like


def test_every_image_weighs_alike_in_whatever_batch_it_is() -> None:
    images = shaded(*[0] * 16, 255)  # The last one is a batch of its own.

    distance = measure_distance(images, normed())

    assert distance.value == pytest.approx((0.5 - 1 / 17) / 0.1)


def test_network_is_left_as_it_was() -> None:
    network = normed()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    measure_distance(shaded(255), network)

    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not network[0]._forward_pre_hooks  # type: ignore[index]


def test_no_more_than_two_hundred_images_are_looked_at() -> None:
    class Seen(Images):
        indices: list[int] = []

        def take(self, indices: Any) -> Images:
            self.indices.extend(indices)
            return super().take(indices)

    images = Seen([np.zeros((8, 8, 3), np.uint8)] * 1000)
    measure_distance(images, normed())

    assert len(set(images.indices)) == 200
    assert (images.indices[0], images.indices[-1]) == (0, 999)


def test_without_statistics_the_networks_own_classes_tell() -> None:
    uniform = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 100))
    nn.init.zeros_(uniform[2].weight)
    nn.init.zeros_(uniform[2].bias)

    distance = measure_distance(shaded(0, 0), uniform, size=8)

    assert distance.way == "entropy"
    assert distance.value == pytest.approx(1)


def test_where_nothing_can_be_said_it_says_so() -> None:
    few: Any = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))

    distance = measure_distance(shaded(0, 0), few, size=8)

    assert (distance.way, distance.value, distance.is_like) == ("none", None, None)
    assert measure_distance(Images([]), "alexnet", weights="random").way == "none"


def test_noise_lies_farther_from_featxnets_source_than_photographs(photos: list[str]) -> None:
    noise: list[Pixels] = list(np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8))

    near, far = (measure_distance(Images(x), "featxnet") for x in (photos[:4], noise))

    assert near.way == far.way == "model card"
    assert far.value is not None
    assert far.value > 1.5 * near.value  # type: ignore[operator]
    assert not far.is_like


@pytest.mark.parametrize("way", FAR)
def test_images_are_like_the_source_below_the_bound_of_each_way(way: str) -> None:
    assert SourceDistance(way, FAR[way] - 0.01, "").is_like is True
    assert SourceDistance(way, FAR[way], "").is_like is False


def test_shift_is_in_deviations_of_the_source() -> None:
    assert _shift_of([2.0], [0.0], [0.5]) == 4
    assert np.isfinite(_shift_of([2.0], [0.0], [0.0]))
