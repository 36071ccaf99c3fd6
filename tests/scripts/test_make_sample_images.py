"""The sample images: reproducible, and in the tree as the script draws them."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

SAMPLES = Path(__file__).parents[2] / "data" / "samples"


@pytest.fixture
def script(load_script) -> ModuleType:
    return load_script("make_sample_images")


def test_same_seed_draws_the_same_image(script: ModuleType) -> None:
    first, second = (np.asarray(script.draw("photo", "fish", 3)) for _ in range(2))

    assert np.array_equal(first, second)


def test_another_number_or_seed_draws_another_image(script: ModuleType) -> None:
    given = np.asarray(script.draw("photo", "fish", 3))

    assert not np.array_equal(given, np.asarray(script.draw("photo", "fish", 4)))
    assert not np.array_equal(given, np.asarray(script.draw("photo", "fish", 3, seed=1)))


def test_writes_as_many_as_asked_for(script: ModuleType, tmp_path: Path) -> None:
    script.main(["-o", str(tmp_path), "--per-class", "2"])

    found = sorted(path.relative_to(tmp_path).parent.as_posix() for path in tmp_path.rglob("*.*"))
    wanted = [f"{d}/{c}" for d in script.DOMAINS for c in script.CLASSES]
    assert found == sorted(wanted * 2)


@pytest.mark.parametrize("domain", ["photo", "sketch"])
def test_images_in_the_tree_are_those_the_script_draws(script: ModuleType, domain: str) -> None:
    suffix = script.DOMAINS[domain][1]
    with Image.open(SAMPLES / domain / "house" / f"00{suffix}") as image:
        kept = image.convert("RGB")
    drawn = script.draw(domain, "house", 0).convert("RGB")

    # JPEG loses a little, and libraries may round differently.
    assert np.abs(np.asarray(kept, float) - np.asarray(drawn, float)).mean() < 8


def test_images_in_the_tree_are_small_and_large_enough() -> None:
    files = [path for path in SAMPLES.rglob("*") if path.is_file()]

    assert sum(path.stat().st_size for path in files) < 1_000_000
    assert min(_short_side(path) for path in files) >= 128


def _short_side(path: Path) -> int:
    with Image.open(path) as image:
        return min(image.size)
