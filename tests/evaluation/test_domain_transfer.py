from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from featx.data.datasets import ImageDataset, load_dataset
from featx.data.images import Images
from featx.errors import DatasetError, SpecError
from featx.evaluation.candidates import Candidates, gather_candidates
from featx.evaluation.coral import CORAL
from featx.evaluation.domain_transfer import (
    Part,
    _cross_domains,
    _DomainProtocol,
    _fit_pair,
    transfer,
)
from featx.evaluation.linear_probe import LinearProbe
from featx.evaluation.protocols import Split
from featx.features.results import Result
from featx.streaming.progress import ProgressCallback

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
BAG = "bovw:orb,n_words=20,image_size=144"
RULES = _DomainProtocol("transfer", splits="random", n_splits=2, names=("photo", "sketch"))


@pytest.fixture(scope="module")
def dataset() -> ImageDataset:
    """Ten images of each of three classes in two domains, in memory."""
    samples = load_dataset(SAMPLES, domains=True)
    indices = [
        index
        for index, name in enumerate(samples.names)
        if samples.labels[index] in ("fish", "house", "tree") and int(Path(name).stem) < 10
    ]
    part = samples.take(indices)
    return replace(part, images=Images([part.images.pixels(i) for i in range(len(part))]))


@pytest.fixture(scope="module")
def result(dataset: ImageDataset) -> Result:
    return transfer(dataset, ["color", BAG], seeds=2, C=0.1, store=None)


def gathered(dataset: ImageDataset, extractors: Any, rules: _DomainProtocol = RULES) -> Candidates:
    domains = replace(dataset, splits=dataset.domains)
    return gather_candidates(
        domains, extractors, rules, store=None, has_controls=False, progress=ProgressCallback()
    )  # fmt: skip


def folds(dataset: ImageDataset, **changes: Any) -> list[Split]:
    return replace(RULES, **changes).split(dataset.labels, dataset.domains)


def test_each_domain_is_split_by_itself_within_its_classes(dataset: ImageDataset) -> None:
    for number, (train, test) in enumerate(folds(dataset)):
        assert set(dataset.domains[[*train, *test]]) == {("photo", "sketch")[number % 2]}
        assert np.unique(dataset.labels[train], return_counts=True)[1].tolist() == [7, 7, 7]
        assert len({*train, *test}) == 30


def test_every_seed_splits_anew(dataset: ImageDataset) -> None:
    first, _, second, _ = folds(dataset)
    assert not np.array_equal(first[0], second[0])


def test_classes_that_a_domain_lacks_are_left_out(dataset: ImageDataset) -> None:
    labels = np.where((dataset.labels == "tree") & (dataset.domains == "photo"), "", dataset.labels)
    for train, test in RULES.split(labels, dataset.domains):
        assert set(labels[[*train, *test]]) == {"fish", "house"}


def test_one_class_in_common_is_too_few(dataset: ImageDataset) -> None:
    labels = np.where(dataset.domains == "photo", dataset.labels, "fish")
    with pytest.raises(DatasetError, match=r"at least 2 classes .*photo, sketch; got 1"):
        transfer(replace(dataset, labels=labels), "color", store=None)


@pytest.mark.parametrize(
    ("domains", "match"),
    [(["photo"], "at least 2 domains; got photo"), (["photo", "oil"], "'oil' is not in the data")],
)
def test_domains_that_are_not_there_are_refused(
    dataset: ImageDataset, domains: list[str], match: str
) -> None:
    with pytest.raises(DatasetError, match=match):
        transfer(dataset, "color", domains=domains, store=None)


@pytest.mark.parametrize(
    ("number", "match"),
    [
        ({"seeds": 0}, "seeds must be at least 1; got 0"),
        ({"train_fraction": 1.0}, r"between 0 and 1; got 1\.0"),
        ({"regularization": 0.0}, r"regularization must be above 0; got 0\.0"),
    ],
)
def test_numbers_out_of_range_are_refused_before_anything_is_read(
    number: dict[str, Any], match: str
) -> None:
    with pytest.raises(SpecError, match=match):
        transfer("nowhere", "color", **number)


