from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from featx.data.datasets import load_dataset
from featx.evaluation.duplicates import find_duplicates, group_duplicates
from featx.evaluation.image_conditions import Appearance

FILES = [str(path) for path in sorted(Path("data/samples/photo").glob("*/*.jpg"))]


def encoded(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=60)
    return Image.open(buffer)


def cropped(image: Image.Image) -> Image.Image:
    width, height = image.size
    return image.crop((round(0.05 * width), 0, width, round(0.95 * height)))


def pairs_of(images: list[Image.Image]) -> list[tuple[int, int, bool]]:
    """Pairs found by thumbnails alone: the network's rows say nothing."""
    thumbnails = Appearance().fit_transform([np.asarray(it.convert("RGB")) for it in images])[:, 2:]
    n = len(images)
    digests = [str(i) for i in range(n)]
    found = find_duplicates(digests, thumbnails, np.ones((n, 1), np.float32), np.full(n, True))
    return [pair[:3] for pair in found]


@pytest.mark.parametrize(
    "change",
    [encoded, cropped, ImageOps.mirror, lambda it: it.resize((90, 70))],
    ids=["encoded", "cropped", "mirrored", "resized"],
)
def test_changed_copies_are_found_and_nothing_else(change: object) -> None:
    images = [Image.open(path).convert("RGB") for path in FILES[::5]]
    copies = [change(it) for it in images[::4]]  # type: ignore[operator]

    found = pairs_of([*images, *copies])

    assert found == [(4 * i, len(images) + i, False) for i in range(len(copies))]


def test_the_same_bytes_are_found_though_nothing_can_be_compared() -> None:
    blank = np.zeros((3, 1024), np.float32)

    found = find_duplicates(["a", "b", "a"], blank, blank[:, :1], np.full(3, False))

    assert found == [(0, 2, True, 1.0)]


def test_a_neighbor_in_a_network_is_confirmed_by_its_thumbnail() -> None:
    dataset = load_dataset("digits").take(range(60))
    rows = Appearance().fit_transform(dataset.images)[:, 2:]

    found = find_duplicates([str(i) for i in range(60)], rows, np.ones((60, 1)), np.full(60, True))

    assert all(pair.correlation >= 0.968 for pair in found)


def test_copies_of_copies_are_one_group() -> None:
    pairs = find_duplicates("aaba", np.zeros((4, 1024)), np.zeros((4, 1)), np.full(4, False))

    assert group_duplicates(pairs, 4).tolist() == [0, 0, 1, 0]
