"""What a depth profile shows, in sentences drawn from its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
    found = [
        _accuracy(first, last, best, model),
        f"Of the ten nearest pictures {first['purity']:.0%} are of the same class at "
        f"{first['layer']}, {last['purity']:.0%} at {last['layer']}; "
        f"{last['purity_shuffled']:.0%} with shuffled labels. The silhouette of the "
        f"{n_classes} classes goes from {first['silhouette']:.2f} to {last['silhouette']:.2f} "
        f"({n_images:,} pictures).",
    ]
    return [*found, *_early_enough(rows, best), *_controls(rows, n_classes)]


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
    first, last = rows[0], rows[-1]
    found = []
    if last.get("accuracy_shuffled") is not None:
        highest = max(row["accuracy_shuffled"] for row in rows)
        found.append(
            f"With shuffled labels accuracy is at most {highest:.3f}; chance is "
            f"{1 / n_classes:.3f} for classes of one size."
        )
    if last.get("purity_random") is not None and len(rows) > 1:
        parts = [_rise(first, last, name) for name in ("accuracy", "purity", "silhouette")]
        found.append(
            f"From {first['layer']} to {last['layer']}, trained against random weights: "
            f"{'; '.join(parts)}."
        )
    return found


def _rise(first: Row, last: Row, name: str) -> str:
    trained = last[name] - first[name]
    random = last[f"{name}_random"] - first[f"{name}_random"]
    return f"{name} {trained:+.3f} against {random:+.3f}"
