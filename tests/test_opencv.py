from __future__ import annotations

import warnings

import pytest

from featx import opencv
from featx.errors import FeatxWarning


@pytest.fixture(autouse=True)
def _fresh() -> None:
    opencv.load_opencv.cache_clear()


def test_clashing_wheels_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"opencv-python": "4.12.0", "opencv-python-headless": "5.0.0"}
    monkeypatch.setattr(opencv, "_version", found.get)
    with pytest.warns(FeatxWarning, match="opencv-python-headless 5.0.0 and opencv-python 4.12.0"):
        opencv.load_opencv()


def test_equal_versions_and_single_wheels_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"opencv-python": "5.0.0", "opencv-python-headless": "5.0.0"}
    monkeypatch.setattr(opencv, "_version", found.get)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert hasattr(opencv.load_opencv(), "SIFT_create")
