from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from featx.engine.persistence import (
    load_extractor,
    load_pipeline,
    save_extractor,
    save_pipeline,
)
from featx.errors import FeatureFileError
from featx.extractors.bovw.bag_of_visual_words import BagOfVisualWords
from featx.extractors.color import ColorHistogram
from featx.store.feature_store import FeatureStore


def test_round_trip_gives_the_same_features(tmp_path: Path, photos: list[str]) -> None:
    fitted = BagOfVisualWords("orb", n_words=8).fit(photos)
    path = save_extractor(fitted, tmp_path / "a.skops")
    loaded = load_extractor(path)
    assert loaded.fingerprint() == fitted.fingerprint()
    np.testing.assert_array_equal(loaded.transform(photos), fitted.transform(photos))


def test_store_and_jobs_stay_behind(tmp_path: Path, store: FeatureStore) -> None:
    path = save_extractor(ColorHistogram(store=store, n_jobs=7), tmp_path / "a.skops")
    assert (load_extractor(path).store, load_extractor(path).n_jobs) == (None, None)


def test_foreign_types_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.skops"
    skops.io.dump(FunctionTransformer(func=zipfile.is_zipfile), path)
    with pytest.raises(FeatureFileError, match="does not trust"):
        load_extractor(path)


@pytest.mark.parametrize("content", [b"", b"PK garbage", b"\x80\x04."])
def test_broken_files_are_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.skops"
    path.write_bytes(content)
    with pytest.raises(FeatureFileError) as caught:
        load_extractor(path)
    assert "\n" not in str(caught.value)


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FeatureFileError, match=r"\.skops"):
        save_extractor(ColorHistogram(), tmp_path / "a.pkl")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FeatureFileError, match="no such file"):
        load_extractor(tmp_path / "a.skops")


