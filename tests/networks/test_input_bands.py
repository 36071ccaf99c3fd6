from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from featx import CNNFeatures
from featx.data.images import Images
from featx.errors import ModelError
from featx.networks.input_bands import (
    adapt_first_convolution,
    adapt_preprocessing,
    count_input_bands,
)
from featx.networks.preprocessing import Preprocessing


@pytest.mark.parametrize("n_bands", [2, 4, 5, 6, 7])
def test_kernels_are_those_of_timm(n_bands: int) -> None:
    timm = pytest.importorskip("timm.models._manipulate", reason="the extra timm is not installed")
    network = nn.Sequential(nn.Conv2d(3, 8, 5), nn.ReLU())
    weight = network[0].weight.detach().clone()
    adapt_first_convolution(network, n_bands, "net")
    torch.testing.assert_close(network[0].weight, timm.adapt_input_conv(n_bands, weight))
    assert count_input_bands(network) == n_bands


def test_the_same_image_in_every_band_gives_what_it_gave() -> None:
    network = nn.Conv2d(3, 4, 3)
    with torch.no_grad():
        network.weight[:] = network.weight[:, :1]
    gray = torch.rand(1, 1, 8, 8)
    before = network(gray.repeat(1, 3, 1, 1))
    after = adapt_first_convolution(network, 5, "net")(gray.repeat(1, 5, 1, 1))
    torch.testing.assert_close(after, before)


def test_three_bands_change_nothing() -> None:
    network = nn.Conv2d(3, 4, 3)
    weight = network.weight
    assert adapt_first_convolution(network, 3, "net").weight is weight
    assert adapt_preprocessing(Preprocessing(), 3) == Preprocessing()


def test_a_network_without_such_a_convolution_is_refused() -> None:
    with pytest.raises(ModelError, match=r"net has no convolution .*--bands each"):
        adapt_first_convolution(nn.Sequential(nn.Linear(4, 4)), 5, "net")


def test_means_are_those_over_the_colors() -> None:
    adapted = adapt_preprocessing(Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.2, 0.2, 0.5)), 5)
    np.testing.assert_allclose(adapted.mean, [0.2] * 5)
    np.testing.assert_allclose(adapted.std, [0.3] * 5)


@pytest.mark.parametrize("tap", ["graph", "hooks"])
def test_five_bands_go_through_an_adapted_network(tap: str) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (3, 40, 50, 5)).astype(np.uint16)
    network = CNNFeatures(
        "alexnet",
        "pool1",
        weights="random",
        size=64,
        bands=(1, 2, 3, 4, 5),
        tap=tap,
        backend="torch",
    )
    rows = network.fit_transform(values)
    assert rows.shape == (3, network.n_features())
    assert not np.allclose(rows, network.set_params(bands=(5, 4, 3, 2, 1)).fit_transform(values))


def test_openvino_takes_five_bands_too() -> None:
    pytest.importorskip("openvino")
    values = np.random.default_rng(0).integers(0, 65536, (3, 40, 50, 5)).astype(np.uint16)
    common = {"weights": "random", "size": 64, "bands": (1, 2, 3, 4, 5)}
    torch_rows, rows = (
        CNNFeatures("squeezenet1_0", "pool1", backend=backend, **common).fit_transform(values)
        for backend in ("torch", "openvino")
    )
    np.testing.assert_allclose(rows, torch_rows, rtol=1e-3, atol=1e-3)


def test_an_extractor_for_three_bands_says_what_to_give() -> None:
    images = Images(np.zeros((2, 8, 8, 5), np.uint8), bands=(1, 2, 3, 4, 5))
    with pytest.raises(ValueError, match=r"5 bands; expected 3: .*--bands each"):
        CNNFeatures("alexnet", "pool1", weights="random", size=64).transform(images)
