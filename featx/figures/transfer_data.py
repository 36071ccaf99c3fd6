"""Accuracy within a domain and beyond it, prepared once for the figure and for the page."""

from __future__ import annotations

from dataclasses import dataclass

from featx.features.results import Result

_MEAN = "mean"


@dataclass(frozen=True)
class TransferPoint:
    """One feature set: accuracy on its own domain, and on others with the interval.

    Attributes
    ----------
    spec : str
    alignment : str
        ``coral``, or empty where domains were not aligned.
    source, target : float
        Accuracies, averaged over all pairs of domains.
    low, high : float or None
        Interval of `target`.
    """

    spec: str
    alignment: str
    source: float
    target: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class TransferData:
    """Feature sets in the order of the result's rows."""

    points: tuple[TransferPoint, ...]


def prepare_transfer(result: Result) -> TransferData | None:
    """Averages over all pairs of domains, None where a result has none.

    Examples
    --------
    >>> row = {"spec": "hog", "source": "mean", "target": "mean", "alignment": "none",
    ...        "source_accuracy": 0.6, "target_accuracy": 0.3}
    >>> prepare_transfer(Result("transfer", "photos", [row])).points[0].target
    0.3
    """
    points = tuple(
        TransferPoint(
            spec=str(row.get("spec", "")),
            alignment="" if row.get("alignment") in (None, "none") else row["alignment"],
            source=row["source_accuracy"],
            target=row["target_accuracy"],
            low=row.get("low"),
            high=row.get("high"),
        )
        for row in result.rows
        if row.get("source") == row.get("target") == _MEAN
        if None not in (row.get("source_accuracy"), row.get("target_accuracy"))
    )
    return TransferData(points) if points else None
