from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest
import torch

from featx.errors import ModelError, WeightsError
from featx.extractors.cnn import CNNFeatures
from featx.networks.configs import find_config
from featx.networks.sources.finding import find_source

timm = pytest.importorskip("timm")

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


def test_timm_network_by_graph_and_hooks() -> None:
    rows = [
        CNNFeatures(
            "timm/resnet10t", ["-1", "layer1"], weights="random", size=64, tap=tap
        ).fit_transform(IMAGES)
        for tap in ("graph", "hooks")
    ]
    assert np.allclose(*rows, rtol=1e-4, atol=1e-5)


def test_timm_preprocessing_is_its_own() -> None:
    how = find_config("timm/vit_tiny_patch16_224", weights="random").preprocessing
    assert (how.interpolation, how.mean, how.crop) == ("bicubic", (0.5, 0.5, 0.5), (224, 224))


def test_unknown_timm_network() -> None:
    with pytest.raises(ModelError, match=r"timm .* has no model"):
        find_config("timm/resnet9000")


def test_timm_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match=r'pip install "featx\[timm\]"'):
        find_source("timm/resnet50")


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "efficientnet_b3"])
def test_preprocessing_is_that_of_timms_own_transform(name: str) -> None:
    how = find_source(f"timm/{name}").weights("default").preprocessing
    data = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    resize, crop, _, normalize = timm.data.create_transform(**data).transforms
    assert (how.resize, how.crop) == (resize.size, tuple(crop.size))
    assert how.interpolation == resize.interpolation.value
    assert how.mean == pytest.approx(normalize.mean.tolist())
    assert how.std == pytest.approx(normalize.std.tolist())


def test_squashed_images_lose_their_aspect_ratio() -> None:
    name = "coat_lite_medium_384"
    config = timm.get_pretrained_cfg(name)
    side = math.floor(384 / config.crop_pct)
    assert config.crop_mode == "squash"
    assert find_source(f"timm/{name}").preprocessing().resize == (side, side)


def test_tag_chooses_other_weights_than_the_default() -> None:
    source = find_source("timm/resnet50")
    names = [source.weights(weights).name for weights in ("default", "tv_in1k", "a1_in1k")]
    assert names[1:] == ["timm/resnet50.tv_in1k", "timm/resnet50.a1_in1k"]
    assert names[0] == f"timm/resnet50.{timm.get_pretrained_cfg('resnet50').tag}"


@pytest.mark.parametrize("weights", ["IMAGENET1K_V1", "a9_in1k"])
def test_tag_that_timm_does_not_have_is_refused(weights: str) -> None:
    with pytest.raises(WeightsError, match=f"timm has no weights '{weights}' for timm/resnet50"):
        find_source("timm/resnet50").weights(weights)


def test_without_network_it_says_which_file_to_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError("no route to host")

    weights = find_source("timm/resnet10t").weights("default")
    monkeypatch.setattr(timm, "create_model", fail)
    assert weights.read is not None
    with pytest.raises(WeightsError, match=r"resnet10t\..*cannot be downloaded.*https://.*=FILE"):
        weights.read()


@pytest.mark.parametrize(
    ("model", "size", "width"),
    [
        ("timm/vit_tiny_patch16_224", 64, 192),
        ("timm/eva02_tiny_patch14_224", 70, 192),
        ("timm/swin_tiny_patch4_window7_224", 64, 768),
        ("timm/levit_128s", 64, 384),
        ("timm/resnet10t", 64, 512),
    ],
)
def test_networks_of_one_size_take_images_of_another(model: str, size: int, width: int) -> None:
    first, second = (CNNFeatures(model, weights="random", size=it) for it in (size, None))

    assert first.fit_transform(IMAGES).shape == (3, width)
    assert first.fingerprint() != second.fingerprint()


def test_positions_are_interpolated_as_timm_does() -> None:
    features = CNNFeatures("timm/vit_tiny_patch16_224", weights="random", size=96, pooling="cls")
    rows = features.fit_transform(IMAGES)
    network = find_config("timm/vit_tiny_patch16_224", weights="random", size=96).network()
    module = timm.create_model("vit_tiny_patch16_224", dynamic_img_size=True)
    module.load_state_dict(network.module.state_dict())
    how = find_config("timm/vit_tiny_patch16_224", weights="random", size=96).preprocessing
    pixels = np.stack([how.prepare(image) for image in IMAGES]).transpose(0, 3, 1, 2) / 255
    batch = torch.tensor((pixels - 0.5) / 0.5, dtype=torch.float32)

    with torch.no_grad():
        expected = module.eval().forward_head(module.forward_features(batch), pre_logits=True)

    np.testing.assert_allclose(rows, expected.numpy(), rtol=1e-3, atol=1e-4)
