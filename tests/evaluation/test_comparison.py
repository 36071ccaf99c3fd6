"""Comparing features: one table, controls in it, nothing learned from test images."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from featx import (
    compare,
    extract,
    load_dataset,
    probe,
)
from featx.errors import DatasetError, SpecError
from featx.evaluation.comparison import _CLASSICAL_EXTRACTORS
from featx.evaluation.protocols import find_protocol
from featx.features.results import Result

SAMPLES = "data/samples/photo"
NETWORK = "cnn:featxnet:pool5,pooling=gap"


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    store = tmp_path_factory.mktemp("store")
    return compare(SAMPLES, ["hog,image_size=64", NETWORK], n_splits=3, store=store)


def row_of(result: Result, spec: str) -> dict[str, Any]:
    return next(row for row in result.rows if row["spec"] == spec)


def test_controls_are_always_there(result: Result) -> None:
    controls = {row["spec"] for row in result.rows if row["is_control"]}

    assert controls == {"pixels", "mean_color", f"{NETWORK},weights=random", "shuffled labels"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::featx.errors.EmptyRowsWarning")
def test_classical_adds_each_hand_crafted_extractor_once() -> None:
    some = load_dataset(SAMPLES)
    some = some.take(range(0, len(some), 4))
    result = compare(some, ["hog"], classical=True, n_splits=2, C=1.0, store=None)
    specs = [row["spec"] for row in result.rows if not row["is_control"]]
    assert sorted(specs) == sorted(_CLASSICAL_EXTRACTORS)


def test_best_comes_first_and_differences_are_to_it(result: Result) -> None:
    accuracies = [row["accuracy"] for row in result.rows]

    assert accuracies == sorted(accuracies, reverse=True)
    for row in result.rows:
        assert row["difference"] == pytest.approx(accuracies[0] - row["accuracy"])
        assert row["low"] <= row["accuracy"] <= row["high"]


def test_shuffled_labels_are_at_chance(result: Result) -> None:
    row = row_of(result, "shuffled labels")

    assert row["accuracy"] < 0.45  # five classes
    assert not row["is_tied"]


def test_accuracy_is_that_of_plain_scikit_learn(tmp_path: Path) -> None:
    spec = "hog,image_size=64"
    found = row_of(compare(SAMPLES, [spec], C=0.01, n_splits=3, store=tmp_path), spec)
    features = extract(SAMPLES, spec, store=tmp_path)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))

    expected = [
        model.fit(features.X[train], features.labels[train]).score(
            features.X[test], features.labels[test]
        )
        for train, test in find_protocol("cv", n_splits=3).split(features.labels)
    ]

    assert found["accuracy"] == pytest.approx(np.mean(expected))


def lay(folder: Path, names: str, n: int = 4, *, is_broken: bool = False) -> None:
    """So many images in each of several folders."""
    for name in names.split():
        (folder / name).mkdir(parents=True)
        for i in range(n):
            pixels = np.random.default_rng([i, *name.encode()]).integers(0, 256, (16, 16, 3))
            file = folder / name / f"{i}.png"
            Image.fromarray(pixels.astype(np.uint8)).save(file)
            if is_broken:
                file.write_bytes(b"broken")


def test_broken_training_images_of_a_class_leave_the_others(tmp_path: Path) -> None:
    lay(tmp_path, "train/cat train/dog test/cat test/dog test/eel")
    lay(tmp_path, "train/eel", is_broken=True)

    result = probe(tmp_path, "mean_color", store=None)

    assert len(result.failures) == 4
    assert result.protocol["n_test"] == 8
    assert "Classes without training images, whose test images take no part: eel." in (
        result.sentences
    )


def test_broken_training_images_that_leave_one_class_are_told(tmp_path: Path) -> None:
    lay(tmp_path, "train/cat test/cat test/dog")
    lay(tmp_path, "train/dog", is_broken=True)

    with pytest.raises(DatasetError, match=r"4 training images, of cat, .* 4 of 16 images cannot"):
        compare(tmp_path, "mean_color", store=None)


def test_labels_outside_of_the_splits_take_no_part_in_the_shuffled_control(tmp_path: Path) -> None:
    lay(tmp_path, "train/cat train/dog test/cat test/dog extra/cat extra/yak extra/zebu")

    result = compare(tmp_path, "mean_color", store=None)

    assert set(result.details["confusion"]["mean_color"]["classes"]) == {"cat", "dog"}
    assert row_of(result, "shuffled labels")["accuracy"] <= 1
    assert result.sentences[0] == "Excluded: 12 images outside of train, val and test."


def test_unlabeled_test_folder_leaves_the_training_folder_cross_validated(tmp_path: Path) -> None:
    lay(tmp_path, "train/cat train/dog test")

    result = probe(tmp_path, "mean_color", n_splits=2, store=None)

    assert (result.protocol["splits"], result.protocol["n_train"]) == ("cv", 4)
    assert result.sentences[0].startswith("No class is known of 4 images in test")


def test_test_images_that_are_trained_on_are_told_and_nothing_is_advised(tmp_path: Path) -> None:
    lay(tmp_path, "train/cat train/dog")
    shutil.copytree(tmp_path / "train", tmp_path / "test")

    result = compare(tmp_path, "pixels,image_size=8", store=tmp_path / "store")

    assert result.sentences[0].startswith("Beware: 8 of 8 test images are also among the training")
    assert not any("use these" in sentence for sentence in result.sentences)


def test_groups_are_told_and_apart_where_features_and_strength_are_learned(tmp_path: Path) -> None:
    lay(tmp_path, "cat dog", 12)

    by_group = probe(
        tmp_path, "pixels,image_size=8", groups=r"re:(\d)\.png", n_splits=2, store=None
    )
    plain = probe(tmp_path, "pixels,image_size=8", n_splits=2, store=None)

    assert by_group.sentences[-1] == "No group is on both sides of a split (10 groups)."
    assert by_group.rows[0]["accuracy"] != plain.rows[0]["accuracy"]


def test_class_weight_reaches_the_classifier(tmp_path: Path) -> None:
    lay(tmp_path, "cat", 24)
    lay(tmp_path, "dog", 4)

    plain, balanced = (
        probe(tmp_path, "mean_color", C=1e-3, n_splits=2, class_weight=class_weight, store=None)
        for class_weight in (None, "balanced")
    )

    assert (plain.protocol["class_weight"], balanced.protocol["class_weight"]) == (None, "balanced")
    # With next to no weights a probability is the share of the class: 1/7 and 6/7, or a half.
    assert balanced.rows[0]["log_loss"] == pytest.approx(np.log(2), abs=0.02)
    assert plain.rows[0]["log_loss"] < 0.5


def test_costs_are_measured(result: Result) -> None:
    row = row_of(result, NETWORK)

    assert row["n_features"] == 256
    assert row["bytes_per_image"] == 1024
    assert 0 < row["ms_per_image"] < 10_000
    assert row["train_seconds"] > 0


def test_details_agree_with_the_table(result: Result) -> None:
    matrix = np.array(result.details["confusion"][NETWORK]["matrix"])
    n_wrong = int(matrix.sum() - np.trace(matrix))

    assert np.trace(matrix) / matrix.sum() == pytest.approx(
        row_of(result, NETWORK)["accuracy"], abs=1e-3
    )
    assert len(result.details["mistakes"][NETWORK]) == min(24, n_wrong)
    assert sum(row["n"] for row in result.details["per_class"][NETWORK]) == matrix.sum()


def test_protocol_is_recorded(result: Result) -> None:
    assert result.protocol["name"] == "cv"
    assert result.protocol["n_splits"] == 3
    assert result.protocol["n_train"] + result.protocol["n_test"] == len(load_dataset(SAMPLES))
    assert result.to_dict()["rows"]


def test_advice_names_a_command_and_the_python(result: Result) -> None:
    said = "\n".join(result.sentences)

    assert f"Best: {result.rows[0]['spec']}" in said
    assert "featx probe data/samples/photo -e" in said
    assert "make_extractor(" in said


def test_data_without_labels_is_refused(photos: list[str], tmp_path: Path) -> None:
    manifest = tmp_path / "list.csv"
    manifest.write_text("path\n" + "\n".join(photos))

    with pytest.raises(DatasetError, match="no labels"):
        compare(str(manifest), ["hog"], store=None)


def test_one_class_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fish").symlink_to(Path("data/samples/photo/fish").resolve())

    with pytest.raises(DatasetError, match="at least 2 classes"):
        probe(tmp_path, "mean_color", store=None)


def test_unknown_protocol_is_refused() -> None:
    with pytest.raises(SpecError, match="decaf"):
        probe(SAMPLES, "mean_color", protocol="decafe", store=None)


def test_unreadable_images_are_left_out_and_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i, path in enumerate(sorted(Path(SAMPLES).glob("*/*"))[:4] * 2):
            (tmp_path / name / f"{i}{path.suffix}").write_bytes(path.read_bytes())
    (tmp_path / "a" / "broken.jpg").write_bytes(b"no image")

    result = probe(tmp_path, "mean_color", store=None, n_splits=2)

    assert [Path(path).name for path, _ in result.failures] == ["broken.jpg"]
    assert result.protocol["n_train"] + result.protocol["n_test"] == 16


def test_few_labels_draw_a_curve(tmp_path: Path) -> None:
    result = probe(SAMPLES, NETWORK, train_per_class=[1, 10], n_splits=3, store=tmp_path)

    assert [row["train_per_class"] for row in result.rows] == [1, 10]
    assert result.rows[1]["accuracy"] > result.rows[0]["accuracy"]


def test_classes_with_too_few_images_are_named() -> None:
    result = probe(SAMPLES, "mean_color", train_per_class=100, store=None)

    assert result.sentences == [
        "Fewer than 100 training images, as at least one per class is held out: fish (15), "
        "flower (15), house (15), mug (15), tree (15)."
    ]


def test_each_split_of_the_folders_has_its_part(shared: Any, tmp_path: Path) -> None:
    result = probe(shared("data/ants_bees"), "mean_color", store=tmp_path)

    assert result.protocol["name"] == "holdout"
    assert (result.protocol["n_train"], result.protocol["n_test"]) == (245, 153)


def test_tar_is_compared_and_probed_as_its_folder(tmp_path: Path) -> None:
    lay(tmp_path, "data/cat data/dog")
    with tarfile.open(tmp_path / "data.tar", "w") as tar:
        tar.add(tmp_path / "data", "data")

    archive, folder = (
        compare(tmp_path / name, "color", n_splits=2, store=None) for name in ("data.tar", "data")
    )

    assert [row["accuracy"] for row in archive.rows] == [row["accuracy"] for row in folder.rows]
    assert probe(tmp_path / "data.tar", "color", store=None).protocol["n_classes"] == 2