def rewritten(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The file with its schema changed, as someone with a text editor could."""
    with zipfile.ZipFile(path) as file:
        contents = {name: file.read(name) for name in file.namelist()}
    schema = json.loads(contents["schema.json"])
    change(schema)
    contents["schema.json"] = json.dumps(schema).encode()
    with zipfile.ZipFile(path, "w") as file:
        for name, content in contents.items():
            file.writestr(name, content)
    return path


def test_files_name_no_module_of_featx(tmp_path: Path) -> None:
    path = save_extractor(ColorHistogram(), tmp_path / "a.skops")
    schema = zipfile.ZipFile(path).read("schema.json").decode()
    assert json.loads(schema)["__class__"] == "color"
    assert "featx." not in schema


def test_a_class_that_moved_opens_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_extractor(ColorHistogram(n_bins=4), tmp_path / "a.skops")
    module = type(zipfile)("featx.moved")
    module.ColorHistogram = ColorHistogram
    monkeypatch.setitem(sys.modules, "featx.moved", module)
    monkeypatch.setattr(ColorHistogram, "__module__", "featx.moved")
    assert load_extractor(path).n_bins == 4


@pytest.mark.parametrize(
    ("module", "name", "loader"),
    [
        ("featx.engine.persistence", "load_extractor", "FunctionNode"),
        ("featx.extractors.color", "ColorHistogram", "ObjectNode"),
        ("featx", "color", "TreeNode"),
        ("featx", "color", "TypeNode"),
        ("featx", "demo", "ObjectNode"),
        ("featx.store.shards", "open_shard", "ConstructorFromInstanceNode"),
    ],
)
def test_only_objects_of_registered_names_are_made(
    tmp_path: Path, module: str, name: str, loader: str
) -> None:
    node = {"__module__": module, "__class__": name, "__loader__": loader}
    path = save_extractor(ColorHistogram(), tmp_path / "a.skops")
    with pytest.raises(FeatureFileError, match="does not trust"):
        load_extractor(rewritten(path, lambda schema: schema.update(node)))


def test_a_name_hidden_deep_in_a_file_runs_nothing(tmp_path: Path) -> None:
    sentinel = tmp_path / "executed"
    call = {
        "__module__": "featx.data.datasets",
        "__class__": "load_dataset",
        "__loader__": "TreeNode",
        "__reduce__": {"args": [str(sentinel)]},
        "content": {},
    }
    path = save_extractor(ColorHistogram(), tmp_path / "a.skops")
    change = rewritten(path, lambda schema: schema["content"]["content"].update(n_bins=call))
    with pytest.raises(FeatureFileError, match=r"featx\.data\.datasets\.load_dataset"):
        load_extractor(change)


def named(module: str, name: str, loader: str, **content: Any) -> dict[str, Any]:
    return {"__module__": module, "__class__": name, "__loader__": loader, **content}


TEXT = named("builtins", "str", "TypeNode")
LIST = named("builtins", "list", "TypeNode")


def with_attribute(path: Path, name: str, node: dict[str, Any]) -> Path:
    """A saved extractor whose file sets one more attribute."""

    def change(schema: dict[str, Any]) -> None:
        attributes = schema["content"]
        attributes["content"][name] = node
        attributes["key_types"]["content"].append(TEXT)

    return rewritten(save_extractor(ColorHistogram(), path), change)


@pytest.mark.parametrize("name", ["_get_param_names", "transform", "_cut", "layers", "__eq__"])
def test_a_file_sets_no_attribute_but_parameters_and_learned_ones(
    tmp_path: Path, name: str
) -> None:
    path = with_attribute(tmp_path / "a.skops", name, LIST)
    with pytest.raises(FeatureFileError, match=f"sets '{name}'"):
        load_extractor(path)


def test_an_extractor_without_one_of_its_parameters_is_refused(tmp_path: Path) -> None:
    extractor = ColorHistogram()
    path = save_extractor(extractor, tmp_path / "a.skops")

    def drop(schema: dict[str, Any]) -> None:
        del schema["content"]["content"]["n_bins"]
        schema["content"]["key_types"]["content"].pop()

    with pytest.raises(FeatureFileError, match="lacks 'n_bins' of ColorHistogram"):
        load_extractor(rewritten(path, drop))


def test_the_output_set_by_scikit_learn_stays(tmp_path: Path) -> None:
    extractor = ColorHistogram().set_output(transform="pandas")
    loaded = load_extractor(save_extractor(extractor, tmp_path / "a.skops"))
    assert vars(loaded)["_sklearn_output_config"] == {"transform": "pandas"}


@pytest.mark.parametrize("loader", ["FunctionNode", "CachedNode", "SparseMatrixNode", "MethodNode"])
def test_other_kinds_of_node_are_refused(tmp_path: Path, loader: str) -> None:
    path = with_attribute(tmp_path / "a.skops", "x_", named("numpy", "negative", loader))
    with pytest.raises(FeatureFileError, match=rf"numpy\.negative \({loader}\)"):
        load_extractor(path)


def test_old_protocols_name_no_class_out_of_sight(tmp_path: Path) -> None:
    hidden = {"module_path": ColorHistogram.__module__, "function": "ColorHistogram"}
    node = named("numpy", "negative", "FunctionNode", content=hidden)
    path = with_attribute(tmp_path / "a.skops", "x_", node)
    with pytest.raises(FeatureFileError, match="does not trust"):
        load_extractor(rewritten(path, lambda schema: schema.update(protocol=0)))


def test_lists_that_hold_each_other_twice_take_no_time(tmp_path: Path) -> None:
    node = named("builtins", "list", "ListNode", content=[], __id__=1)
    for i in range(2, 50):
        shared = named("builtins", "list", "ListNode", content=[], __id__=i - 1)
        node = named("builtins", "list", "ListNode", content=[node, shared], __id__=i)
    loaded = load_extractor(with_attribute(tmp_path / "a.skops", "x_", node))
    assert loaded.x_[1] == []


def test_shared_arrays_are_read_once(tmp_path: Path) -> None:
    extractor = ColorHistogram()
    extractor.x_ = extractor.y_ = np.arange(3)
    loaded = load_extractor(save_extractor(extractor, tmp_path / "a.skops"))
    assert loaded.x_ is loaded.y_


def test_compressed_files_are_refused_before_they_grow(tmp_path: Path) -> None:
    path = save_extractor(ColorHistogram(), tmp_path / "a.skops")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zeros.npy", bytes(1_000_000))
    with pytest.raises(FeatureFileError, match="compressed"):
        load_extractor(path)


def test_an_archive_in_place_of_an_array_stays_closed(tmp_path: Path) -> None:
    path = save_extractor(ColorHistogram(), tmp_path / "b.skops")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("x.npy", archive_of_objects())
    node = named("numpy", "ndarray", "NdArrayNode", type="numpy", file="x.npy")
    change = rewritten(path, lambda schema: schema["content"]["content"].update(n_bins=node))
    assert type(load_extractor(change).n_bins).__name__ == "NpzFile"


def schema_of(model: Any) -> Any:
    """How skops describes an object."""
    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(model))) as file:
        return json.loads(file.read("schema.json"))


def archive_of_objects() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, np.array([object], dtype=object))
    return buffer.getvalue()


@pytest.mark.parametrize("steps", [[], [("features", None)], "ab"])
def test_a_probe_without_steps_is_none(tmp_path: Path, steps: Any) -> None:
    path = save_pipeline(Pipeline([("features", ColorHistogram())]), tmp_path / "a.skops")
    node = schema_of(steps)
    change = rewritten(path, lambda schema: schema["content"]["content"].update(steps=node))
    with pytest.raises(FeatureFileError, match="expected a probe"):
        load_pipeline(change)


ESTIMATORS = [DummyClassifier(), GridSearchCV(StandardScaler(), {}), FunctionTransformer(str)]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda it: type(it).__name__)
def test_a_probe_holds_no_estimator_but_those_of_a_closed_set(
    tmp_path: Path, estimator: Any
) -> None:
    name = f"{type(estimator).__module__}.{type(estimator).__name__}"
    pipeline = Pipeline([("features", ColorHistogram()), ("probe", estimator)])
    with pytest.raises(FeatureFileError, match=rf"A {name} cannot be saved"):
        save_pipeline(pipeline, tmp_path / "a.skops", classes=[StandardScaler])
    assert not (tmp_path / "a.skops").exists()

    scaled = Pipeline([("features", ColorHistogram()), ("probe", StandardScaler())])
    path = save_pipeline(scaled, tmp_path / "b.skops", classes=[StandardScaler])
    node = schema_of(estimator)

    def put_in(schema: dict[str, Any]) -> None:
        steps = schema["content"]["content"]["steps"]
        steps["content"][1]["content"][1] = node

    assert type(load_pipeline(path, classes=[StandardScaler]).steps[1][1]) is StandardScaler
    with pytest.raises(FeatureFileError, match=rf"types that featx does not trust: {name}"):
        load_pipeline(rewritten(path, put_in), classes=[StandardScaler])


def test_a_class_is_made_under_its_registered_name_alone(tmp_path: Path) -> None:
    pipeline = Pipeline([("features", ColorHistogram()), ("probe", StandardScaler())])
    path = save_pipeline(pipeline, tmp_path / "a.skops", classes=[StandardScaler])
    assert "sklearn." not in zipfile.ZipFile(path).read("schema.json").decode()
    with pytest.raises(FeatureFileError, match=r"does not trust: featx\.StandardScaler"):
        load_pipeline(path)
    with pytest.raises(FeatureFileError, match=r"does not trust: featx\.Pipeline"):
        load_extractor(path)


def test_an_extractor_of_another_package_may_learn_by_scikit_learn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Foreign(ColorHistogram):
        """Of a package called foreign."""

        spec_name = "foreign"
        __module__ = "foreign"
        __qualname__ = "Foreign"

    module = type(zipfile)("foreign")
    module.Foreign = Foreign
    monkeypatch.setitem(sys.modules, "foreign", module)
    monkeypatch.setattr("featx.engine.persistence.registered_class", {"foreign": Foreign}.get)
    monkeypatch.setattr("featx.engine.persistence.registered_name", lambda cls: cls.spec_name)
    extractor = Foreign()
    extractor.scaler_ = StandardScaler(with_mean=False)
    loaded = load_extractor(save_extractor(extractor, tmp_path / "a.skops"))
    assert loaded.scaler_.with_mean is False
