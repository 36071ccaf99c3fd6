from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def script(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("check_sources")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Sixty different images of three classes."""
    for i in range(60):
        place = tmp_path / "given" / f"class {i % 3}"
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (32, 40, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(place / f"{i}.png")
    return tmp_path / "given"


@pytest.mark.slow
def test_all_sources_give_the_same_rows_and_compute_nothing_twice(
    script: ModuleType, photos: Path, tmp_path: Path
) -> None:
    runs = script.check_sources(photos, 60, ["color", "hog,image_size=64"], tmp_path / "work")
    assert [run.source for run in runs] == [
        "folder", "ten tars", "zip", "parquet", "datasets", "s3", "http"
    ]  # fmt: skip
    assert {run.n_images for run in runs} == {60}
    assert [run for run in runs if not script.is_good(run, runs[0])] == []


def test_run_that_computes_twice_or_differs_is_not_good(script: ModuleType) -> None:
    first = script.Run("folder", 60, 60, 0, 60, True, 1.0)
    assert script.is_good(first, first)
    assert script.is_good(script.Run("zip", 60, 60, 0, 0, True, 1.0), first)
    for wrong in ((59, 60, 0, 0, True), (60, 60, 9, 0, True), (60, 60, 0, 9, True)):
        assert not script.is_good(script.Run("zip", *wrong, 1.0), first)
    assert not script.is_good(script.Run("zip", 60, 60, 0, 0, False, 1.0), first)
