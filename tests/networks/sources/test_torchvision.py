from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

from featx.errors import ModelError, WeightsError
from featx.extractors.cnn import CNNFeatures
from featx.networks.configs import list_layers
from featx.networks.sources.finding import find_source


def test_default_preprocessing_is_that_of_the_default_weights() -> None:
    how = find_source("resnet50").weights("default").preprocessing
    assert (how.resize, how.crop) == (232, (224, 224))


def test_named_weights_have_their_own_preprocessing() -> None:
    how = find_source("resnet50").weights("IMAGENET1K_V1").preprocessing
    assert (how.resize, how.interpolation) == (256, "bilinear")


def test_a_file_is_taken_as_of_the_first_published_kind(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"x")
    assert find_source("resnet50").weights(tmp_path / "w.pth").preprocessing.resize == 256


@pytest.mark.parametrize("name", ["efficientnet_b0", "inception_v3", "swin_t", "vit_h_14"])
def test_every_preset_is_torchvisions(name: str) -> None:
    for chosen in torchvision.models.get_model_weights(name):
        preset, ours = chosen.transforms(), find_source(name).weights(chosen.name).preprocessing
        assert (ours.resize, ours.crop[0]) == (preset.resize_size[0], preset.crop_size[0])
        assert ours.interpolation == preset.interpolation.value
        assert (list(ours.mean), list(ours.std)) == (preset.mean, preset.std)


def test_larger_images_build_a_larger_vision_transformer() -> None:
    source = find_source("vit_b_16")
    with torch.device("meta"):
        network: Any = source.build(source.weights("IMAGENET1K_SWAG_E2E_V1"))
    assert network.image_size == 384


@pytest.mark.parametrize("name", ["vit_b_16", "vit_b_32"])
def test_every_vision_transformer_takes_its_own_images(name: str) -> None:
    assert list_layers(name).find("logits").shape == (1000,)


def test_weights_that_are_not_there_are_named() -> None:
    expected = "alexnet has no weights 'V9'; expected one of IMAGENET1K_V1"
    with pytest.raises(WeightsError, match=expected):
        find_source("alexnet").weights("V9")


def test_fingerprint_of_published_weights_needs_no_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert find_source("resnet50").weights("default").digest == "torchvision:resnet50-11ad3fa6.pth"


@pytest.mark.parametrize("name", ["alexnt", "resnet", ""])
def test_unknown_network_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match=f"Unknown model '{name}'"):
        find_source(name)


def test_downloaded_weights_are_those_of_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    torch.save(torchvision.models.squeezenet1_1().state_dict(), tmp_path / "net.pth")
    weights = torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    monkeypatch.setattr(weights.value, "url", (tmp_path / "net.pth").as_uri())
    read = find_source("squeezenet1_1").weights("default").read
    assert read is not None
    assert read()["features.0.weight"].shape == (64, 3, 3, 3)


DETECTORS = torchvision.models.list_models(module=torchvision.models.detection)


@pytest.mark.parametrize("name", DETECTORS)
def test_preprocessing_of_a_detector_is_its_own(name: str) -> None:
    with torch.device("meta"):
        transform: Any = torchvision.models.get_model(name, weights_backbone=None).transform
    how = find_source(name).weights("default").preprocessing
    assert how.crop[0] == how.resize == (transform.fixed_size or transform.min_size)[-1]
    assert (list(how.mean), list(how.std)) == (transform.image_mean, transform.image_std)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("fasterrcnn_mobilenet_v3_large_320_fpn", "backbone.fpn.layer_blocks.1.0"),
        ("ssdlite320_mobilenet_v3_large", "backbone.extra.3"),
        ("deeplabv3_mobilenet_v3_large", "classifier.3"),
        ("lraspp_mobilenet_v3_large", "output"),
    ],
)
def test_dense_networks_are_tapped_as_they_run(name: str, layer: str, tmp_path: Path) -> None:
    network = torchvision.models.get_model(name, weights_backbone=None).eval()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    features = CNNFeatures(name, layer, weights=tmp_path / "w.pth", size=64, pooling="gap")
    how = features._config().preprocessing
    batch = (torch.from_numpy(images / 255) - torch.tensor(how.mean)) / torch.tensor(how.std)
    seen: list[torch.Tensor] = []
    if layer != "output":
        part = network.get_submodule(layer)
        part.register_forward_hook(lambda *args: seen.append(args[-1]))
    with torch.no_grad():
        maps = batch.permute(0, 3, 1, 2).float()
        output = network.backbone(maps) if name in DETECTORS else network(maps)
    expected = (seen[0] if seen else output["out"]).mean((2, 3))
    assert np.allclose(features.fit_transform(images), expected, rtol=1e-3, atol=1e-4)


def test_a_detectors_last_layer_is_its_deepest_level() -> None:
    assert list_layers("fasterrcnn_resnet50_fpn").find("-1").node == "backbone.fpn.layer_blocks.3.0"
    assert list_layers("fcn_resnet50").find("-1").node == "classifier.2"


@pytest.mark.parametrize(
    ("name", "eps"), [("retinanet_resnet50_fpn", 0.0), ("fcos_resnet50_fpn", 1e-5)]
)
def test_batch_norms_of_published_detectors_are_torchvisions(name: str, eps: float) -> None:
    source = find_source(name)
    with torch.device("meta"):
        network = source.build(source.weights("default"))
    norms = [it for it in network.modules() if isinstance(it, torch.nn.BatchNorm2d)]
    assert {norm.eps for norm in norms} == {eps}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("r3d_18", "its input is video clips"),
        ("raft_small", "its input is pairs of images"),
        ("quantized_resnet18", "its activations are quantized to 8 bits"),
    ],
)
def test_networks_of_which_one_image_is_no_input_are_refused(name: str, reason: str) -> None:
    with pytest.raises(ModelError, match=f"{name} is not supported: {reason}"):
        find_source(name)
