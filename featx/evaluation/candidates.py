"""Feature sets to compare and their controls, computed as the splits require."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from featx._fingerprints import fingerprint
from featx._linalg import map_on_cores
from featx.data.datasets import ImageDataset
from featx.engine.extraction import extract
from featx.engine.fitting import fit_extractor, must_learn
from featx.engine.jobs import Job, plan_jobs
from featx.engine.persistence import portable
from featx.engine.specs import spec_of
from featx.errors import DatasetError
from featx.evaluation.protocols import Indices, Protocol, Split
from featx.evaluation.split_checks import find_copies, split_readable
from featx.extractors.base import Producer
from featx.features.feature_set import FeatureSet
from featx.process.phases import phase
from featx.store.feature_store import FeatureStore, find_digests
from featx.streaming.progress import ProgressCallback

Matrix: TypeAlias = npt.NDArray[np.float32]
CONTROLS = ("pixels", "mean_color")


@dataclass(frozen=True, eq=False)
class Candidate:
    """One feature set, of an extractor or one layer of a network; or a network to fine-tune.

    Attributes
    ----------
    spec : str
    layer : str
        Of a network; else empty.
    extractor : Extractor or FineTunedClassifier
        Of this layer alone, without a store: what a user would apply.
    is_control : bool
    features : array, or callable of the number of a split
        All images' features; of an extractor that learns, as it learned from the training
        images of that split. None of a network to fine-tune.
    n_features : int or None
    """

    spec: str
    layer: str
    extractor: Any
    is_control: bool
    features: Any
    n_features: int | None

    @cached_property
    def key(self) -> str:
        """The same for features of the same numbers."""
        return _key(self.extractor, self.layer)

    def fitted(self, number: int) -> Any:
        """Extractor as it is for one split."""
        if isinstance(self.features, _LearnedFeatures):
            return self.features.fitted(number)
        return self.extractor


@dataclass(frozen=True, eq=False)
class Candidates:
    """Images that could be read, how they are split, and their features.

    Attributes
    ----------
    dataset : ImageDataset
    folds : list of (ndarray, ndarray)
    kinds : list of Kind
    failures : list of (str, str)
    provenance : dict
    store : FeatureStore or None
    """

    dataset: ImageDataset
    folds: list[Split]
    kinds: list[Candidate]
    failures: list[tuple[str, str]]
    provenance: dict[str, Any]
    store: FeatureStore | None

    @cached_property
    def digests(self) -> list[Any]:
        """Digest of each image's content."""
        return list(find_digests(self.dataset.images, self.store))

    @cached_property
    def copies(self) -> Indices:
        """Test images that are among the training images of the same split, too."""
        return find_copies(self.folds, self.digests)


@dataclass(eq=False)
class _LearnedFeatures:
    """Features of an extractor that learns from the training images of each split.

    Parameters
    ----------
    extractor : Extractor
        Not fitted. With a store, local descriptors are computed once for all splits.
    dataset : ImageDataset
    folds : sequence of (ndarray, ndarray)
    """

    extractor: Any
    dataset: ImageDataset
    folds: Sequence[Split]
    _fitted: dict[int, Any] = field(default_factory=dict)

    def __call__(self, number: int) -> Matrix:
        """Features of all images, the extractor having seen the training images alone."""
        learner = self.extractor
        rows = extract(
            self.dataset, self.fitted(number), store=learner.store, n_jobs=learner.n_jobs
        )
        for path, reason in rows.failures:
            raise DatasetError(f"{path}: {learner} cannot read it ({reason}); exclude it.")
        return rows.X

    def fitted(self, number: int) -> Any:
        """The extractor, fitted to the training images of a split."""
        if number not in self._fitted:
            missing = [index for index in range(len(self.folds)) if index not in self._fitted]
            # With a store, fitting reads rows and little else; without, all cores extract them.
            is_stored = self.extractor.store is not None
            fitted = (
                map_on_cores(self._fit, missing, n_threads=1)
                if is_stored
                else map(self._fit, missing)
            )
            with phase("learn codebook"):
                self._fitted |= dict(zip(missing, fitted, strict=True))
        return self._fitted[number]

    def _fit(self, number: int) -> Any:
        train, _ = self.folds[number]
        return clone(self.extractor).fit(self.dataset.images.take(train.tolist()))

    def fit_first(self, name: str, progress: ProgressCallback) -> None:
        """Fit the extractor of the first split, with progress on what all splits share."""
        learner, (train, _) = clone(self.extractor), self.folds[0]
        self._fitted[0] = fit_extractor(
            learner, self.dataset.images, train.tolist(), name=name, progress=progress
        )

    @cached_property
    def n_features(self) -> int:
        """Columns."""
        return int(self.fitted(0).n_features(""))


