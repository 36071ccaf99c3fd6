from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featx.data.datasets import ImageDataset, load_dataset
from featx.data.images import Images
from featx.errors import DatasetError
from featx.finetuning.data_split import DataSplit, check_known, load_data_split


def dataset(labels: list[str], splits: list[str] | None = None) -> ImageDataset:
    """Gray images, each of another shade."""
    n = len(labels)
    images = Images(np.arange(n, dtype=np.uint8).repeat(4).reshape(n, 2, 2))
    return ImageDataset(
        images,
        [f"{i}.png" for i in range(n)],
        np.array(labels),
        None if splits is None else np.array(splits),
        source="shades",
    )


def shades(split: DataSplit, indices: np.ndarray) -> list[int]:
    images, _ = split.part(indices)
    return [int(images.pixels(i)[0, 0, 0]) for i in range(len(images))]


def test_images_without_classes_are_refused(photos: list[str]) -> None:
    with pytest.raises(DatasetError, match="two or more classes"):
        load_data_split(load_dataset(Path(photos[0]).parent))


def test_data_without_folders_is_divided_by_class() -> None:
    task = load_data_split(load_dataset("digits"))

    labels = task.part(task.test)[1]
    assert len(set(labels)) == 10
    assert len(task.test) == pytest.approx(1797 / 4, abs=5)
    assert not set(task.train) & set(task.test)
    assert task.division == "25% of each class left out to test on, seed 0"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("train", "val"), ("train", "", "val")),
        (("train", "test"), ("train", "", "test")),
        (("train", "val", "test"), ("train", "val", "test")),
    ],
)
def test_folders_say_what_each_image_is_for(
    names: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    splits = [name for name in names for _ in "ab"]

    task = load_data_split(dataset(list("ab") * len(names), splits))

    for indices, name in zip((task.train, task.valid, task.test), expected, strict=True):
        assert indices.tolist() == [i for i, split in enumerate(splits) if split == name]


def test_images_without_class_or_content_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    given = dataset(["a", "", *"aaabbbb"])
    given.images.items = [tmp_path / "broken.png", *given.images.items[1:]]

    task = load_data_split(given)

    assert task.failures[0][0] == "0.png"
    kept = np.sort(np.concatenate([task.train, task.test]))
    assert shades(task, kept) == [2, 3, 4, 5, 6, 7, 8]


def test_data_of_which_no_second_class_can_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    given = dataset(["a", "b"])
    given.images.items = [given.images.items[0], tmp_path / "broken.png"]

    with pytest.raises(DatasetError, match=r"shades: .* 1 of 2 cannot be read, such as 1\.png: "):
        load_data_split(given)


@pytest.mark.parametrize("split", ["val", "test"])
def test_classes_that_nothing_is_learned_of_are_refused(split: str) -> None:
    given = dataset([*"ababab", "wasp"], [*["train"] * 2, *["val"] * 2, *["test"] * 2, split])

    with pytest.raises(DatasetError, match="No pictures to train on of wasp, which"):
        load_data_split(given)


def test_all_classes_that_are_unknown_are_named_in_order() -> None:
    with pytest.raises(DatasetError, match="of cat, wasp, which"):
        check_known(["wasp", "ant", "cat", "wasp"], ["ant"])


def test_thinned_draws_within_each_class_and_leaves_the_test_images() -> None:
    task = load_data_split(dataset(["a"] * 12 + ["b"] * 8))

    few = [task.thinned(3, seed) for seed in (0, 0, 1)]

    assert few[0].part(few[0].train)[1].tolist() == ["a"] * 3 + ["b"] * 3
    assert few[0].train.tolist() == few[1].train.tolist() != few[2].train.tolist()
    assert set(few[0].train) <= set(task.train)
    assert few[0].test is task.test


@pytest.mark.parametrize(("labels", "per_class"), [([1, 7], None), ([0], None), ([], 7)])
def test_more_training_images_than_the_smallest_class_has_are_refused(
    labels: list[int], per_class: int | None
) -> None:
    task = load_data_split(dataset(["a"] * 12 + ["b"] * 8))
    task.check_per_class([1, 6], 6)

    with pytest.raises(DatasetError, match="b has 6, so give 1 to 6"):
        task.check_per_class(labels, per_class)


def test_more_labels_than_are_trained_on_are_refused() -> None:
    task = load_data_split(dataset(["a"] * 12 + ["b"] * 8))

    with pytest.raises(DatasetError, match=r"labels 2, 6 are more than train_per_class=4"):
        task.check_per_class([2, 6], 4)
