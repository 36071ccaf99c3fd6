from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from featx import load_dataset
from featx.data.datasets import ImageDataset
from featx.errors import DatasetError, TrainingError
from featx.finetuning.autoencoder import _make_decoder, pretrain
from featx.finetuning.classifier import FineTunedClassifier

SMALL: dict[str, Any] = {"epochs": 2, "n_shown": 4, "batch_size": 16, "lr": 3e-3}


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return load_dataset("digits").take(range(120))


@pytest.mark.slow
def test_reconstructions_come_closer_than_the_mean_image(digits: ImageDataset) -> None:
    pretrained = pretrain(digits, **{**SMALL, "epochs": 20})

    above, below = pretrained.grid[:28].astype(float), pretrained.grid[28:].astype(float)
    mean = np.mean([digits.images.pixels(i).mean() for i in range(120)])
    assert ((above - below) ** 2).mean() < 0.8 * ((above - mean) ** 2).mean()
    assert pretrained.history[-1]["valid_loss"] < pretrained.history[0]["valid_loss"]


def test_a_seed_repeats_the_weights(digits: ImageDataset) -> None:
    first, second = (pretrain(digits, noise=0.2, mask=0.3, **SMALL).state for _ in range(2))

    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_labels_and_test_images_are_ignored(digits: ImageDataset) -> None:
    from dataclasses import replace

    splits = np.array(["train"] * 80 + ["test"] * 40)
    blind = replace(digits.take(range(80)), labels=None)

    first = pretrain(replace(digits, splits=splits), **SMALL).state
    second = pretrain(blind, **SMALL).state

    assert torch.equal(first["conv1.weight"], second["conv1.weight"])


def test_only_the_convolutions_are_taken_from_the_file(
    digits: ImageDataset, tmp_path: Path
) -> None:
    assert digits.labels is not None
    file, image = pretrain(digits, **SMALL).save(tmp_path / "auto.safetensors")

    tuned = FineTunedClassifier("lenet", weights=file, load="conv*", head_epochs=8, batch_size=8)
    tuned.fit(digits.images, digits.labels)

    assert image.is_file()
    state, saved = tuned.network_.state_dict(), load_file(file)
    assert torch.equal(state["conv2.weight"], saved["conv2.weight"])
    assert set(tuned.report_.loaded) == {f"conv{i}.{n}" for i in (1, 2) for n in ("weight", "bias")}
    assert set(tuned.report_.new) == {f"fc{i}.{n}" for i in (1, 2) for n in ("weight", "bias")}
    assert tuned.freeze_checks_["head"].n_parameters == 4
    assert tuned.score(digits.images, digits.labels) > 0.7


@pytest.mark.slow
def test_bundled_network_can_be_the_encoder(photos: list[str]) -> None:
    pretrained = pretrain(photos, encoder="featxnet", size=64, epochs=1, n_shown=2, batch_size=4)

    assert pretrained.grid.shape == (128, 128, 3)
    assert "res5.body.spatial.weight" in pretrained.state


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"output": "weights.pt"}, "weights are saved as .safetensors"),
        ({"output": "."}, "saved as .safetensors"),
        ({"precision": "fp16"}, "precision must be fp32 or bf16"),
        ({"epochs": 0}, "epochs must be 1 or more; got 0"),
    ],
)
def test_invalid_parameters_are_refused_before_training(
    digits: ImageDataset, parameters: Any, message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        pretrain(digits, **{**SMALL, "epochs": 1000, **parameters})


def test_images_that_are_all_held_out_are_too_few(digits: ImageDataset) -> None:
    with pytest.raises(DatasetError, match="4 images, of which 4 are held out to draw"):
        pretrain(digits.take(range(4)), **SMALL)


@pytest.mark.usefixtures("bf16")
def test_bf16_is_near_fp32(digits: ImageDataset) -> None:
    whole, half = (pretrain(digits, precision=p, **SMALL) for p in ("fp32", "bf16"))

    assert {tensor.dtype for tensor in half.state.values()} == {torch.float32}
    assert not torch.equal(half.state["conv1.weight"], whole.state["conv1.weight"])
    assert half.history[-1]["train_loss"] == pytest.approx(
        whole.history[-1]["train_loss"], rel=0.02
    )


def test_decoder_covers_sizes_that_are_no_power_of_two() -> None:
    assert _make_decoder(4, (30, 50))(torch.zeros(1, 4)).shape[2:] >= (30, 50)


def test_weights_are_saved_under_one_suffix_only(digits: ImageDataset, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="safetensors"):
        pretrain(digits.take(range(40)), **{**SMALL, "epochs": 1}).save(tmp_path / "auto.pth")
