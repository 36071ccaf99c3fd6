from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import featx.data.images
from featx.engine.extraction import extract
from featx.errors import DatasetError, EmptyRowsWarning, FeatureFileError
from featx.extractors.color import ColorHistogram, MeanColor
from featx.features.feature_set import FeatureSet
from featx.store.feature_store import FeatureStore
from featx.streaming.progress import ProgressCallback

COLORS = {"red": (255, 0, 0), "blue": (0, 0, 255)}


class Listener(ProgressCallback):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.plans: list[tuple[int, int]] = []
        self.n_done = 0

    def note(self, text: str) -> None:
        self.notes.append(text)

    def plan(self, n_images: int, n_cached: int) -> None:
        self.plans.append((n_images, n_cached))

    def advance(self, n_images: int) -> None:
        self.n_done += n_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes in two splits, three images each, and a broken one."""
    for split in ("train", "test"):
        for name, color in COLORS.items():
            index = tmp_path / "images" / split / name
            index.mkdir(parents=True)
            for i in range(3):
                Image.new("RGB", (20 + i, 16), color).save(index / f"{i}.png")
    (tmp_path / "images/test/red/broken.png").write_bytes(b"not an image")
    return tmp_path / "images"


def test_rows_carry_paths_labels_splits_and_failures(folder: Path) -> None:
    features = extract(folder, "mean_color")
    assert features.X.shape == (12, 3)
    assert features.labels is not None
    assert features.splits is not None
    assert list(features.labels[:3]) == ["blue"] * 3
    assert set(features.splits) == {"train", "test"}
    assert features.paths[0] == f"{folder.as_posix()}/test/blue/0.png"
    [(path, reason)] = features.failures
    assert path.endswith("broken.png")
    assert "not an image" in reason


def test_each_row_belongs_to_its_image(folder: Path) -> None:
    features = extract(folder, "mean_color")
    assert features.labels is not None
    for row, label in zip(features.X, features.labels):
        assert tuple(row) == COLORS[label]


def test_extractors_stand_side_by_side_under_their_specs(folder: Path) -> None:
    features = extract(folder, ["mean_color", "color,n_bins=4", "pixels,image_size=4"])
    assert list(features.blocks) == ["mean_color", "color,n_bins=4", "pixels,image_size=4"]
    assert features.layer("color,n_bins=4").shape == (12, 12)
    alone = extract(folder, "color,n_bins=4")
    np.testing.assert_array_equal(features.layer("color,n_bins=4"), alone.X)


def test_second_run_decodes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "test/red/broken.png").unlink()
    first = extract(folder, "mean_color")
    monkeypatch.setattr(featx.data.images, "decode", lambda *_, **__: pytest.fail("decoded again"))
    np.testing.assert_array_equal(extract(folder, "mean_color").X, first.X)


def test_without_a_store_nothing_is_kept(folder: Path, tmp_path: Path) -> None:
    extract(folder, "mean_color", store=None)
    listener = Listener()
    extract(folder, "mean_color", progress=listener)
    assert listener.plans == [(13, 0)]
    assert listener.n_done == 13


def test_filling_the_store_only_gives_no_columns(folder: Path, store: FeatureStore) -> None:
    assert extract(folder, "mean_color", store=store, collect=False).X.shape == (12, 0)
    listener = Listener()
    extract(folder, "mean_color", store=store, progress=listener)
    assert listener.plans == [(13, 12)]


def test_codebooks_learn_on_the_train_split(shared: Callable[[str], Path]) -> None:
    listener = Listener()
    dataset = shared("data/ants_bees")
    features = extract(
        [str(dataset / "train/ants"), str(dataset / "train/bees")],
        "bovw:orb,n_words=8",
        progress=listener,
    )
    assert any("no train split" in note for note in listener.notes)
    assert features.provenance["learned_on"] == "all"


def test_output_is_refused_before_anything_is_computed(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.npz"
    other.write_bytes(b"mine")
    listener = Listener()
    with pytest.raises(FeatureFileError, match="force"):
        extract(folder, "mean_color", output=other, progress=listener)
    assert listener.plans == []
    extract(folder, "mean_color", output=other, force=True)
    assert len(FeatureSet.load(other).paths) == 12


def test_same_settings_replace_their_own_output(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "f.npz"
    extract(folder, "mean_color", output=output)
    extract(folder / "train", "mean_color", output=output)
    assert len(FeatureSet.load(output).paths) == 6
    with pytest.raises(FeatureFileError, match="force"):
        extract(folder, "color", output=output)


def test_saved_extractor_is_used_again(folder: Path, tmp_path: Path, photos: list[str]) -> None:
    path = tmp_path / "words.skops"
    first = extract(photos, "bovw:orb,n_words=8", save_extractor=path)
    again = extract(photos, str(path))
    np.testing.assert_array_equal(first.X, again.X)


def test_no_readable_image_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(DatasetError, match="none of 1 images can be read"):
        extract(tmp_path, "mean_color")


def test_images_in_memory_and_extractor_objects_are_taken() -> None:
    features = extract(np.full((3, 8, 8, 3), 9, np.uint8), [MeanColor(), ColorHistogram(4)])
    assert list(features.blocks) == ["mean_color", "color:4"]
    assert features.X.shape == (3, 15)


def test_an_extractor_that_is_given_is_left_as_it_was(folder: Path) -> None:
    extractor = MeanColor(on_error="raise", store=None)
    extract(folder, extractor)
    assert (extractor.on_error, extractor.store) == ("raise", None)


def test_large_results_lie_in_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featx._linalg._MAX_BYTES_IN_MEMORY", 10)
    features = extract(folder, "mean_color")
    assert isinstance(features.X, np.memmap)
    assert features.labels is not None
    assert tuple(features.X[-1]) == COLORS[features.labels[-1]]


def test_a_codebook_of_more_images_replaces_its_own_output(
    photos: list[str], tmp_path: Path
) -> None:
    output = tmp_path / "words.npz"
    extract(photos[:8], "bovw:orb,n_words=8", output=output)
    extract(photos, "bovw:orb,n_words=8", output=output)
    assert len(FeatureSet.load(output).paths) == len(photos)


def test_describing_is_watched(photos: list[str]) -> None:
    listener = Listener()
    extract(photos, "bovw:orb,n_words=8", progress=listener)
    n = len(photos)
    assert listener.plans == [(n, 0), (n, 0)]  # Descriptors, then words.
    assert listener.n_done == 2 * n


def test_images_without_key_points_are_counted(photos: list[str], tmp_path: Path) -> None:
    flat = tmp_path / "flat.png"
    Image.new("RGB", (50, 50), "gray").save(flat)
    with pytest.warns(EmptyRowsWarning, match="1 of 13 images have no key points"):
        features = extract([*photos, str(flat)], "bovw:orb,n_words=8")
    assert not features.X[-1].any()


def test_wide_rows_are_told_before_they_are_computed(photos: list[str]) -> None:
    notes: list[str] = []

    class Noting(ProgressCallback):
        def note(self, text: str) -> None:
            notes.append(text)

    known: dict[str, Any] = {
        "model": "featxnet",
        "layer": "conv1",
        "store": None,
        "progress": Noting(),
    }
    extract(photos[:2], pooling="flatten", size=224, **known)

    assert any("more than 100,000 columns" in note and "--pooling gap" in note for note in notes)
    notes.clear()
    extract(photos[:2], pooling="gap", size=224, **known)
    assert not any("columns:" in note for note in notes)


@pytest.mark.parametrize("suffix", [".csv", ".mat"])
def test_files_that_cannot_hold_the_features_are_refused_first(
    photos: list[str], tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.features.formats.matlab._MAX_MAT_BYTES", 100)
    monkeypatch.setattr("featx.engine.extraction._gather", lambda *_, **__: pytest.fail("computed"))

    with pytest.raises(FeatureFileError, match="cannot hold"):
        extract(photos, "pixels,image_size=64", output=tmp_path / f"f{suffix}", store=None)


def test_names_that_are_too_long_are_refused_first(photos: list[str], tmp_path: Path) -> None:
    for length in (220, 300):
        with pytest.raises(FeatureFileError, match=f"has {length + 4} bytes"):
            extract(photos, "color", output=tmp_path / f"{'x' * length}.npz", store=None)


def test_parts_together_are_the_rows_of_one_run(folder: Path) -> None:
    """A codebook is learned from all images in each part."""
    extractor = "bovw:orb,n_words=4"
    rng = np.random.default_rng(0)
    for path in folder.rglob("[0-9].png"):
        Image.fromarray(rng.integers(0, 255, (64, 64), np.uint8)).save(path)
    whole = extract(folder, extractor, store=None)
    rows = {}
    for number in (1, 2, 3):
        part = extract(folder, extractor, part=f"{number}/3", store=None)
        assert part.provenance["part"] == f"{number}/3"
        rows |= dict(zip(part.paths.tolist(), part.X, strict=True))
    assert len(rows) == 12
    np.testing.assert_array_equal([rows[path] for path in whole.paths.tolist()], whole.X)


def test_a_part_without_images_is_empty(folder: Path) -> None:
    listener = Listener()
    features = extract(folder / "test/blue", "mean_color", part="1/999", progress=listener)
    assert features.X.shape == (0, 3)
    assert "part 1/999: 0 of 3 images" in listener.notes


def test_unlabeled_images_that_fail_are_no_lost_class(folder: Path) -> None:
    listener = Listener()
    extract([folder, folder / "missing.tar"], "color", store=None, progress=listener)
    assert not [note for note in listener.notes if "of class" in note]
