from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from featx.errors import ModelError, WeightsError
from featx.extractors.cnn import CNNFeatures
from featx.networks.lenet import build_lenet
from featx.networks.sources.finding import find_source
from featx.networks.sources.saved_folder import FolderSource, read_card

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


def write_folder(folder: Path, seed: int = 0, **card: Any) -> Path:
    """A folder with lenet's weights as drawn from a seed."""
    torch.manual_seed(seed)
    (folder / "model.json").write_text(json.dumps({"model": "lenet"} | card))
    save_file(build_lenet().state_dict(), folder / "weights.safetensors")
    return folder


def test_folder_with_a_card_and_weights(tmp_path: Path) -> None:
    network = models.squeezenet1_1(num_classes=4)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    card = {"model": "squeezenet1_1", "n_classes": 4, "preprocessing": {"resize": 64, "crop": 64}}
    (tmp_path / "model.json").write_text(json.dumps(card))
    rows = CNNFeatures(str(tmp_path), "logits").fit_transform(IMAGES)
    assert rows.shape == (3, 4)


def test_rewritten_folder_gives_new_rows(tmp_path: Path) -> None:
    fingerprints, rows = [], []
    for seed in (0, 1):
        extractor = CNNFeatures(str(write_folder(tmp_path, seed)), "pool1", size=28)
        fingerprints.append(extractor.fingerprint("pool1"))
        rows.append(extractor.fit_transform(IMAGES))
    assert fingerprints[0] != fingerprints[1]
    assert not np.array_equal(rows[0], rows[1])


def test_folder_builds_the_network_that_its_weights_fit(tmp_path: Path) -> None:
    source = find_source(write_folder(tmp_path, replacements=[]))
    weights = source.weights("default")
    assert weights.read is not None
    source.build(weights).load_state_dict(weights.read(), strict=True)


def test_identity_follows_the_code_that_the_card_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = {"model": "someones_net:make", "replacements": [], "classes": ["a"]}
    (tmp_path / "model.json").write_text(json.dumps(card))
    identities = set()
    for size in (3, 5):
        module: Any = type(json)("someones_net")
        module.make = lambda size=size: torch.nn.Sequential(torch.nn.MaxPool2d(size))
        monkeypatch.setitem(sys.modules, "someones_net", module)
        identities.add(find_source(tmp_path, trust=tmp_path).identity)
    assert len(identities) == 2


def test_replacements_make_the_head_instead_of_a_number_of_classes(tmp_path: Path) -> None:
    replacements = [{"at": "fc2", "layers": [["out", "linear", 500, 3]]}]
    source = find_source(write_folder(tmp_path, n_classes=7, replacements=replacements))
    network: Any = source.build(source.weights("random"))
    assert network.fc2.out_features == 3


def test_identity_follows_the_card(tmp_path: Path) -> None:
    head = {"at": "fc2", "layers": [["out", "linear", 500, 3]]}
    cards: list[dict[str, Any]] = [
        {},
        {"n_classes": 2},
        {"n_classes": 3},
        {"n_classes": 3, "replacements": [head]},
        {"n_classes": 3, "replacements": [head | {"removed": ["relu_fc1"]}]},
        {"model": "alexnet"},
    ]
    sources = [find_source(write_folder(tmp_path, **card)) for card in cards]
    assert len({source.identity for source in sources}) == len(cards)


def test_card_tells_the_preprocessing(tmp_path: Path) -> None:
    preprocessing = {"resize": [20, 24], "crop": 16, "mean": [0, 0, 0], "interpolation": "bicubic"}
    how = find_source(write_folder(tmp_path, preprocessing=preprocessing)).preprocessing()
    assert (how.resize, how.crop, how.mean) == ((20, 24), (16, 16), (0, 0, 0))
    assert (how.std, how.interpolation) == ((0.229, 0.224, 0.225), "bicubic")


def test_other_weights_of_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no weights 'IMAGENET1K_V1'; use 'default'"):
        find_source(write_folder(tmp_path)).weights("IMAGENET1K_V1")


@pytest.mark.parametrize("text", ['{"model": "len', "[1, 2]", '{"n_classes": 3}', '{"model": 3}'])
def test_damaged_card_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(ModelError, match=r"model\.json is damaged"):
        FolderSource(str(tmp_path), resolve=find_source)


@pytest.mark.parametrize("text", ["", '{"model": "len', "[1, 2]", "{}", '{"classes": 3}'])
def test_card_without_classes_is_no_model(text: str, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(ModelError, match=r"was not written by `featx finetune`.*no classes"):
        read_card(tmp_path)


def test_folder_without_a_card_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model.json is missing or names no classes"):
        read_card(tmp_path)


@pytest.mark.parametrize(
    "card",
    [
        {"n_classes": "many"},
        {"n_classes": 10**12},
        {"replacements": 5},
        {"preprocessing": {"unknown": 1}},
    ],
)
def test_values_that_fit_no_network_are_one_line(tmp_path: Path, card: dict[str, Any]) -> None:
    source = find_source(write_folder(tmp_path, **card))
    with pytest.raises(ModelError, match="is damaged") as caught:
        source.build(source.weights("default"))
    assert "\n" not in str(caught.value)


def test_a_folder_that_names_itself_is_damaged(tmp_path: Path) -> None:
    source = find_source(write_folder(tmp_path, model=str(tmp_path)))
    with pytest.raises(ModelError, match="is damaged"):
        source.weights("default")


@pytest.mark.parametrize("read", [find_source, read_card])
def test_endless_nesting_is_damage(tmp_path: Path, read: Any) -> None:
    (tmp_path / "model.json").write_text("[" * 100_000)
    with pytest.raises(ModelError):
        read(tmp_path)


def test_a_pipe_in_place_of_the_card_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.json")
    with pytest.raises(ModelError, match="was not written by `featx finetune`"):
        read_card(tmp_path)
