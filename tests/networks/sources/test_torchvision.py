from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

from featx.errors import ModelError, WeightsError
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


@pytest.mark.parametrize("name", ["vit_b_16", "vit_h_14"])
def test_every_vision_transformer_takes_its_own_images(name: str) -> None:
    assert list_layers(name).find("logits").shape == (1000,)


def test_weights_that_are_not_there_are_named() -> None:
    with pytest.raises(WeightsError, match="alexnet has no weights 'V9'; it has IMAGENET1K_V1"):
        find_source("alexnet").weights("V9")


def test_fingerprint_of_published_weights_needs_no_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert find_source("resnet50").weights("default").digest == "torchvision:resnet50-11ad3fa6.pth"


@pytest.mark.parametrize("name", ["alexnt", "resnet", ""])
def test_unknown_network_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match=f"Model '{name}' is not known"):
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
