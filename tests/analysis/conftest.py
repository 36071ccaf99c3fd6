"""Layers of features that gather into classes, as those of a network do."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import make_blobs

LAYERS = ("pool1", "pool5", "fc7")


def layers_of(n: int = 120, n_twins: int = 0) -> dict[str, np.ndarray]:
    """Three layers in which four classes gather more and more; the last rows are twins."""
    made = {}
    for i, name in enumerate(LAYERS):
        X, _ = make_blobs(n, 12, centers=4, cluster_std=8 - 3 * i, random_state=0)
        X[n - n_twins :] = X[:n_twins]
        made[name] = X.astype(np.float32)
    return made
