"""Confusion and similarity matrices, prepared once for the figures and for the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.features.results import Result


@dataclass(frozen=True, eq=False)
class ConfusionData:
    """Test images by true and predicted class.

    Attributes
    ----------
    classes : tuple of str
    counts : ndarray of int, shape (n_classes, n_classes)
        Rows are true.
    """

    classes: tuple[str, ...]
    counts: npt.NDArray[Any]

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """Counts as shares of the true class, 0 to 1; zeros for a class without images."""
        return self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)


@dataclass(frozen=True, eq=False)
class SimilarityData:
    """Linear CKA of each layer with each.

    Attributes
    ----------
    layers : tuple of str
    values : ndarray of shape (n_layers, n_layers), 0 to 1
    """

    layers: tuple[str, ...]
    values: npt.NDArray[np.float64]


def prepare_confusions(result: Result) -> dict[str, ConfusionData]:
    """Confusion of each feature set by its SPEC, in the order of the result.

    Examples
    --------
    >>> confusion = {"hog": {"classes": ["ant", "bee"], "matrix": [[3, 1], [0, 4]]}}
    >>> result = Result("probe", "photos", [], details={"confusion": confusion})
    >>> prepare_confusions(result)["hog"].shares.tolist()
    [[0.75, 0.25], [0.0, 1.0]]
    """
    return {
        spec: ConfusionData(tuple(entry["classes"]), np.asarray(entry["matrix"]))
        for spec, entry in (result.details.get("confusion") or {}).items()
        if entry
    }


def prepare_similarity(result: Result) -> SimilarityData | None:
    """Similarity of the layers of a depth profile, None where it was not measured.

    Examples
    --------
    >>> cka = {"layers": ["pool1", "fc7"], "matrix": [[1, 0.5], [0.5, 1]]}
    >>> prepare_similarity(Result("depth", "photos", [], details={"cka": cka})).layers
    ('pool1', 'fc7')
    """
    entry = result.details.get("cka")
    if not entry or not entry.get("matrix"):
        return None
    return SimilarityData(tuple(entry["layers"]), np.asarray(entry["matrix"], float))
