from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.preprocessing import FunctionTransformer

from featx.errors import FeatureFileError
from featx.extractors.bovw import BagOfVisualWords
from featx.extractors.color import ColorHistogram
from featx.persistence import load_extractor, save_extractor
from featx.store import FeatureStore


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