def gather_candidates(
    dataset: ImageDataset,
    extractors: Any,
    protocol: Protocol,
    *,
    store: FeatureStore | None,
    has_controls: bool,
    progress: ProgressCallback,
    **parameters: Any,
) -> Candidates:
    """Features of all extractors and controls, on the same images and splits.

    Parameters
    ----------
    dataset : ImageDataset
        With labels.
    extractors : SPEC, Extractor, or list of these
    protocol : Protocol
    store : FeatureStore or None
    has_controls : bool
        Whether raw pixels, mean color and, of each network, its random-weights control take
        part.
    progress : ProgressCallback
    **parameters
        As in `featx.extract`.

    Raises
    ------
    DatasetError
        If there are no labels or none of the images can be read.
    """
    if dataset.labels is None:
        raise DatasetError(
            f"{dataset.source}: no labels; expected folders <class>/<image>, or a manifest with "
            "a column 'label'."
        )
    split_readable(protocol, dataset, ())  # Says what is wrong before anything is computed.
    speed: dict[str, Any] = {"n_jobs": parameters.get("n_jobs")}
    chosen = [item for job in plan_jobs(extractors, **parameters) for item in _candidates_of(job)]
    controls = _controls(chosen, speed) if has_controls else []
    if dataset.images.reading.n_bands != Producer.n_bands:  # Only networks take so many bands.
        controls = [control for control in controls if control.layer]
    candidates = [*chosen, *controls]
    steady = [
        candidate.extractor for candidate in candidates if not must_learn(candidate.extractor)
    ]
    rows = extract(dataset, steady or "mean_color", store=store, progress=progress, **speed)
    rows.check_finite()
    readable = _among(dataset, rows.paths)
    folds = split_readable(protocol, readable, rows.failures)
    blocks = _blocks(steady, rows)
    kinds = []
    for candidate in candidates:
        features: Any = blocks.get(candidate.key)
        if features is None:
            learner = portable(candidate.extractor).set_params(store=store, **speed)
            features = _LearnedFeatures(learner, readable, folds)
            features.fit_first(candidate.spec, progress)
        kinds.append(replace(candidate, features=features, n_features=_width(features)))
    return Candidates(readable, folds, kinds, rows.failures, rows.provenance, store)


def _candidates_of(job: Job) -> list[Candidate]:
    """One feature set for each layer of a job, nothing computed yet."""
    candidates = []
    for layer, name in job.names.items():
        extractor = portable(job.extractor)
        if layer:
            extractor.set_params(layer=layer)
        spec = spec_of(extractor, is_full=True) if layer == name else name
        candidates.append(Candidate(spec, layer, extractor, False, None, 0))
    return candidates


def _controls(chosen: Sequence[Candidate], speed: dict[str, Any]) -> list[Candidate]:
    """What any features must pass: pixels, mean color, networks of random weights."""
    random_weights = [
        portable(candidate.extractor).set_params(weights="random")
        for candidate in chosen
        if candidate.layer and candidate.extractor.weights != "random"
    ]
    jobs = plan_jobs([*CONTROLS, *_distinct(random_weights)], **speed)
    keys = {candidate.key for candidate in chosen}
    controls = [
        replace(candidate, is_control=True) for job in jobs for candidate in _candidates_of(job)
    ]
    return [candidate for candidate in controls if candidate.key not in keys]


def _distinct(extractors: Sequence[Any]) -> list[Any]:
    """Extractors without those that are like an earlier one."""
    return list({spec_of(extractor): extractor for extractor in extractors}.values())


def _blocks(steady: Sequence[Any], rows: FeatureSet) -> dict[str, Matrix]:
    """Columns of each kind that does not learn, by its key."""
    if not steady:
        return {}
    return {
        _key(job.extractor, layer): rows.layer(name)
        for job in plan_jobs(list(steady))
        for layer, name in job.names.items()
    }


def _key(extractor: Any, layer: str) -> str:
    """The same for extractors that give the same numbers."""
    return fingerprint({**extractor.settings(layer), "state": None})


def _width(features: Any) -> int:
    return features.n_features if isinstance(features, _LearnedFeatures) else features.shape[1]


def _among(dataset: ImageDataset, names: Any) -> ImageDataset:
    """Images of these names, in the data's order."""
    wanted = set(map(str, names))
    if len(wanted) == len(dataset):
        return dataset
    return dataset.take([i for i, name in enumerate(dataset.names) if name in wanted])
