from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from featx.errors import WeightsError
from featx.networks.featxnet import weights_path
from featx.networks.lenet import build_lenet
from featx.networks.sources.bundled import FeatxnetSource, LenetSource


def test_bundled_weights_fit_the_bundled_network() -> None:
    source = FeatxnetSource("featxnet")
    weights = source.weights("default")
    assert weights.read is not None
    assert weights.name == str(weights_path())
    source.build(weights).load_state_dict(weights.read(), strict=True)


def test_other_weights_of_featxnet_are_refused() -> None:
    with pytest.raises(WeightsError, match="no weights 'IMAGENET1K_V1'; it has only 'default'"):
        FeatxnetSource("featxnet").weights("IMAGENET1K_V1")


def test_bundled_weights_that_are_missing_are_named_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lost.safetensors"
    monkeypatch.setattr("featx.networks.featxnet.weights_path", lambda: path)
    with pytest.raises(WeightsError, match=f"{path} are missing; install featx again"):
        FeatxnetSource("featxnet").weights("default")


@pytest.mark.parametrize("weights", ["default", "IMAGENET1K_V1"])
def test_lenet_has_no_weights_until_it_is_trained(weights: str) -> None:
    with pytest.raises(WeightsError, match=rf"no weights '{weights}'; pass a file.*weights=random"):
        LenetSource("lenet").weights(weights)


def test_lenet_takes_a_file(tmp_path: Path) -> None:
    state = build_lenet().state_dict()
    save_file(state, tmp_path / "w.safetensors")
    weights = LenetSource("lenet").weights(tmp_path / "w.safetensors")
    assert weights.read is not None
    assert all(torch.equal(tensor, state[name]) for name, tensor in weights.read().items())


@pytest.mark.parametrize("source", [FeatxnetSource("featxnet"), LenetSource("lenet")])
def test_network_takes_images_of_the_size_that_its_preprocessing_gives(
    source: FeatxnetSource | LenetSource,
) -> None:
    weights = source.weights("random")
    with torch.no_grad():
        logits = source.build(weights).eval()(torch.zeros(2, 3, *weights.preprocessing.crop))
    assert logits.shape[0] == 2
    assert logits.ndim == 2
