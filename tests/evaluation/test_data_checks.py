from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

import featx
from featx.errors import DatasetError, SpecError
from featx.evaluation.data_checks import check
from featx.store.feature_store import FeatureStore

SAMPLES = Path("data/samples/photo")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return FeatureStore(tmp_path_factory.mktemp("store") / "store")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The samples in train and test, with one fault of each kind."""
    root = tmp_path_factory.mktemp("checked")
    for file in sorted(SAMPLES.glob("*/*.jpg")):
        split = "test" if int(file.stem) % 4 == 0 else "train"
        (root / split / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, root / split / file.parent.name)
    mugs, trees = root / "train" / "mug", root / "test" / "tree"
    shutil.copy(next(iter(sorted(mugs.iterdir()))), root / "test" / "mug" / "copy.jpg")
    tree = Image.open(next(iter(sorted(trees.iterdir()))))
    ImageOps.mirror(tree).save(root / "train" / "tree" / "mirrored.jpg")
    (root / "train" / "fish" / "wrong.jpg").write_bytes(
        next(iter(sorted((root / "train" / "house").iterdir()))).read_bytes()
    )
    Image.new("RGB", (96, 96), (9, 9, 9)).save(root / "train" / "fish" / "blank.png")
    (root / "train" / "fish" / "broken.jpg").write_bytes(b"?")
    return root


def found(result: featx.Result, problem: str) -> list[dict[str, Any]]:
    return [row for row in result.rows if row["problem"] == problem]


def names(rows: list[dict[str, Any]], column: str = "path") -> list[str]:
    return ["/".join(Path(row[column]).parts[-2:]) for row in rows]


def test_each_fault_is_found_and_said(folder: Path, store: FeatureStore) -> None:
    result = check(folder, store=store)

    exact = found(result, "exact copy")
    assert sorted(names(exact)) == sorted(["mug/" + next(iter(sorted(
        it.name for it in (folder / "train" / "mug").iterdir()))), "fish/wrong.jpg", *[
            name for name in names(exact) if name.startswith("house/")]])  # fmt: skip
    assert len([name for name in names(exact) if name.startswith("house/")]) == 1
    assert "tree/mirrored.jpg" in names(found(result, "near copy"))
    assert names(found(result, "blank")) == ["fish/blank.png"]
    assert names(found(result, "unreadable")) == ["fish/broken.jpg"]
    accuracies = found(result, "accuracy")
    assert [row["note"] for row in accuracies] == ["all images", "without copies"]
    assert accuracies[0]["n"] - accuracies[1]["n"] == len(exact) + len(found(result, "near copy"))


def test_clean_manifest_names_what_is_left_and_loads(
    folder: Path, store: FeatureStore, tmp_path: Path
) -> None:
    before = sorted(folder.rglob("*"))

    result = check(folder, store=store, write=tmp_path / "clean.csv")

    clean = featx.load_dataset(tmp_path / "clean.csv")
    dropped = {row["path"] for row in result.rows if row.get("is_dropped")}
    assert len(clean) == len(featx.load_dataset(folder)) - len(dropped)
    assert set(clean.splits.tolist()) == {"train", "test"}  # type: ignore[union-attr]
    assert check(tmp_path / "clean.csv", store=store, only="duplicates,images").rows[0][
        "problem"
    ] == "accuracy"  # fmt: skip
    assert sorted(folder.rglob("*")) == before
    with pytest.raises(Exception, match=r"clean\.csv"):
        check(folder, store=store, write=tmp_path / "clean.csv")


def test_wrong_labels_are_doubted_first(tmp_path: Path, store: FeatureStore) -> None:
    root = tmp_path / "photo"
    shutil.copytree(SAMPLES, root)
    classes = sorted(it.name for it in root.iterdir())
    for label, other in zip(classes, [*classes[1:], classes[0]], strict=True):
        (root / label / "03.jpg").rename(root / other / "wrong.jpg")

    result = check(root, store=store, only="labels")

    doubted = found(result, "doubtful label")
    assert names(doubted)[:2] == ["mug/wrong.jpg", "tree/wrong.jpg"]
    assert [row["predicted"] for row in doubted[:2]] == ["house", "mug"]
    assert len(doubted) < 6


def test_images_without_labels_are_checked_for_copies(store: FeatureStore) -> None:
    images = np.random.default_rng(0).integers(0, 255, (6, 40, 40, 3), np.uint8)
    images[4] = images[2]

    result = check(images, store=None)

    assert [(row["problem"], row["path"]) for row in result.rows] == [("exact copy", "image 4")]
    assert "without labels" in result.sentences[0]


def test_unknown_checks_and_manifests_of_arrays_are_refused(tmp_path: Path) -> None:
    images = np.zeros((3, 40, 40), np.uint8)
    with pytest.raises(SpecError, match=r"No check 'lables'\. Did you mean 'labels'"):
        check(images, only="lables", store=None)
    with pytest.raises(DatasetError, match="a manifest names files"):
        check(images, write=tmp_path / "a.csv", store=None)
