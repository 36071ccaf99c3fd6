"""One feature set of a data set as one map: `map_images`."""

from __future__ import annotations

from typing import Any

import numpy as np

from featx.analysis.embedding import METHODS, map_spaces
from featx.analysis.points import (
    MAX_IMAGES,
    list_points,
    predictions_of,
    sample_evenly,
)
from featx.analysis.similarity import Indices, Space
from featx.data.datasets import ImageDataset
from featx.engine.extraction import extract
from featx.engine.jobs import plan_jobs
from featx.engine.session import open_session
from featx.errors import DatasetError, ProjectionError, SpecError
from featx.evaluation.protocols import Protocol, find_protocol
from featx.evaluation.split_checks import split_readable
from featx.evaluation.split_scores import make_probe, score_splits
from featx.features.feature_set import FeatureSet
from featx.features.results import Result
from featx.streaming.progress import ProgressCallback

_COLORS = ("class", "domain", "split", "correct")


def map_images(
    data: Any,
    extractor: Any = None,
    *,
    model: str | None = None,
    layer: str | None = None,
    method: str = "umap",
    color: str | None = None,
    protocol: str | Protocol | None = None,
    max_images: int = MAX_IMAGES,
    random_state: int = 0,
    domains: Any = None,
    store: Any = "default",
    progress: ProgressCallback | None = None,
    **parameters: Any,
) -> Result:
    """Images on one map, by one feature set.

    Parameters
    ----------
    data : str, path, list of these, or ImageDataset
    extractor : SPEC or Extractor, optional
        By default the network `model` at `layer`.
    model, layer : str, optional
    method : {"umap", "pca", "tsne"}, default="umap"
    color : {"class", "domain", "split", "correct"}, optional
        What the color of a point means; ``correct`` is whether a linear probe that was not
        trained on an image gets it right. By default the class, where it is known.
    protocol : str or Protocol, optional
        How the probe is trained.
    max_images : int, default=5000
        Of more images so many are mapped, of all classes alike.
    random_state : int, default=0
    domains : bool or list of str, optional
    store : path, FeatureStore or None, default="default"
    progress : ProgressCallback, optional
    **parameters
        Passed to the extractor.

    Returns
    -------
    Result
        One row; ``details`` has the map, what each point is, and its group.

    Raises
    ------
    DatasetError
        If what should color the points is not known.
    SpecError
        If there are several feature sets.

    Examples
    --------
    >>> from featx import load_dataset
    >>> digits = load_dataset("digits").take(range(50))
    >>> result = map_images(digits, "hog,image_size=32", method="pca", store=None)
    >>> len(result.details["maps"][0]["coordinates"]), result.details["groups"][:3]
    (50, ['0', '1', '2'])
    """
    dataset, cache, progress, parameters = open_session(
        data, domains=domains, store=store, progress=progress, **parameters
    )
    color = _checked_color(color, dataset)
    if method not in METHODS:
        raise ProjectionError(f"method must be one of {', '.join(METHODS)}; got {method!r}.")
    kinds = {"model": model, "layer": layer, **parameters}
    spec = _one_spec(extractor, **kinds)
    features = extract(dataset, extractor, store=cache, progress=progress, **kinds)
    features.check_finite()
    rules = find_protocol(protocol, features.splits, features.labels, random_state=random_state)
    predicted, accuracy = _predict(features, rules) if color == "correct" else (None, None)
    shown = _shown(features, max_images, random_state, progress)
    name = next(iter(features.blocks))
    part = features.take(shown)
    embedding = map_spaces({name: Space(part.X)}, method, random_state=random_state)[0]
    none = np.full(len(features), None, object)
    points = list_points(part, (none if predicted is None else predicted)[shown])
    row = {
        "spec": spec,
        "layer": name,
        "trustworthiness": embedding.trustworthiness,
        "neighbors_kept": embedding.neighbors_kept,
        "n_features": features.X.shape[1],
        "accuracy": accuracy,
    }
    return Result(
        command="umap",
        data=features.provenance["data"],
        rows=[row],
        protocol={"method": method, "color": color, "random_state": random_state,
                  "n_mapped": len(shown)} | ({} if predicted is None else rules.to_dict()),
        sentences=[_sentence(row, method, len(shown))],
        failures=features.failures,
        details={"maps": [embedding.to_dict()], "points": points, "groups": _groups(points, color)},
        provenance=features.provenance,
    )  # fmt: skip


def _checked_color(color: str | None, dataset: ImageDataset) -> str | None:
    """What the color of a point means, after a check that it is known for these images."""
    if color is None:
        return None if dataset.labels is None else "class"
    if color not in _COLORS:
        raise ProjectionError(f"color must be one of {', '.join(_COLORS)}; got {color!r}.")
    known = {"domain": dataset.domains, "split": dataset.splits}.get(color, dataset.labels)
    if known is None:
        folders = {
            "domain": "--domains all and folders <domain>/<class>/<image>",
            "split": "folders train/ and test/ above the classes",
        }.get(color, "folders <class>/<image>, or a manifest with a column 'label'")
        raise DatasetError(
            f"{dataset.source}: cannot color by {color}: the data has none; expected {folders}."
        )
    return color


def _one_spec(extractor: Any, **kinds: Any) -> str:
    """The name of the features; several kinds are refused before anything is computed."""
    from featx.engine.specs import spec_of

    jobs = plan_jobs(extractor, **kinds)
    if sum(len(job.names) for job in jobs) != 1:
        names = ", ".join(name for job in jobs for name in job.names.values())
        raise SpecError(f"An embedding shows one feature set; got {names}.")
    return spec_of(jobs[0].extractor)


def _predict(features: FeatureSet, rules: Protocol) -> tuple[Any, float]:
    """Class that a probe says of each image it was not trained on, and its accuracy."""
    folds = split_readable(rules, features, features.failures)
    scores = score_splits(
        features.X, features.labels, folds, make_probe(rules), groups=features.groups
    )
    return predictions_of(scores, len(features)), scores.accuracy


def _shown(
    features: FeatureSet, max_images: int, random_state: int, progress: ProgressCallback
) -> Indices:
    labels = features.labels if features.labels is not None else np.zeros(len(features), int)
    shown = sample_evenly(labels, max_images, random_state)
    if len(shown) < len(features):
        progress.note(f"{len(shown):,} of {len(features):,} images are mapped")
    return shown


def _groups(points: dict[str, Any], color: str | None) -> list[str]:
    """Group of each point, which decides its color."""
    if color is None:
        return ["image"] * len(points["paths"])
    if color != "correct":
        column = {"class": "labels", "domain": "domains", "split": "splits"}[color]
        return [value or f"no {color}" for value in points[column]]
    return [
        "not tested" if predicted is None else "right" if predicted == true else "wrong"
        for predicted, true in zip(points["predicted"], points["labels"], strict=True)
    ]


def _sentence(row: dict[str, Any], method: str, n_images: int) -> str:
    judged = "" if row["accuracy"] is None else f" A probe gets {row['accuracy']:.1%} right."
    return (
        f"{n_images:,} images by {row['layer']} ({method}): trustworthiness "
        f"{row['trustworthiness']:.3f}, {row['neighbors_kept']:.0%} of the ten nearest are still "
        f"the nearest in the map.{judged}"
    )
