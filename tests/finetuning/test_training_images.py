from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from featx.data.images import Images, Pixels
from featx.finetuning.augmentation import Augmentation
from featx.finetuning.training_images import FeatureRows, TrainingImages
from featx.networks.preprocessing import Preprocessing

HOW = Preprocessing(resize=20, crop=(16, 16))
TARGETS = [0, 1, 2]


class Counted(Images):
    """Images that count how often each is decoded."""

    def __init__(self, X: Any) -> None:
        super().__init__(X)
        self.n_decoded = [0] * len(X)

    def pixels(self, index: int) -> Pixels:
        self.n_decoded[index] += 1
        return super().pixels(index)


@pytest.fixture
def images() -> Counted:
    return Counted(np.random.default_rng(0).integers(0, 256, (3, 24, 30, 3), np.uint8))


def test_images_are_what_the_network_gets_at_inference(images: Counted) -> None:
    data = TrainingImages(images, TARGETS, HOW)

    batch, targets = next(iter(DataLoader(data, batch_size=3)))

    expected = np.stack([HOW.prepare(images.pixels(i)) for i in range(3)])
    np.testing.assert_array_equal(batch.permute(0, 2, 3, 1), expected)
    assert targets.tolist() == TARGETS


@pytest.mark.parametrize("augmentation", [None, Augmentation(flip=0.5)])
def test_images_are_decoded_once_for_all_epochs(
    images: Counted, augmentation: Augmentation | None
) -> None:
    data = TrainingImages(images, TARGETS, HOW, augmentation)

    _ = [data[i] for _ in range(3) for i in range(3)]

    assert images.n_decoded == [1, 1, 1]


def test_images_beyond_the_memory_limit_are_decoded_in_each_epoch(
    images: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.finetuning.training_images._CACHED_BYTES", 2 * 3 * 16 * 16)
    data = TrainingImages(images, TARGETS, HOW)

    epochs = [[data[i][0] for i in range(3)] for _ in range(2)]

    assert images.n_decoded == [1, 1, 2]
    assert all(map(torch.equal, *epochs))


def test_augmentation_changes_each_epoch_but_never_the_cached_images(images: Counted) -> None:
    mirrored = TrainingImages(images, TARGETS, HOW, Augmentation(flip=1))
    plain = TrainingImages(images, TARGETS, HOW, Augmentation())

    epochs = [[mirrored[i][0] for i in range(3)] for _ in range(2)]

    assert all(map(torch.equal, *epochs))
    assert all(torch.equal(epochs[0][i], plain[i][0].flip(2)) for i in range(3))


def test_rows_take_the_shape_of_the_layer() -> None:
    maps = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).reshape(2, 3, 4, 5)

    data = FeatureRows(maps.flatten(1).double().numpy(), [1, 0], (3, 4, 5))

    batch, targets = next(iter(DataLoader(data, batch_size=2)))
    assert torch.equal(batch, maps)
    assert targets.tolist() == [1, 0]


@pytest.mark.parametrize("preset", ["none", "strong"])
def test_deep_images_are_trained_on_at_their_depth(preset: str) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (3, 24, 30)).astype(np.uint16)
    images = Images(values, value_range=(0, 4095))
    data = TrainingImages(images, TARGETS, HOW, Augmentation.parse(preset))
    torch.manual_seed(0)
    batch, _ = next(iter(DataLoader(data, batch_size=3)))
    assert batch.dtype == torch.float32
    assert 100 < batch.max() <= 255
    assert (batch != batch.round()).float().mean() > 0.5


def test_deep_and_shallow_images_make_one_batch() -> None:
    rng = np.random.default_rng(0)
    values = [rng.integers(0, 256, (24, 24), np.uint8), rng.random((24, 24)), rng.random((24, 24))]
    batch, _ = next(iter(DataLoader(TrainingImages(Images(values), TARGETS, HOW), batch_size=3)))
    assert batch.dtype == torch.float32
