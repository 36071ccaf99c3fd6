from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from featx.engine.extraction import extract
from featx.errors import ModelError, TrainingError
from featx.evaluation.prediction import _predict_folder, predict
from featx.extractors.cnn import CNNFeatures
from featx.finetuning.classifier import FineTunedClassifier
from featx.finetuning.heads import build_network
from featx.finetuning.model_folder import save_folder
from featx.networks.configs import find_config
from featx.networks.module_state import state_digest

LABELS = np.array(["ant"] * 6 + ["bee"] * 6)
SMALL: dict[str, Any] = {"size": 32, "head_epochs": 1, "epochs": 1, "batch_size": 4}


@pytest.fixture(scope="module")
def tuned(photos: list[str]) -> FineTunedClassifier:
    return FineTunedClassifier(train="fc7", **SMALL).fit(photos, LABELS)


@pytest.fixture(scope="module")
def other(photos: list[str]) -> FineTunedClassifier:
    """A network with other weights and other names of classes."""
    return FineTunedClassifier(train="head", **SMALL).fit(photos, LABELS == "ant")


@pytest.fixture(scope="module")
def folder(tuned: FineTunedClassifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_folder(tuned, tmp_path_factory.mktemp("saved") / "mine")


def test_saved_network_predicts_the_same(
    tuned: FineTunedClassifier, folder: Path, photos: list[str]
) -> None:
    network, _ = build_network(find_config(str(folder)))
    rows = _predict_folder(folder, photos, store=None).rows

    assert state_digest(network) == state_digest(tuned.network_)
    probabilities = [list(row["probabilities"].values()) for row in rows]
    np.testing.assert_allclose(probabilities, tuned.predict_proba(photos), atol=1e-5)


def test_folder_predicts_images_and_names_classes(
    tuned: FineTunedClassifier, folder: Path, photos: list[str], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")

    result = _predict_folder(folder, [*photos, str(broken)], store=None)

    assert len(result.failures) == 1
    assert [row["predicted"] for row in result.rows] == list(tuned.predict(photos))
    assert result.rows[0]["probabilities"].keys() == {"ant", "bee"}
    again = predict(folder, photos, store=None).rows[0]
    assert again["probabilities"] == result.rows[0]["probabilities"]
    assert again["true"] == "ants"  # Files of two folders are of two classes.


def test_fine_tuned_network_is_a_source_of_features(folder: Path, photos: list[str]) -> None:
    own = extract(photos, f'cnn:"{folder}":fc7', store=None)
    plain = extract(photos, "cnn:featxnet:fc7,size=32", store=None)
    before = extract(photos, f'cnn:"{folder}":fc6', store=None)
    frozen = extract(photos, "cnn:featxnet:fc6,size=32", store=None)

    assert own.X.shape == (12, 512)
    assert not np.allclose(own.X, plain.X)
    np.testing.assert_allclose(before.X, frozen.X, atol=1e-4)


def test_folder_is_fine_tuned_again_and_stands_alone(
    folder: Path, photos: list[str], tmp_path: Path
) -> None:
    labels = np.array(["a", "b", "c"] * 4)
    classifier = FineTunedClassifier(str(folder), hidden=(4,), **SMALL).fit(photos, labels)

    second = save_folder(classifier, tmp_path / "second")

    card = json.loads((second / "model.json").read_text("utf-8"))
    assert card["model"] == "featxnet"
    assert len(card["replacements"]) == 2
    assert _predict_folder(second, photos, store=None).rows[0]["predicted"] in "abc"


def test_module_object_cannot_be_saved(photos: list[str], tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    module.append(nn.Linear(4, 10))
    classifier = FineTunedClassifier(module, **SMALL).fit(photos, LABELS)

    with pytest.raises(ModelError, match=r"package\.module:callable"):
        save_folder(classifier, tmp_path / "mine")


def test_folder_with_other_files_is_refused(tuned: FineTunedClassifier, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")

    with pytest.raises(TrainingError, match="neither empty nor a model of featx"):
        save_folder(tuned, tmp_path)
    assert save_folder(tuned, tmp_path, force=True) == tmp_path


@pytest.mark.parametrize("rename", [0, 1])
@pytest.mark.parametrize("is_first", [False, True])
def test_killed_writer_leaves_weights_with_their_own_card(
    tuned: FineTunedClassifier,
    other: FineTunedClassifier,
    photos: list[str],
    tmp_path: Path,
    rename: int,
    is_first: bool,
    killed_at_rename: Any,
) -> None:
    path = tmp_path / "mine"
    if not is_first:
        save_folder(tuned, path)
    with killed_at_rename(rename):
        save_folder(other, path)
    if is_first and rename == 0:
        save_folder(tuned, path, force=True)
    expected = other if rename else tuned
    (row,) = _predict_folder(path, photos[:1], store=None).rows
    assert row["predicted"] == str(expected.predict(photos[:1])[0])
    save_folder(tuned, path)  # The folder is still a model of featx.


@pytest.mark.parametrize("changed", ["model.json", "weights.safetensors"])
def test_card_of_another_network_is_refused(
    tuned: FineTunedClassifier,
    other: FineTunedClassifier,
    photos: list[str],
    tmp_path: Path,
    changed: str,
) -> None:
    save_folder(other, tmp_path / "other")
    path = save_folder(tuned, tmp_path / "mine")
    (tmp_path / "other" / changed).replace(path / changed)

    with pytest.raises(ModelError, match=r"were not written together, or one was changed since"):
        predict(path, photos, store=None)


def test_folder_rewritten_while_it_is_read_is_refused(
    folder: Path, photos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copytree(folder, tmp_path / "mine"))

    def extract_late(*args: Any, **parameters: Any) -> Any:
        features = extract(*args, **parameters)
        card = json.loads((path / "model.json").read_text("utf-8"))
        (path / "model.json").write_text(json.dumps(card | {"classes": ["x", "y"]}), "utf-8")
        return features

    monkeypatch.setattr("featx.evaluation.prediction.extract", extract_late)
    with pytest.raises(ModelError, match="was overwritten while it was read; run again"):
        _predict_folder(path, photos, store=None)


def test_network_fine_tuned_at_another_size_is_loaded(photos: list[str], tmp_path: Path) -> None:
    pytest.importorskip("timm")
    parameters = {**SMALL, "size": 64, "weights": "random", "train": "head", "pooling": "mean"}
    tuned = FineTunedClassifier("timm/vit_tiny_patch16_224", **parameters).fit(photos, LABELS)
    folder = save_folder(tuned, tmp_path / "mine")
    (row,) = _predict_folder(folder, photos[:1], store=None).rows
    probabilities = list(row["probabilities"].values())
    np.testing.assert_allclose(probabilities, tuned.predict_proba(photos[:1])[0], atol=1e-5)
    features = CNNFeatures(str(folder), "-1", size=96).fit_transform(photos[:1])
    assert features.shape == (1, 192)
