from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx import load_dataset
from featx.data.datasets import ImageDataset
from featx.data.images import Images
from featx.engine.persistence import load_pipeline
from featx.engine.specs import make_extractor
from featx.errors import SpecError
from featx.evaluation.prediction import predict
from featx.evaluation.protocols import find_protocol
from featx.evaluation.saved_probe import save_probe
from featx.evaluation.split_scores import make_probe, probe_classes
from featx.store.feature_store import FeatureStore

RULES = find_protocol("cv", classifier="ridge", scale="l2")


@pytest.fixture(scope="module")
def samples() -> ImageDataset:
    return load_dataset("data/samples/photo").take(range(0, 80, 4))


def pipeline_of(path: Path) -> Any:
    return load_pipeline(path, classes=probe_classes())


def test_the_recipe_of_the_protocol_is_fitted_to_all_images(
    samples: ImageDataset, store: FeatureStore, tmp_path: Path
) -> None:
    path = save_probe(samples, "color", tmp_path / "a.skops", protocol=RULES, C=0.3, store=store)
    X = make_extractor("color").transform(samples.images)
    expected = make_probe(RULES, C=0.3).fit(X, samples.labels)
    features, probe = (step for _, step in pipeline_of(path).steps)
    np.testing.assert_allclose(probe.decision_function(X), expected.decision_function(X))
    assert (probe.C, probe.classifier, probe.scale) == (0.3, "ridge", "l2")
    assert features.store is None


@pytest.mark.parametrize("scale", ["standard", "l2", "none"])
@pytest.mark.parametrize("classifier", ["logistic", "svm", "ridge", "knn", "nearest_mean"])
def test_every_classifier_comes_back_as_it_was(
    samples: ImageDataset, store: FeatureStore, tmp_path: Path, classifier: str, scale: str
) -> None:
    protocol = find_protocol("cv", classifier=classifier, scale=scale)
    C = None if classifier in ("knn", "nearest_mean") else 0.3
    path = save_probe(samples, "color", tmp_path / "a.skops", protocol=protocol, C=C, store=store)
    X = make_extractor("color").transform(samples.images)
    expected = make_probe(protocol, C=C).fit(X, samples.labels)
    probe = pipeline_of(path).steps[1][1]
    np.testing.assert_allclose(probe.predict_proba(X), expected.predict_proba(X), atol=1e-9)


def test_images_without_a_class_teach_the_probe_nothing(
    samples: ImageDataset, tmp_path: Path
) -> None:
    known = samples.take(range(5, 20))
    labels = np.where(np.arange(20) < 5, "", samples.labels)
    paths = [
        save_probe(data, "color", tmp_path / f"{i}.skops", protocol=RULES, C=1.0)
        for i, data in enumerate([known, replace(samples, labels=labels)])
    ]
    expected, found = (pipeline_of(path)["probe"] for path in paths)
    np.testing.assert_array_equal(found.coef_, expected.coef_)
    assert "" not in found.classes_


def test_a_codebook_learns_from_all_images(samples: ImageDataset, tmp_path: Path) -> None:
    spec = "bovw:orb,n_words=4,image_size=96"
    path = save_probe(samples, spec, tmp_path / "a.skops", protocol=RULES, C=1.0)
    expected = make_extractor(spec).fit(samples.images)
    assert pipeline_of(path)["features"].fingerprint() == expected.fingerprint()


def test_several_extractors_are_refused(samples: ImageDataset, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="one extractor; got 2"):
        save_probe(samples, ["color", "pixels"], tmp_path / "a.skops", protocol=RULES)
    assert not list(tmp_path.glob("*.skops"))


def test_a_saved_probe_reads_new_images_as_it_learned(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2000, (24, 16, 16)) + 1500 * (np.arange(24) % 2)[:, None, None]
    labels = np.array(["dark", "light"] * 12)
    images = Images(values.astype(np.uint16), value_range=(0, 4095))
    dataset = ImageDataset(images, [str(i) for i in range(24)], labels=labels)
    rules = find_protocol("cv")
    path = save_probe(dataset, "mean_color", tmp_path / "a.skops", protocol=rules)
    found = predict(path, Images(values.astype(np.uint16)), store=None)
    assert [row["predicted"] for row in found.rows] == labels.tolist()
    assert found.provenance["reading"] == {"value_range": [0, 4095]}
