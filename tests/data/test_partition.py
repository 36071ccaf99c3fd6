from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featx.data.partition import Part, parse_part, part_indices
from featx.errors import SpecError

NAMES = [f"photos/{kind}/{i}.jpg" for kind in ("cat", "dog") for i in range(500)]


def test_parts_are_disjoint_and_together_everything() -> None:
    parts = [part_indices(NAMES, Part(k, 7), "photos").tolist() for k in range(1, 8)]
    assert sorted(index for part in parts for index in part) == list(range(1000))


def test_parts_are_about_equal() -> None:
    sizes = [len(part_indices(NAMES, Part(k, 4), "photos")) for k in range(1, 5)]
    assert min(sizes) > 200  # Of 250 expected, with a standard deviation of 14.


@pytest.mark.parametrize("root", ["/mnt/disk/photos", "./photos", "photos/"])
def test_where_the_data_is_mounted_does_not_matter(root: str) -> None:
    moved = [name.replace("photos", root.rstrip("/")) for name in NAMES]
    expected = part_indices(NAMES, Part(2, 5), "photos")
    np.testing.assert_array_equal(part_indices(moved, Part(2, 5), root), expected)


def test_other_images_do_not_move_an_image_to_another_part() -> None:
    few = NAMES[::3]
    expected = set(part_indices(NAMES, Part(1, 3), "photos")) & set(range(0, 1000, 3))
    assert {3 * i for i in part_indices(few, Part(1, 3), "photos")} == expected


def test_paths_of_a_manifest_are_relative_to_its_folder(tmp_path: Path) -> None:
    manifest = tmp_path / "list.csv"
    manifest.touch()
    names = [f"{tmp_path}/{name}" for name in NAMES]
    expected = part_indices(NAMES, Part(1, 3), ".")
    np.testing.assert_array_equal(part_indices(names, Part(1, 3), manifest), expected)


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/0", "a/b", "-1/4", "1/4/2", "", "1.5/2"])
def test_a_text_that_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="expected K/N with K from 1 to N"):
        parse_part(text)
