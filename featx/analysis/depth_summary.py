"""What a depth profile shows, in sentences drawn from its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Row = dict[str, Any]


def describe_depth(rows: Sequence[Row], model: str, n_classes: int, n_images: int) -> list[str]:
    """Sentences on the rows of `featx.depth_profile`.

    Parameters
    ----------
    rows : sequence of dict
    model : str
    n_classes, n_images : int

    Returns
    -------
    list of str

    Examples
    --------
    >>> row = {"accuracy": 0.5, "low": 0.4, "high": 0.6, "purity": 0.3, "silhouette": 0.0,
    ...        "purity_shuffled": 0.1, "silhouette_shuffled": 0.0}
    >>> rows = [{"layer": "pool1", **row}, {"layer": "fc7", **row, "accuracy": 0.7, "low": 0.6}]
    >>> describe_depth(rows, "alexnet", 10, 100)[0]
    'Accuracy of a linear probe on alexnet: 0.500 at pool1, 0.700 at fc7, the best.'
    """
    first, last = rows[0], rows[-1]
    best = max(rows, key=lambda row: row["accuracy"])
    sentences = [
        _accuracy(first, last, best, model),
        f"{_clusters(first, last)} ({n_images:,} images of {n_classes} classes).",
    ]
    return [*sentences, *_early_enough(rows, best), *_controls(rows, n_classes)]


def _clusters(first: Row, last: Row) -> str:
    """How far images of a class are near each other; a single layer is named once."""
    share = f"{first['purity']:.0%} are of the same class at {first['layer']}"
    silhouette = f"is {first['silhouette']:.2f}"
    if first is not last:
        share += f", {last['purity']:.0%} at {last['layer']}"
        silhouette = f"goes from {first['silhouette']:.2f} to {last['silhouette']:.2f}"
    return (
        f"Of the ten nearest images {share}; {last['purity_shuffled']:.0%} with shuffled labels. "
        f"The silhouette {silhouette}"
    )


def _accuracy(first: Row, last: Row, best: Row, model: str) -> str:
    head = f"Accuracy of a linear probe on {model}: {first['accuracy']:.3f} at {first['layer']}"
    if first is last:
        return f"{head}."
    tail = f"{last['accuracy']:.3f} at {last['layer']}"
    if best is last:
        return f"{head}, {tail}, the best."
    return f"{head}, {tail}; the best is {best['layer']} with {best['accuracy']:.3f}."


def _early_enough(rows: Sequence[Row], best: Row) -> list[str]:
    """The first layer that the best one's interval does not rule out."""
    early = next(row for row in rows if row["accuracy"] >= best["low"])
    if early is best:
        return []
    return [
        f"{early['layer']} is the first layer within the interval of the best: "
        f"{early['accuracy']:.3f}, against {best['accuracy']:.3f} "
        f"({best['low']:.3f} to {best['high']:.3f}) at {best['layer']}."
    ]


def _controls(rows: Sequence[Row], n_classes: int) -> list[str]:
    last = rows[-1]
    sentences = []
    if last.get("accuracy_shuffled") is not None:
        highest = max(row["accuracy_shuffled"] for row in rows)
        sentences.append(
            f"With shuffled labels accuracy is at most {highest:.3f}; chance is "
            f"{1 / n_classes:.3f} for classes of one size."
        )
    if last.get("purity_random") is not None:
        best = max(rows, key=lambda row: row["accuracy"])
        parts = [_gain(rows, best, name) for name in ("accuracy", "purity", "silhouette")]
        area = ", and in the mean over depth (the area between the curves)" * (len(rows) > 1)
        sentences.append(
            f"What training adds to random weights at {best['layer']}"
            f"{', the best layer' * (len(rows) > 1)}{area}: {'; '.join(parts)}."
        )
    return sentences


def _gain(rows: Sequence[Row], best: Row, name: str) -> str:
    """Difference to random weights at the best layer, and the area between the two curves."""
    gains = np.array([row[name] - row[f"{name}_random"] for row in rows])
    at_best = f"{name} {best[name] - best[f'{name}_random']:+.3f}"
    # Layers stand one step apart, as on the figure: the mean of the steps' trapezoids.
    return (
        f"{at_best} and {((gains[1:] + gains[:-1]) / 2).mean():+.3f}" if len(rows) > 1 else at_best
    )
