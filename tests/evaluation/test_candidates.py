"""Candidates: each with the rows that a split may know, and controls beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx import LinearProbe, extract, load_dataset
from featx.data.datasets import ImageDataset
from featx.errors import DatasetError
from featx.evaluation import candidates
from featx.evaluation.candidates import Candidates, gather_candidates
from featx.evaluation.protocols import find_protocol
from featx.streaming.progress import ProgressCallback

SAMPLES = "data/samples/photo"


class Recorded(ProgressCallback):
    """Keeps the notes, and what was begun."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.names: list[str] = []

    def begin(self, names: Sequence[str], widths: Sequence[int]) -> None:
        self.names.extend(names)

    def note(self, text: str) -> None:
        self.notes.append(text)


def fitted_states(test_label: str, store: Path) -> list[Any]:
    """What was learned where all test images have one label: codebook, coefficients, C."""
    dataset = load_dataset(SAMPLES)
    splits = np.where(np.arange(len(dataset)) % 2, "train", "test")
    labels = np.where(splits == "test", test_label, dataset.labels)
    gathered = gather_candidates(
        replace(dataset, labels=labels, splits=splits),
        "bovw:dense_sift,n_words=16,image_size=96",
        find_protocol("holdout"),
        store=store,
        has_controls=False,
        progress=ProgressCallback(),
    )
    kind, (train, _) = gathered.kinds[0], gathered.folds[0]
    fitted = LinearProbe().fit(kind.features(0)[train], labels[train])
    words = kind.fitted(0).transform(dataset.images.take([0]))
    return [words, fitted.coef_, fitted.intercept_, fitted.C_]


@pytest.mark.slow
def test_labels_of_test_images_change_no_fitted_state(tmp_path: Path) -> None:
    first, second = (fitted_states(name, tmp_path) for name in ("fish", "mug"))

    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_local_descriptors_of_all_splits_are_announced_once(tmp_path: Path) -> None:
    dataset = load_dataset(SAMPLES).take(list(range(0, 80, 8)))
    rules, recorded = find_protocol("cv", n_splits=2), Recorded()
    spec = "bovw:orb,n_words=4,image_size=96"
    gathered = gather_candidates(
        dataset, spec, rules, store=tmp_path, has_controls=False, progress=recorded
    )
    assert not np.array_equal(*map(gathered.kinds[0].features, (0, 1)))
    assert recorded.names == ["mean_color", f"{spec}, local descriptors"]


@pytest.mark.slow
def test_codebook_never_sees_a_test_image(tmp_path: Path) -> None:
    dataset, rules = load_dataset(SAMPLES), find_protocol("cv", n_splits=2)
    spec = "bovw:dense_sift,n_words=16,image_size=96"
    kind = gather_candidates(
        dataset, spec, rules, store=tmp_path, has_controls=False, progress=ProgressCallback()
    ).kinds[0]
    train = rules.split(dataset.labels)[0][0]
    alone = kind.extractor.fit(dataset.images.take(train.tolist()))

    assert np.array_equal(kind.features(0), alone.transform(dataset.images))


@pytest.fixture(scope="module")
def few() -> ImageDataset:
    return load_dataset(SAMPLES).take(range(0, 80, 4))


def gathered(dataset: ImageDataset, extractors: Any, *, has_controls: bool = False) -> Candidates:
    return gather_candidates(
        dataset,
        extractors,
        find_protocol("cv", n_splits=2),
        store=None,
        has_controls=has_controls,
        progress=ProgressCallback(),
    )


def test_each_candidate_has_the_columns_of_its_own_extractor(few: ImageDataset) -> None:
    layers = [f"cnn:featxnet:{layer},pooling=gap,size=32" for layer in ("pool1", "pool5")]
    found = gathered(few, [layers[1], "mean_color", layers[0]])
    for kind in found.kinds:
        expected = extract(few, kind.extractor, store=None).X
        np.testing.assert_array_equal(kind.features, expected)
        assert kind.n_features == expected.shape[1]
    assert {kind.spec for kind in found.kinds} == {*layers, "mean_color"}


def test_a_control_that_was_asked_for_is_no_control(few: ImageDataset) -> None:
    network = "cnn:featxnet:pool1,pooling=gap,size=32"
    specs = ["pixels,image_size=8", network, f"{network},weights=random"]
    found = gathered(few, [*specs, "mean_color"], has_controls=True)
    assert [kind.spec for kind in found.kinds if kind.is_control] == ["pixels"]
    assert len(found.kinds) == 5


def test_images_that_cannot_be_read_are_in_no_split(few: ImageDataset, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b")]
    for folder, first in zip(folders, (0, 10)):
        folder.mkdir()
        for i in range(4):
            (folder / f"{i}.jpg").write_bytes(Path(few.names[first + i]).read_bytes())
    (folders[0] / "2.jpg").write_bytes(b"no image")
    found = gathered(load_dataset(tmp_path), "color")
    assert [Path(name).name for name, _ in found.failures] == ["2.jpg"]
    assert len(found.dataset) == len(found.kinds[0].features) == 7
    assert sorted(np.concatenate([test for _, test in found.folds])) == list(range(7))


def test_splits_that_cannot_be_drawn_are_refused_before_anything_is_computed(
    few: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **parameters: Any) -> None:
        raise AssertionError("features were computed")

    monkeypatch.setattr(candidates, "extract", fail)
    with pytest.raises(DatasetError, match="2 classes"):
        gathered(replace(few, labels=np.full(20, "fish")), "color")


def test_features_that_learn_differ_from_split_to_split(few: ImageDataset) -> None:
    [kind] = gathered(few, "bovw:orb,n_words=4,image_size=96").kinds
    first, second = (kind.fitted(number).fingerprint() for number in (0, 1))
    assert first != second
    assert kind.fitted(0).fingerprint() == first
    assert kind.n_features == kind.features(1).shape[1] == 4
