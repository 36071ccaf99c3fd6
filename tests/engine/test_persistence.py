from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.preprocessing import FunctionTransformer

from featx.engine.persistence import load_extractor, save_extractor
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
