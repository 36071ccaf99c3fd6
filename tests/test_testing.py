from __future__ import annotations

from itertools import count
from typing import Any, ClassVar

import numpy as np
import pytest

from featx.engine.registry import list_extractors
from featx.engine.specs import make_extractor
from featx.errors import BrokenLawError, ImageError
from featx.extractors.base import Extractor
from featx.extractors.color import ColorHistogram, MeanColor
from featx.testing import LAWS, check_extractor, make_images

BUILT_IN_CASES: dict[str, dict[str, Any]] = {
    "pixels,image_size=16": {},
    "pixels,image_size=8x12,color=false": {},
    "mean_color": {},
    "color,n_bins=8": {},
    "hog,image_size=32": {},
    "hog,image_size=24x40,cell_px=5,color=false,transform_sqrt=true": {},
    "lbp,image_size=32": {"radii": (1, 2)},
    "glcm,image_size=32": {"distances": (1, 3)},
    "gabor,image_size=32": {"frequencies": (0.1, 0.3)},
    "gist,image_size=32": {},
    "hsv": {"n_bins": (4, 2, 2)},
    "phog,image_size=32": {},
    "bovw:surf,n_words=8,n_descriptors=500": {},
    "bovw:dense_sift,n_words=8,image_size=64,n_descriptors=500": {},
    # Binary words have no principal components.
    "bovw:orb,n_words=8,n_descriptors=500": {"n_components": None},
    "cnn:squeezenet1_0:pool1,weights=random,size=64,pooling=gap": {
        "model": "squeezenet1_1",
        "layer": "pool2",
        "pooling": "max",
        "crop": 48,
        "mean": (0, 0, 0),
        "std": (1, 1, 1),
        # Both of these need a file; tests/extractors/test_cnn.py has one.
        "weights": "random",
        "load": None,
    },
}
"""SPEC of each extractor to check -> values for parameters that the checks cannot derive."""


@pytest.mark.parametrize("spec", BUILT_IN_CASES)
def test_built_in_extractors_obey_every_law(spec: str) -> None:
    check_extractor(make_extractor(spec), variations=BUILT_IN_CASES[spec])


def test_extractors_obey_the_laws_on_photographs(photos: list[str]) -> None:
    check_extractor(make_extractor("hog,image_size=64"), photos[:4])


def test_every_built_in_extractor_is_checked() -> None:
    checked = {type(make_extractor(spec)) for spec in BUILT_IN_CASES}
    assert {cls.__name__ for cls in checked} == {
        entry.target.rpartition(":")[2] for entry in list_extractors() if entry.source == "featx"
    }


def test_the_images_are_always_the_same() -> None:
    for once, again in zip(make_images(), make_images(), strict=True):
        assert (once == again).all()


