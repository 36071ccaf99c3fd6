"""What the bundled network learns from: collections, crops, a teacher."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from featx._fingerprints import digest_bytes


@pytest.fixture
def script(load_script) -> ModuleType:
    return load_script("distillation")


def image(value: int = 90) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), (value, 20, 30)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten images, a hidden one and a text."""
    for number in range(10):
        (tmp_path / f"{number}.png").write_bytes(image(number))
    (tmp_path / ".hidden.png").write_bytes(image())
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_folder_and_zip_hold_the_same_images(script: ModuleType, folder: Path) -> None:
    archive = folder / "all.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for number in range(10):
            file.writestr(f"{number}.png", image(number))

    one, other = script.Collection(folder, 1), script.Collection(archive, 1)
    assert one.names == other.names
    assert one.digests(0) == other.digests(0)


def test_mnist_file_holds_gray_images(script: ModuleType, tmp_path: Path) -> None:
    digits = np.arange(2 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(2, 28, 28)
    (tmp_path / "some-ubyte.gz").write_bytes(gzip.compress(bytes(16) + digits.tobytes()))

    collection = script.Collection(tmp_path / "some-ubyte.gz", 1)

    assert len(collection.names) == 2
    assert np.array_equal(np.asarray(collection.open("00001"))[..., 2], digits[1])


def test_weight_repeats_images_or_takes_a_share(script: ModuleType, folder: Path) -> None:
    thrice, fifth = script.Collection(folder, 3).chosen(0), script.Collection(folder, 0.2).chosen(0)

    assert len(thrice) == 30
    assert len(fifth) == 2
    assert script.Collection(folder, 0.2).chosen(0) == fifth


def test_digests_are_those_of_the_files(script: ModuleType, folder: Path) -> None:
    expected = sorted(digest_bytes(path.read_bytes()) for path in folder.glob("[0-9].png"))

    assert script.Collection(folder, 2).digests(0) == expected


def test_box_lies_within_the_image(script: ModuleType) -> None:
    for seed in range(200):
        left, top, right, bottom = script._random_box((300, 90), np.random.default_rng(seed))

        assert 0 <= left < right <= 300
        assert 0 <= top < bottom <= 90


def test_same_seed_cuts_the_same_crops(script: ModuleType, folder: Path) -> None:
    collections = [script.Collection(folder, 1)]

    first, again, other = (script.Crops(collections, n, 0)[3][0] for n in (0, 0, 1))

    assert np.array_equal(first, again)
    assert first.shape == other.shape == (script.STORED_PX, script.STORED_PX, 3)


def test_too_many_channels_are_averaged(script: ModuleType) -> None:
    maps = torch.rand(2, 8, 3, 3)

    shared = script.share_channels(maps, 4)

    torch.testing.assert_close(shared, (maps[:, :4] + maps[:, 4:]) / 2)


def test_too_few_channels_are_repeated(script: ModuleType) -> None:
    maps = torch.rand(2, 3, 3, 3)

    assert torch.equal(script.share_channels(maps, 4), maps[:, [0, 1, 2, 0]])


class StubTeacher:
    """Says of an image how bright it is; breaks down after so many batches."""

    def __init__(self, n_batches: int) -> None:
        self.n_left = n_batches

    def look(self, images: torch.Tensor) -> dict[str, np.ndarray]:
        if not self.n_left:
            raise KeyboardInterrupt
        self.n_left -= 1
        return {"logits": images.float().mean((1, 2)).numpy() + 1}


def test_interrupted_crop_set_goes_on_where_it_stopped(script: ModuleType, folder: Path) -> None:
    def crop_sets(name: str, n_batches: int) -> object:
        made = script.CropSets([script.Collection(folder, 4)], folder / name, "", folder, 0, 0)
        made.teacher = StubTeacher(n_batches)
        return made

    with pytest.raises(KeyboardInterrupt):
        crop_sets("stopped", 2).load(0)
    expected, found = crop_sets("whole", 9).load(0), crop_sets("stopped", 2).load(0)

    assert all(np.array_equal(expected[name], found[name]) for name in ("images", "logits"))
