from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from featx.errors import ModelError
from featx.networks.configs import find_config, list_layers
from featx.networks.lenet import build_lenet


def write_weights(path: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    path.parent.mkdir(exist_ok=True)
    save_file(build_lenet().state_dict(), path)
    return path


def test_equal_requests_share_a_config() -> None:
    config = find_config("lenet", weights="random", size=32)
    assert find_config("lenet", weights="random", size=32) is config
    assert find_config("lenet", weights="random", size=28) is not config


def test_rewritten_weights_are_noticed_where_they_are_checked(tmp_path: Path) -> None:
    file = write_weights(tmp_path / "w.safetensors")
    before = find_config("lenet", weights=file)
    write_weights(file, seed=1)
    assert find_config("lenet", weights=file, is_checked=False) is before
    assert find_config("lenet", weights=file).weights.digest != before.weights.digest


def test_relative_name_means_another_file_in_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = []
    for seed, name in enumerate("ab"):
        write_weights(tmp_path / name / "w.safetensors", seed)
        monkeypatch.chdir(tmp_path / name)
        config = find_config("lenet", weights="w.safetensors", is_checked=False)
        digests.append(config.weights.digest)
    assert digests[0] != digests[1]


def test_changed_module_gives_another_config() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3))
    before = find_config(network, size=8)
    assert find_config(network, size=8) is before
    network[0].weight.data.add_(1)
    assert find_config(network, size=8).weights.digest != before.weights.digest


def test_settings_override_those_of_the_weights_one_by_one() -> None:
    own = find_config("lenet", weights="random").preprocessing
    how = find_config("lenet", weights="random", size=40, crop=32, std=(1, 1, 1)).preprocessing
    assert (how.resize, how.crop, how.std) == (40, (32, 32), (1, 1, 1))
    assert (how.mean, how.interpolation) == (own.mean, own.interpolation)


def test_layers_have_the_shapes_that_the_network_gives() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Flatten()).eval()
    expected, value = [], torch.zeros(1, 3, 12, 20)
    for step in network:
        value = step(value)
        expected.append(tuple(value.shape[1:]))
    assert [layer.shape for layer in list_layers(network, size=(12, 20))] == expected


def test_images_too_small_for_a_network_are_refused_by_size() -> None:
    with pytest.raises(ModelError, match="lenet does not take images of 8x8 px"):
        list_layers("lenet", size=8)
