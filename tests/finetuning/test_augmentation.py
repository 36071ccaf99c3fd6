from __future__ import annotations

import numpy as np
import pytest
import torch

from featx.data.images import Images
from featx.errors import SpecError
from featx.finetuning.augmentation import (
    PRESETS,
    Augmentation,
    _draw_grid,
    prepare_whole,
)
from featx.networks.preprocessing import Preprocessing

HOW = Preprocessing(resize=36, crop=(32, 32))


def changed(text: str, image: torch.Tensor, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    out: torch.Tensor = Augmentation.parse(text).pixels((32, 32))(image)
    return out


@pytest.fixture
def image(photos: list[str]) -> torch.Tensor:
    return prepare_whole(Images(photos).pixels(0), HOW)


@pytest.mark.parametrize("preset", list(PRESETS))
def test_every_preset_gives_pixels_of_the_crops_size(preset: str, image: torch.Tensor) -> None:
    out = changed(preset, image)

    assert out.shape == (3, 32, 32)
    assert out.dtype == torch.uint8


@pytest.mark.parametrize("part", ["rotation=30", "zoom=0.3", "shear=20", "shift=0.2"])
def test_each_part_changes_images_by_itself(part: str, image: torch.Tensor) -> None:
    assert not torch.equal(changed(f"none,{part}", image), changed("none", image))


def test_none_is_what_the_preprocessing_gives(photos: list[str], image: torch.Tensor) -> None:
    prepared = torch.from_numpy(HOW.prepare(Images(photos).pixels(0))).permute(2, 0, 1)

    assert torch.equal(changed("none", image), prepared)


def test_flip_mirrors_and_can_be_forbidden(image: torch.Tensor) -> None:
    assert torch.equal(changed("none,flip=1", image), changed("none", image).flip(2))
    assert Augmentation.parse("strong", flip=False).flip == 0


def test_channel_shift_adds_one_number_to_each_channel(image: torch.Tensor) -> None:
    gray = torch.full_like(image, 128)

    out = changed("none,channel_shift=0.2", gray)

    assert [len(channel.unique()) for channel in out] == [1, 1, 1]
    assert len(out.unique()) == 3


def test_mixed_labels_are_shares(image: torch.Tensor) -> None:
    mix = Augmentation.parse("none,mixup=1,cutmix=1").batches(3)
    assert mix is not None
    batch = torch.stack([image, image.flip(2)]).float()

    _, targets = mix(batch, torch.tensor([0, 2]))

    torch.testing.assert_close(targets.sum(1), torch.ones(2))


def test_grid_has_a_row_for_each_augmentation(photos: list[str]) -> None:
    images = [Images(photos).pixels(i) for i in range(2)]
    presets = [Augmentation.parse(preset) for preset in PRESETS]

    grid = _draw_grid(images, presets, HOW, n_views=3)

    assert grid.shape == (4 * 32, 4 * 32, 3)
    assert np.array_equal(grid[:32, :32], grid[96:, :32])


@pytest.mark.parametrize("text", ["weak", "none,flop=1", "none,flip=x"])
def test_wrong_words_are_refused(text: str) -> None:
    with pytest.raises(SpecError, match="Augmentation"):
        Augmentation.parse(text)


@pytest.mark.parametrize(
    "text", ["none,flip=1", "none,rotation=30", "none,brightness=0.4", "none,channel_shift=0.2"]
)
def test_deep_pixels_change_as_shallow_ones_do(text: str, image: torch.Tensor) -> None:
    shallow = changed(text, image)
    torch.manual_seed(0)
    deep = Augmentation.parse(text).pixels((32, 32), is_deep=True)(image / 255)
    assert deep.is_floating_point()
    assert (deep * 255 - shallow).abs().max() <= 1.5


@pytest.mark.parametrize("preset", list(PRESETS))
def test_deep_pixels_stay_between_black_and_white(preset: str, image: torch.Tensor) -> None:
    torch.manual_seed(0)
    deep = Augmentation.parse(preset).pixels((32, 32), is_deep=True)(image / 255)
    assert 0 <= deep.min() <= deep.max() <= 1
