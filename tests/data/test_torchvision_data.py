from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from featx.data.datasets import load_dataset
from featx.data.torchvision_data import TorchvisionImages, _parse
from featx.errors import DatasetError, ImageError


class Tiny:
    """Data set as torchvision's are: images and classes by place."""

    classes = ["0 - zero", "1 - one"]

    def __init__(self, targets: list[int], broken: int | None = None) -> None:
        self.targets = targets
        self.broken = broken

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        if index == self.broken:
            raise OSError("image file is truncated")
        return Image.new("RGB", (4, 4), (index, 0, 0)), self.targets[index]


class Splits(Tiny):
    """Data set with a `split`, as Flowers102 has."""

    def __init__(self, root: str, split: str = "train", download: bool = False) -> None:
        if split not in ("train", "valid", "test"):
            raise ValueError(
                f"Unknown value '{split}' for argument split. Valid values are {{...}}."
            )
        super().__init__({"train": [0, 1], "valid": [1], "test": [0]}[split])


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Callable[[type], None]:
    def add(kind: Any) -> None:
        monkeypatch.setattr(datasets, kind.__name__, kind, raising=False)
        monkeypatch.setattr(datasets, "__all__", (*datasets.__all__, kind.__name__))

    return add


def test_images_of_all_splits_stand_one_after_the_other() -> None:
    images = TorchvisionImages("Tiny", {"train": Tiny([0, 1]), "test": Tiny([1])})
    assert images.names == ["Tiny/train/00000", "Tiny/train/00001", "Tiny/test/00000"]
    assert images.splits == ["train", "train", "test"]
    assert [image.getpixel((0, 0))[0] for image in images] == [0, 1, 0]


def test_digits_are_called_by_their_digit() -> None:
    assert TorchvisionImages("Tiny", {"": Tiny([1, 0])}).labels == ["1", "0"]


def test_broken_image_is_an_image_error_with_its_name() -> None:
    from featx.data.images import Images

    tiny = TorchvisionImages("Tiny", {"": Tiny([0, 1], broken=1)})
    images = Images(tiny, names=tiny.names).take([0, 1])
    with pytest.raises(ImageError, match="Tiny/00001: image file is truncated"):
        images.pixels(1)


def test_splits_are_found_under_torchvisions_names(offer, tmp_path: Path) -> None:
    offer(Splits)
    dataset = load_dataset("torchvision:Splits", root=tmp_path)
    assert dataset.splits.tolist() == ["train", "train", "val", "test"]


def test_data_set_without_splits_has_none() -> None:
    dataset = load_dataset("torchvision:FakeData,size=3")
    assert (len(dataset), dataset.splits) == (3, None)


def test_arguments_may_be_quoted() -> None:
    assert _parse('MNIST,root="C:\\a,b",train=True') == (
        "MNIST",
        {"root": "C:\\a,b", "train": True},
    )


def test_wrong_name_gets_the_nearest_right_one() -> None:
    with pytest.raises(DatasetError, match="Did you mean 'torchvision:CIFAR10'"):
        load_dataset("torchvision:cifar1O")


@pytest.mark.parametrize("spec", ["FakeData,size", 'FakeData,"size', "FakeData,sice=3"])
def test_wrong_argument_is_one_line(spec: str) -> None:
    with pytest.raises(DatasetError, match="torchvision:FakeData"):
        load_dataset(f"torchvision:{spec}")


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("CIFAR10", "cifar-10-python.tar.gz from https"),
        ("MNIST", "train-images-idx3-ubyte.gz, .* unpacked copy .* in .*/MNIST/raw"),
    ],
)
def test_without_a_network_the_error_tells_which_file_is_expected_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, files: str
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(DatasetError, match=rf"Name or service.* Expected: .*{files}") as raised:
        load_dataset(f"torchvision:{name}", root=tmp_path)
    assert str(tmp_path) in str(raised.value)


def test_mnist_is_read_from_its_own_files(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST/raw"
    raw.mkdir(parents=True)
    for part, n in (("train", 3), ("t10k", 2)):
        for kind, magic, shape in (
            ("images-idx3", 0x803, (n, 28, 28)),
            ("labels-idx1", 0x801, (n,)),
        ):
            head = np.array([magic, *shape], ">i4").tobytes()
            (raw / f"{part}-{kind}-ubyte").write_bytes(head + bytes(int(np.prod(shape))))
    dataset = load_dataset(f"torchvision:MNIST,root={tmp_path}")
    assert dataset.names[3:] == ["MNIST/test/00000", "MNIST/test/00001"]
    assert set(dataset.labels) == {"0"}


@pytest.mark.slow
def test_whole_mnist_is_read_once_unpacked(
    shared: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "MNIST/raw").mkdir(parents=True)
    for file in shared("data/mnist").rglob("*.gz"):
        (tmp_path / "MNIST/raw" / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("network used"))
    dataset = load_dataset("torchvision:MNIST", root=tmp_path)
    assert (len(dataset.split("train")), len(dataset.split("test"))) == (60_000, 10_000)
