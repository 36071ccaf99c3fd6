"""How classes form with depth, layer by layer of a network: `depth_profile`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from featx._linalg import take_rows
from featx._lists import parse_names
from featx.analysis.depth_summary import describe_depth
from featx.analysis.embedding import METHODS, map_spaces
from featx.analysis.layer_choice import N_MAPS, choose_apart, choose_layers
from featx.analysis.metrics import (
    N_NEIGHBORS,
    cka_matrix,
    measure,
    measure_names,
)
from featx.analysis.points import MAX_IMAGES, list_points, predictions_of, sample_evenly
from featx.analysis.similarity import Space
from featx.data.datasets import ImageDataset
from featx.engine.extraction import extract
from featx.engine.session import open_session
from featx.engine.specs import make_extractor, spec_of
from featx.errors import DatasetError, ProjectionError
from featx.evaluation.protocols import Protocol, find_protocol
from featx.evaluation.split_checks import describe_splits, find_copies, split_readable
from featx.evaluation.split_scores import SplitScores, make_probe, score_splits
from featx.features.feature_set import FeatureSet
from featx.features.results import Result
from featx.networks.configs import list_layers
from featx.networks.layers import LayerTable
from featx.store.feature_store import find_digests
from featx.streaming.progress import ProgressCallback

_SHUFFLED_C = 0.01


def depth_profile(
    data: Any,
    model: Any = "featxnet",
    layers: str | Sequence[str] = "all",
    *,
    pooling: str = "gap",
    weights: Any = "default",
    protocol: str | Protocol | None = None,
    method: str = "umap",
    maps: str | Sequence[str] = "auto",
    max_images: int = MAX_IMAGES,
    has_controls: bool = True,
    random_state: int = 0,
    class_weight: str | None = None,
    domains: Any = None,
    groups: str | bool | None = None,
    store: Any = "default",
    progress: ProgressCallback | None = None,
    **parameters: Any,
) -> Result:
    """Accuracy and clusters at each layer of a network, with controls and embeddings.

    Parameters
    ----------
    data : str, path, list of these, or ImageDataset
        Labeled images, as in `featx.load_dataset`.
    model : str, path or torch.nn.Module, default="featxnet"
    layers : str or list of str, default="all"
        ``all`` takes one layer for each step of the network; see
        `featx.analysis.layer_choice.choose_layers`.
    pooling : str, default="gap"
        How feature maps are pooled; with global average pooling a layer has a few hundred columns.
    weights : str or path, default="default"
    protocol : str or Protocol, optional
        How accuracy is measured; by default on the folders of the data, else by cross-validation.
    method : {"umap", "pca", "tsne"}, default="umap"
    maps : {"auto", "all", "none"} or list of str, default="auto"
        Layers to embed; ``auto`` takes six that are spread along the curve of purity.
    max_images : int, default=5000
        Maximum number of images to measure and embed, drawn evenly from all classes. Accuracy
        is always that of all images.
    has_controls : bool, default=True
        Whether to measure shuffled labels and the network with random weights, too.
    random_state : int, default=0
    class_weight : {"balanced"}, optional
    domains : bool or list of str, optional
    groups : str or False, optional
        As in `featx.compare`, like `class_weight`.
    store : path, FeatureStore or None, default="default"
    progress : ProgressCallback, optional
    **parameters
        Passed to the network: ``size``, ``precision``, ``n_jobs``, ``device``.

    Returns
    -------
    Result
        A row for each layer in order of execution, see the Notes; ``details`` has ``maps``,
        ``points`` (the image of each point of an embedding) and ``cka``.

    Raises
    ------
    DatasetError
        If the images have no labels or only one.
    LayerError
        If a layer is not in the network.

    Notes
    -----
    For each layer: ``accuracy`` of a linear probe with its interval ``low`` to ``high``;
    ``purity``, the fraction of the ten nearest images by cosine that have the image's class;
    ``silhouette`` by cosine; ``nmi`` and ``ari`` of k-means with as many clusters as classes;
    ``intrinsic_dimension`` (TwoNN). ``_shuffled`` is the same with permuted labels (the
    probe then has a fixed C), ``_random`` the same with random weights.

    Examples
    --------
    >>> from featx import load_dataset
    >>> digits = load_dataset("digits").take(range(100))
    >>> profile = depth_profile(digits, layers="pool1,fc7", store=None, maps="none",
    ...                         weights="random", has_controls=False)
    >>> [row["layer"] for row in profile.rows]
    ['pool1', 'fc7']
    """
    dataset, cache, progress, parameters = open_session(
        data, domains=domains, groups=groups, store=store, progress=progress, **parameters
    )
    dataset = _labeled(dataset, progress)
    table_options = {key: parameters[key] for key in ("size", "crop", "trust") if key in parameters}
    table = list_layers(model, **table_options)
    network = {"model": model, "pooling": pooling, **parameters}
    names = choose_layers(table, layers, pooling)
    _check_maps(method, maps, names)
    rules = find_protocol(
        protocol,
        dataset.splits,
        dataset.labels,
        random_state=random_state,
        class_weight=class_weight,
    )
    split_readable(rules, dataset, ())  # Says what is wrong before anything is computed.
    study = _Study(table, rules, random_state, max_images, progress)
    with study.timed("extraction"):
        known = {"store": cache, "progress": progress, "layer": names, **network}
        features = extract(dataset, weights=weights, **known)
        features.check_finite()
        random_weights = None
        if has_controls and weights != "random":
            progress.note("control: the same network with random weights")
            random_weights = _same_images(extract(dataset, weights="random", **known), features)
    rows = study.rows(features, random_weights, has_controls=has_controls)
    specs = _specs(names, table.model, {**network, "weights": weights})
    rows = [{"spec": spec, **row} for spec, row in zip(specs, rows)]
    readable = dataset.take(np.flatnonzero(np.isin(dataset.names, features.paths)))
    copies = find_copies(study.folds, find_digests(readable.images, cache))
    details = study.details(rows, features, method, maps)
    return Result(
        command="depth",
        data=features.provenance["data"],
        rows=rows,
        protocol=study.protocol(pooling=pooling, method=method),
        sentences=[
            *describe_splits(readable, rules, study.folds, copies),
            *describe_depth(rows, table.model, study.n_classes, study.n_shown),
        ],
        failures=features.failures,
        details=details,
        provenance={**features.provenance, "seconds": study.seconds},
    )


@dataclass
class _Study:
    """What all layers of one profile share."""

    table: LayerTable
    rules: Protocol
    random_state: int
    max_images: int
    progress: ProgressCallback
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the time that a part takes to its sum."""
        started = time.perf_counter()
        yield
        taken = time.perf_counter() - started
        self.seconds[name] = round(self.seconds.get(name, 0.0) + taken, 3)

    def rows(
        self, features: FeatureSet, random_weights: FeatureSet | None, *, has_controls: bool
    ) -> list[dict[str, Any]]:
        """Row of each layer; its features are kept if an embedding needs them."""
        self.labels, self.groups = features.labels, features.groups
        self.n_classes = len(np.unique(self.labels))
        self.folds = split_readable(self.rules, features, features.failures)
        self.splits = features.splits
        self.shown = sample_evenly(self.labels, self.max_images, self.random_state)
        self.n_shown = len(self.shown)
        self.has_controls = has_controls
        if self.n_shown < len(features):
            self.progress.note(
                f"{self.n_shown:,} of {len(features):,} images are measured and mapped"
            )
        self.spaces: dict[str, Space] = {}
        return [self._row(features, random_weights, name) for name in features.blocks]

    def details(
        self, rows: list[dict[str, Any]], features: FeatureSet, method: str, maps: Any
    ) -> dict[str, Any]:
        """Similarity of the layers, maps of some, and what each point is."""
        with self.timed("cka"):
            matrix = cka_matrix(list(self.spaces.values())).round(4).tolist()
        names = _mapped(maps, rows)
        with self.timed("maps"):
            maps = self._maps(names, method)
        return {
            "maps": maps,
            "points": list_points(features.take(self.shown), self.predicted[self.shown]),
            "cka": {"layers": list(self.spaces), "matrix": matrix},
        }

    def protocol(self, **more: str) -> dict[str, Any]:
        """What fixes the numbers."""
        return {
            **self.rules.to_dict(),
            **more,
            "n_neighbors": N_NEIGHBORS,
            "n_measured": self.n_shown,
            "shuffled_C": _SHUFFLED_C,
            "random_state": self.random_state,
        }

    def _maps(self, names: list[str], method: str) -> list[dict[str, Any]]:
        if not names:
            return []
        self.progress.note(f"maps of {', '.join(names)}")
        spaces = {name: self.spaces[name] for name in names}
        embeddings = map_spaces(spaces, method, random_state=self.random_state)
        return [embedding.to_dict() for embedding in embeddings]

    def _row(
        self, features: FeatureSet, random_weights: FeatureSet | None, name: str
    ) -> dict[str, Any]:
        X = features.layer(name)
        with self.timed("measures"):
            measured = self._measure(X, name)
        with self.timed("probes"):
            scores = self._scores(X)
        self.predicted = predictions_of(scores, len(self.labels))
        row = {
            "layer": name,
            "index": self.table.find(name).index,
            "accuracy": scores.accuracy,
            "low": scores.low,
            "high": scores.high,
            **measured,
            "n_features": X.shape[1],
        }
        if self.has_controls:
            row |= self._controls(X, None if random_weights is None else random_weights.layer(name))
        self.progress.note(
            f"{name}: accuracy {row['accuracy']:.3f}, purity {row['purity']:.3f}, "
            f"silhouette {row['silhouette']:.3f}"
        )
        return row

    def _measure(self, X: Any, name: str) -> dict[str, Any]:
        space = self._space(X)
        row = measure(space, self.labels[self.shown], random_state=self.random_state)
        self.spaces[name] = space
        space.forget()
        return row

    def _controls(self, X: Any, random_weights: Any) -> dict[str, float | None]:
        """Accuracy with labels that say nothing, and everything with random weights."""
        with self.timed("controls"):
            shuffled = self._scores(X, C=_SHUFFLED_C, shuffle_seed=self.random_state)
            row: dict[str, float | None] = {"accuracy_shuffled": shuffled.accuracy}
            if random_weights is None:
                return row
            labels = self.labels[self.shown]
            measured = measure(self._space(random_weights), labels, random_state=self.random_state)
            row |= {f"{name}_random": measured[name] for name in measure_names()}
            return row | {"accuracy_random": self._scores(random_weights).accuracy}

    def _space(self, X: Any) -> Space:
        return Space(X if self.n_shown == len(X) else take_rows(X, self.shown))

    def _scores(
        self, X: Any, C: float | None = None, shuffle_seed: int | None = None
    ) -> SplitScores:
        return score_splits(
            np.asarray(X),
            self.labels,
            self.folds,
            make_probe(self.rules, C=C),
            splits=self.splits,
            groups=self.groups,
            shuffle_seed=shuffle_seed,
        )


