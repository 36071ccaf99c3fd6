from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from featx.engine.extraction import extract
from featx.extractors import names
from featx.extractors.cnn import CNNFeatures
from featx.extractors.color import ColorHistogram
from featx.extractors.hog import HOG
from featx.extractors.names import registered_name
from featx.store.feature_store import FeatureStore


def test_every_class_of_featx_has_its_spec_name() -> None:
    assert [registered_name(cls) for cls in (HOG, CNNFeatures)] == ["hog", "cnn"]


def test_a_subclass_does_not_inherit_the_name() -> None:
    class Mine(HOG):
        pass

    assert registered_name(Mine) == f"{__name__}.{Mine.__qualname__}"


def test_a_strangers_class_cannot_take_a_name_of_featx() -> None:
    class Mine(HOG):
        spec_name = "hog"

    assert registered_name(Mine) != "hog"


def test_a_plugin_is_named_by_its_distribution_and_entry_point(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Mine(HOG):
        pass

    point = EntryPoint("mine", f"{Mine.__module__}:{Mine.__qualname__}", names.GROUP)
    monkeypatch.setattr(names, "list_plugins", lambda: {"mine": point})
    assert registered_name(Mine) == "?:mine"


@pytest.mark.parametrize("extractor", [HOG(), ColorHistogram(), CNNFeatures(pooling="gap")])
def test_moving_a_class_keeps_its_fingerprint(
    extractor: HOG, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = extractor.fingerprint()
    monkeypatch.setattr(type(extractor), "__module__", "featx.somewhere.else")
    assert extractor.fingerprint() == before


def test_moving_a_class_keeps_its_stored_rows(
    tmp_path: Path, photos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore(tmp_path)
    extract(photos, HOG(), store=store)
    monkeypatch.setattr(HOG, "__module__", "featx.somewhere.else")
    monkeypatch.setattr(HOG, "_extract", None)  # Whatever is computed anew fails.
    assert len(extract(photos, HOG(), store=store).X) == len(photos)
