"""Saved probes: what they say is what the fitted pipeline says, and no code of theirs is run."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from featx import load_dataset, predict, probe
from featx.engine.persistence import load_pipeline, save_extractor, save_pipeline
from featx.engine.specs import make_extractor
from featx.errors import FeatureFileError
from featx.evaluation.split_scores import probe_classes

SAMPLES = "data/samples/photo"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("probe") / "probe.skops"
    probe(SAMPLES, "color", n_splits=2, store=None, save=path)
    return path


def test_saved_probe_says_what_its_pipeline_says(saved: Path) -> None:
    dataset = load_dataset(SAMPLES)
    pipeline = load_pipeline(saved, classes=probe_classes())

    rows = predict(saved, SAMPLES, store=None).rows

    assert [row["predicted"] for row in rows] == pipeline.predict(dataset.images).tolist()
    shares = np.array([list(row["probabilities"].values()) for row in rows])
    np.testing.assert_allclose(shares, pipeline.predict_proba(dataset.images), atol=1e-6)


def test_rows_hold_the_likeliest_class_and_the_truth(saved: Path) -> None:
    result = predict(saved, SAMPLES, store=None)

    for row in result.rows:
        assert row["probability"] == max(row["probabilities"].values())
        assert row["true"] == Path(row["path"]).parent.name
    assert np.mean([row["true"] == row["predicted"] for row in result.rows]) > 0.5


def test_broken_image_stops_nothing(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    good = sorted(Path(SAMPLES).rglob("*.[jp][pn]g"))[0]

    result = predict(saved, [str(good), str(tmp_path / "broken.jpg")], store=None)

    assert len(result.rows) == len(result.failures) == 1


def test_file_of_a_stranger_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "probe.skops"
    path.write_bytes(pickle.dumps({"a": 1}))

    with pytest.raises(FeatureFileError, match="not a probe"):
        predict(path, SAMPLES, store=None)


def test_type_that_is_not_trusted_is_refused(saved: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.skops"
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(bad, "w") as new:
        for name in old.namelist():
            ours = b'"__class__": "LinearProbe", "__module__": "featx"'
            theirs = b'"__class__": "Popen", "__module__": "subprocess"'
            new.writestr(name, old.read(name).replace(ours, theirs))

    with pytest.raises(FeatureFileError, match=r"refused.*subprocess\.Popen"):
        predict(bad, SAMPLES, store=None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_features_in_", str),
        ("n_features_in_", 5),
        ("coef_", None),
        ("classes_", np.array(["a", "b"])),
        ("classes_", 3),
        ("classes_", np.full(5, 2**31, np.uint32).view("<U1")),
    ],
)
def test_damaged_probe_is_one_line(saved: Path, tmp_path: Path, name: str, value: object) -> None:
    pipeline = load_pipeline(saved, classes=probe_classes())
    setattr(pipeline[-1], name, value)
    path = save_pipeline(pipeline, tmp_path / "bad.skops", classes=probe_classes())

    with pytest.raises(FeatureFileError, match=r"bad\.skops is damaged: [^\n]+$"):
        predict(path, SAMPLES, store=None)


def test_extractor_alone_is_no_probe(tmp_path: Path) -> None:
    path = save_extractor(make_extractor("color"), tmp_path / "color.skops")

    with pytest.raises(FeatureFileError, match="expected a probe"):
        predict(path, SAMPLES, store=None)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FeatureFileError, match="no such file"):
        predict(tmp_path / "none.skops", SAMPLES, store=None)
