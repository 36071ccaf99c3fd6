"""Which images an embedding shows, and what is known of each."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from featx.analysis.similarity import Indices
from featx.evaluation.split_scores import SplitScores
from featx.features.feature_set import FeatureSet

MAX_IMAGES = 5000


def sample_evenly(labels: Any, n_wanted: int, random_state: int = 0) -> Indices:
    """Places of at most so many rows, in ascending order, shared out by the sizes of classes.

    Examples
    --------
    >>> int(sample_evenly(["a"] * 80 + ["b"] * 20, 10).searchsorted(80))
    8
    """
    labels = np.asarray(labels)
    if len(labels) <= n_wanted:
        return np.arange(len(labels))
    rng = np.random.default_rng(random_state)
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    # Every so many of the rows in the order of their classes: each class has its share.
    taken = (np.arange(n_wanted) * len(labels)) // n_wanted
    return np.sort(order[taken])


def predictions_of(scores: SplitScores, n_images: int) -> npt.NDArray[Any]:
    """Predicted class of each image as a test image; None if it was never tested."""
    predicted: npt.NDArray[Any] = np.full(n_images, None, object)
    for prediction in scores.predictions:
        predicted[prediction.indices] = prediction.predicted
    return predicted


def list_points(features: FeatureSet, predicted: npt.NDArray[Any]) -> dict[str, Any]:
    """What each point of a map is, as ``details["points"]`` of a result has it."""
    texts = [None if value is None else str(value) for value in predicted]

    def column(values: Any) -> list[str] | None:
        return None if values is None else [str(value) for value in values]

    return {
        "paths": column(features.paths),
        "labels": column(features.labels),
        "splits": column(features.splits),
        "domains": column(features.domains),
        "predicted": texts if any(value is not None for value in texts) else None,
    }