def _labeled(dataset: ImageDataset, progress: ProgressCallback) -> ImageDataset:
    """Images of which the class is known."""
    labels = dataset.labels if dataset.labels is not None else np.full(len(dataset), "")
    known = np.flatnonzero(labels != "")
    if len(np.unique(labels[known])) < 2:
        raise DatasetError(
            f"{dataset.source}: clusters need images of 2 classes or more; got "
            f"{len(np.unique(labels[known]))}. The folder of an image names its class; a "
            "manifest has a column 'label'."
        )
    if len(known) == len(dataset):
        return dataset
    progress.note(f"{len(dataset) - len(known):,} images without a class are excluded")
    return dataset.take(known)


def _check_maps(method: str, maps: Any, names: list[str]) -> None:
    if method not in METHODS:
        raise ProjectionError(f"method must be one of {', '.join(METHODS)}; got {method!r}.")
    chosen = parse_names(maps)
    if chosen in (["auto"], ["all"], ["none"]):
        return
    for name in chosen:
        if name not in names:
            raise ProjectionError(
                f"maps must be auto, all, none, or layers among {', '.join(names)}; got {name!r}."
            )


def _mapped(maps: Any, rows: list[dict[str, Any]]) -> list[str]:
    """Layers to map, in order of execution."""
    names = [row["layer"] for row in rows]
    chosen = parse_names(maps)
    if chosen == ["auto"]:
        return [names[index] for index in choose_apart([row["purity"] for row in rows], N_MAPS)]
    if chosen == ["all"]:
        return names
    return [name for name in names if name in chosen]  # None of them is called "none".


def _same_images(random_weights: FeatureSet, features: FeatureSet) -> FeatureSet:
    if not np.array_equal(random_weights.paths, features.paths):
        raise DatasetError("Images changed while they were read; run again.")
    return random_weights


def _specs(names: list[str], model: str, network: dict[str, Any]) -> list[str]:
    """What makes each layer's features, in one word."""
    if not isinstance(network["model"], str):
        network = {**network, "model": model}
    return [spec_of(make_extractor("cnn", layer=name, **network)) for name in names]
