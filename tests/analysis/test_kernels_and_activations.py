from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from featx import load_dataset
from featx.analysis.kernels_and_activations import (
    ActivatingImages,
    find_activating_images,
    read_kernels,
)
from featx.data.datasets import ImageDataset
from featx.errors import ProjectionError
from featx.extractors.cnn import CNNFeatures
from featx.features.results import Result
from featx.store.feature_store import FeatureStore


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return load_dataset("digits").take(range(60))


@pytest.fixture(scope="module")
def found(digits: ImageDataset) -> tuple[Result, dict[int, list[ActivatingImages]]]:
    return find_activating_images(digits, "featxnet", "pool2", channels=[5, 9], store=None)


def test_kernels_are_the_weights_around_gray() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    kernels = read_kernels(network)
    weights = network[0].weight.detach().numpy().transpose(0, 2, 3, 1)  # type: ignore[operator]
    assert kernels.shape == (2, 3, 3, 3)
    np.testing.assert_array_equal(kernels > 0.5, weights > 0)
    assert max(kernels[0].max() - 0.5, 0.5 - kernels[0].min()) == pytest.approx(0.5)


def test_a_network_without_a_first_convolution_is_named() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 224 * 224, 2))
    with pytest.raises(ProjectionError, match="does not begin with a convolution"):
        read_kernels(network)


def test_the_most_exciting_come_first(
    digits: ImageDataset, found: tuple[Result, dict[int, list[ActivatingImages]]]
) -> None:
    rows = CNNFeatures("featxnet", "pool2", pooling="max").fit_transform(digits.images)
    for channel, images in found[1].items():
        expected = np.sort(rows[:, channel])[::-1][:9]
        np.testing.assert_allclose([one.activation for one in images], expected, rtol=1e-4)


def test_a_crop_alone_excites_as_much(
    digits: ImageDataset, found: tuple[Result, dict[int, list[ActivatingImages]]]
) -> None:
    """What lies outside of the box does not matter: gray it, and the activation stays."""
    extractor = CNNFeatures("featxnet", "pool2", pooling="max")
    unresized = CNNFeatures("featxnet", "pool2", pooling="max", size=112)
    for channel, images in found[1].items():
        one = images[0]
        whole = extractor._prepare(digits.images.pixels(digits.names.index(one.path)))
        np.testing.assert_array_equal(whole[one.box], one.crop)
        grayed = np.full_like(whole, 128)
        grayed[one.box] = one.crop
        rows = unresized.fit_transform([grayed])
        assert rows[0, channel] >= one.activation * 0.999


def test_duplicates_are_shown_once(digits: ImageDataset, store: FeatureStore) -> None:
    twice = digits.take([*range(30), *range(30)])
    twice.names[30:] = [f"{name} again" for name in twice.names[:30]]
    _, found = find_activating_images(twice, "featxnet", "pool1", channels=[0], store=store)
    assert all("again" not in one.path for one in found[0])


def test_channels_that_stand_out_are_chosen(digits: ImageDataset) -> None:
    result, found = find_activating_images(digits, "featxnet", "pool1", n_channels=3, store=None)
    assert len(found) == 3
    rows = CNNFeatures("featxnet", "pool1", pooling="max").fit_transform(digits.images)
    assert {row["channel"] for row in result.rows} == set(found)
    assert all(row["deviations"] > 0 for row in result.rows)
    assert rows.shape[1] > max(found)


def test_a_vector_is_excited_by_the_whole_image(digits: ImageDataset) -> None:
    result, _ = find_activating_images(digits, "featxnet", "fc7", channels=[0], store=None)
    assert result.rows[0]["field_px"] == [112, 112]


def test_a_wrong_channel_is_named(digits: ImageDataset) -> None:
    with pytest.raises(ProjectionError, match="'pool1' has channels 0 to 31; got 32"):
        find_activating_images(digits, "featxnet", "pool1", channels=[32], store=None)


@pytest.mark.slow
def test_a_channel_of_pansies(shared: Callable[[str], Path], store: FeatureStore) -> None:
    _, found = find_activating_images(
        [shared("data/flowers17") / name for name in ("iris", "pansy", "tulip")],
        "squeezenet1_0",
        "fire7",
        channels=[214],
        weights=shared("weights/squeezenet1_0-imagenet.pth"),
        store=store,
    )
    assert sum("pansy" in one.path for one in found[214]) >= 7