class Shifted(MeanColor):
    """A valid extractor: the mean color plus a constant."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Extractor._parameter_constraints,
        "shift": [float],
    }

    def __init__(self, shift: Any = 1.0, *, n_jobs: int | None = None, on_error: str = "raise",
                 store: Any = None) -> None:  # fmt: skip
        super().__init__(n_jobs=n_jobs, on_error=on_error, store=store)
        self.shift = shift

    def _prepare(self, pixels: Any) -> Any:
        return super()._prepare(pixels) + np.float32(self.shift)


class WithNaN(MeanColor):
    def _extract(self, batch: Any) -> Any:
        return super()._extract(batch) * np.nan


class WithTwoNames(MeanColor):
    def get_feature_names_out(self, input_features: Any = None) -> Any:
        return np.array(["red", "green"], dtype=object)


class Centered(MeanColor):
    """Subtracts the mean of the batch."""

    def _extract(self, batch: Any) -> Any:
        return super()._extract(batch) - super()._extract(batch).mean()


class Numbered(MeanColor):
    """Numbers the images of a call."""

    def transform(self, X: Any) -> Any:
        rows = super().transform(X)
        return rows + np.arange(len(rows), dtype=np.float32)[:, None]


class CountingJobs(MeanColor):
    def _extract(self, batch: Any) -> Any:
        return super()._extract(batch) + np.float32(self.n_jobs or 0)


class ShiftingPaths(MeanColor):
    def transform(self, X: Any) -> Any:
        return super().transform(X) + np.float32(isinstance(X[0], str))


class ColorOnly(MeanColor):
    def transform(self, X: Any) -> Any:
        if isinstance(X[0], np.ndarray) and X[0].ndim == 2:
            raise ValueError("expected three channels")
        return super().transform(X)


class ShallowOnly(MeanColor):
    def _prepare(self, pixels: Any) -> Any:
        mean = super()._prepare(pixels)
        return mean if pixels.dtype == np.uint8 else mean * np.nan


class WritingToInputs(MeanColor):
    def _prepare(self, pixels: Any) -> Any:
        row = super()._prepare(pixels)
        pixels[0, 0] = 255 - pixels[0, 0]
        return row


class Restless(MeanColor):
    """Learns another value in each fit."""

    _fits = count()

    def _learn(self, inputs: Any) -> None:
        list(inputs)
        self.shift_ = float(next(self._fits))

    def _extract(self, batch: Any) -> Any:
        return super()._extract(batch) + np.float32(self.shift_)


class Forgetful(ColorHistogram):
    """Loses its number of bins when it is pickled."""

    def __getstate__(self) -> Any:
        return {**super().__getstate__(), "n_bins": 2}


class ForgettingParameters(Shifted):
    def settings(self, layer: str = "") -> Any:
        settings = super().settings(layer)
        settings["parameters"].pop("shift")
        return settings


class FingerprintingJobs(MeanColor):
    def settings(self, layer: str = "") -> Any:
        return {**super().settings(layer), "n_jobs": self.n_jobs}


class ForgettingState(MeanColor):
    """Learns the mean, but leaves it out of the fingerprint."""

    def _learn(self, inputs: Any) -> None:
        self.mean_ = np.mean(list(inputs), axis=0)

    def _extract(self, batch: Any) -> Any:
        return super()._extract(batch) - self.mean_.astype(np.float32)

    def _state(self) -> Any:
        return {}


class Silent(MeanColor):
    def transform(self, X: Any) -> Any:
        try:
            return super().transform(X)
        except ImageError:
            return np.zeros((len(X), 3), np.float32)


FAULTS = {
    "rows are finite float32, one per image": WithNaN(),
    "names match columns": WithTwoNames(),
    "rows do not depend on the batch": Centered(),
    "rows do not depend on the order": Numbered(),
    "rows do not depend on the number of jobs": CountingJobs(),
    "paths, bytes, PIL images and arrays give the same rows": ShiftingPaths(),
    "gray and color images are accepted": ColorOnly(),
    "images of more than 8 bits are accepted": ShallowOnly(),
    "inputs and parameters are not changed": WritingToInputs(),
    "a clone gives identical rows": Restless(),
    "a pickled copy gives identical rows": Forgetful(),
    "parameters that change values change the fingerprint": ForgettingParameters(),
    "parameters of speed do not change the fingerprint": FingerprintingJobs(),
    "the fitted state is part of the fingerprint": ForgettingState(),
    "a broken image raises an ImageError, or has a row of NaN": Silent(),
}


def test_there_is_a_fault_for_every_law() -> None:
    assert list(FAULTS) == list(LAWS)


@pytest.mark.parametrize("law", FAULTS)
def test_a_fault_is_caught_under_its_law(law: str) -> None:
    extractor = FAULTS[law]
    with pytest.raises(BrokenLawError) as caught:
        check_extractor(extractor, variations={"shift": 2.0})
    assert law in caught.value.broken
    assert f"{type(extractor).__name__}: {law}: expected " in str(caught.value)
    assert isinstance(caught.value, AssertionError)


def test_a_valid_extractor_with_a_variation_passes() -> None:
    check_extractor(Shifted(), variations={"shift": 2.0})


def test_a_parameter_without_derivable_values_needs_a_variation() -> None:
    with pytest.raises(BrokenLawError, match=r"variations=\{'shift': \.\.\.\}"):
        check_extractor(Shifted())