def test_data_without_domains_is_refused(dataset: ImageDataset) -> None:
    with pytest.raises(DatasetError, match="no domains; expected folders"):
        transfer(replace(dataset, domains=None), "color", store=None)


def test_accuracies_are_those_of_plain_scikit_learn(dataset: ImageDataset) -> None:
    found = gathered(dataset, "color")
    plain = _cross_domains(found.kinds[0], found, RULES, C=0.1)[0]
    X, y, parts = found.kinds[0].features, dataset.labels, folds(dataset)
    for index, (source, target) in enumerate([(0, 1), (1, 0)]):
        for seed in range(2):
            train, own = parts[2 * seed + source]
            other = parts[2 * seed + target][1]
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=5000))
            model.fit(X[train], y[train])
            assert plain.source[index, seed] == pytest.approx(model.score(X[own], y[own]))
            assert plain.target[index, seed] == pytest.approx(model.score(X[other], y[other]))


def test_coral_moves_the_source_and_not_the_target(dataset: ImageDataset) -> None:
    found = gathered(dataset, "color")
    aligned = _cross_domains(found.kinds[0], found, RULES, C=0.1)[1]
    X, y, ((train, _), (rows, test), *_) = found.kinds[0].features, dataset.labels, folds(dataset)
    moved = CORAL().fit_transform(X[train], target=X[rows])
    by_hand = LinearProbe(C=0.1).fit(moved, y[train])
    assert aligned.target[0, 0] == by_hand.score(X[test], y[test])


def test_domains_that_differ_are_told_apart_and_those_that_do_not_are_not() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(100) % 2
    same, other = (Part(*rng.normal(m, 1, (2, 100, 3)), labels, labels) for m in (0, 5))
    for target, least, most in [(same, 0.0, 0.6), (other, 0.99, 1.0)]:
        fitted = _fit_pair(same, target, LinearProbe(C=1.0))
        assert least <= fitted.accuracies(same, target)[2] <= most


def states(found: Candidates) -> list[str]:
    """Digests of everything that is learned from one feature set, pair after pair."""
    digests = []
    for number, (train, test) in enumerate(found.folds[:2]):
        rows = found.kinds[0].features
        X, y = rows(number) if callable(rows) else rows, found.dataset.labels
        source, target = (
            Part(X[train], X[test], y[train], y[test])
            for train, test in [(train, test), found.folds[number + 1 - 2 * (number % 2)]]
        )
        for coral in (None, CORAL()):
            fitted = _fit_pair(source, target, LinearProbe(grid=(0.1, 1)), coral)
            learned = [vars(fitted.probe), vars(fitted.divider)]
            spreads = [] if fitted.coral is None else [vars(fitted.coral.source_)]
            digests.append(joblib.hash([learned, spreads]))
    return digests


@pytest.mark.parametrize("spec", ["color", BAG])
def test_no_fitted_state_depends_on_a_label_outside_the_sources_training_images(
    dataset: ImageDataset, spec: str
) -> None:
    found = gathered(dataset, spec)
    noise = np.random.default_rng(0).permutation(dataset.labels)
    for number, (train, _) in enumerate(found.folds[:2]):
        labels = noise.copy()
        labels[train] = dataset.labels[train]
        noisy = replace(found, dataset=replace(found.dataset, labels=labels))
        assert states(noisy)[2 * number : 2 * number + 2] == states(found)[2 * number :][:2]


def test_no_codebook_depends_on_an_image_outside_the_sources_training_images(
    dataset: ImageDataset,
) -> None:
    found = gathered(dataset, BAG)
    train, _ = found.folds[1]
    rng = np.random.default_rng(0)
    images = [
        dataset.images.pixels(i)
        if i in train
        else rng.integers(0, 256, (144, 144, 3)).astype(np.uint8)
        for i in range(len(dataset))
    ]
    features = replace(
        found.kinds[0].features, dataset=replace(dataset, images=Images(images)), _fitted={}
    )
    np.testing.assert_array_equal(
        features.fitted(1).codebook_, found.kinds[0].fitted(1).codebook_
    )  # fmt: skip


def test_rows_are_averages_best_first_and_then_each_pair(result: Result) -> None:
    averages = result.rows[:4]
    assert {row["source"] for row in averages} == {"mean"}
    assert sorted(averages, key=lambda row: -row["target_accuracy"]) == averages
    pairs = [(row["spec"], row["alignment"], row["source"]) for row in result.rows[4:]]
    assert pairs[:3] == [("color", "none", "photo"), ("color", "none", "sketch"),
                         ("color", "coral", "photo")]  # fmt: skip
    assert len(pairs) == 8


def test_averages_are_those_of_the_pairs(result: Result) -> None:
    for average in result.rows[:4]:
        pairs = [
            row
            for row in result.rows[4:]
            if (row["spec"], row["alignment"]) == (average["spec"], average["alignment"])
        ]
        for name in ("source_accuracy", "target_accuracy", "points_lost", "domain_accuracy"):
            assert average[name] == pytest.approx(np.mean([row[name] for row in pairs]))


def test_the_protocol_says_everything_that_fixes_the_numbers(result: Result) -> None:
    protocol = result.protocol
    assert protocol["domains"] == ["photo", "sketch"]
    assert protocol["n_train_per_domain"] == {"photo": 21, "sketch": 21}
    assert protocol["n_test_per_domain"] == {"photo": 9, "sketch": 9}
    assert protocol["chance"] == {"photo": 1 / 3, "sketch": 1 / 3}
    assert (protocol["n_splits"], protocol["train_fraction"], protocol["regularization"]) == (
        2,
        0.7,
        1.0,
    )


def test_the_same_seeds_give_the_same_result(dataset: ImageDataset) -> None:
    one, two = (transfer(dataset, BAG, seeds=1, C=0.1, store=None) for _ in range(2))
    assert one.to_dict() == two.to_dict()


def test_domains_come_in_the_order_asked_for(dataset: ImageDataset) -> None:
    found = transfer(dataset, "color", domains=["sketch", "photo"], seeds=1, store=None)
    assert [row["source"] for row in found.rows[2:4]] == ["sketch", "photo"]


def test_images_that_cannot_be_read_are_told_and_left_out(tmp_path: Path) -> None:
    names = [f"{domain}/{label}/{i:02}" for domain in ("photo", "sketch")
             for label in ("fish", "house") for i in range(4)]  # fmt: skip
    for name in names:
        file = next(SAMPLES.glob(f"{name}.*"))
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}{file.suffix}").write_bytes(file.read_bytes())
    (tmp_path / "photo/fish/broken.png").write_bytes(b"?")
    found = transfer(tmp_path, "mean_color", seeds=1, store=None)
    assert [Path(path).name for path, _ in found.failures] == ["broken.png"]
    assert found.protocol["n_train_per_domain"] == {"photo": 6, "sketch": 6}


def test_a_result_is_saved_and_read_back(result: Result, tmp_path: Path) -> None:
    assert Result.load(result.save(tmp_path / "report")).to_dict() == result.to_dict()


@pytest.mark.slow
def test_deep_features_carry_further_than_surf_words(shared: Any) -> None:
    deep = (
        f"cnn:squeezenet1_0:-1,pooling=gap,weights={shared('weights')}/squeezenet1_0-imagenet.pth"
    )
    images = load_dataset(shared("data/pacs_mini"), domains=["photo", "art_painting"])
    half = images.take(range(0, len(images), 2))
    words = "bovw:surf,n_words=100,n_descriptors=20000"
    found = transfer(half, [deep, words], seeds=2, C=0.01)
    rows = {(row["spec"], row["alignment"]): row for row in found.rows[:4]}
    assert rows[deep, "none"]["target_accuracy"] > rows[words, "none"]["target_accuracy"]
    assert rows[deep, "none"]["share_kept"] > rows[words, "none"]["share_kept"]
