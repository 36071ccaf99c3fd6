"""Learning curves, and the gains of transfer over training from scratch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from featx.evaluation.scores import interval

_N_LAST = 3
"""Epochs at the end of a curve whose mean is its asymptote."""


def curve_of(
    name: str,
    seed: int,
    history: Sequence[Mapping[str, Any]],
    *,
    split: int = 0,
    is_level: bool = False,
) -> dict[str, Any]:
    """One training run as a curve for a report; stages follow one another.

    A level is the accuracy of features that are not trained, which has no epochs.

    Examples
    --------
    >>> curve_of("head", 0, [{"train_loss": 0.5, "valid_acc": 0.75}])["valid_accuracy"]
    [0.75]
    """
    return {
        "name": name,
        "seed": seed,
        "split": split,
        "is_level": is_level,
        "epoch": list(range(1, len(history) + 1)),
        "train_loss": [row.get("train_loss") for row in history],
        "valid_accuracy": [row.get("valid_acc") for row in history],
    }


def measure_gains(
    curves: Sequence[Mapping[str, Any]], *, reference: str = "scratch"
) -> list[dict[str, Any]]:
    """Gains in start, slope and asymptote of each curve over the reference.

    Parameters
    ----------
    curves : sequence of dict
        As `curve_of` returns them; curves of the same split and seed are compared.
    reference : str, default="scratch"

    Returns
    -------
    list of dict
        ``name``, ``gain`` (``start``: after the first epoch; ``slope``: accuracy gained per
        epoch until nine tenths of the rise; ``asymptote``: mean of the last epochs), ``mean``,
        ``low``, ``high``, ``n_runs``. Runs of one epoch and levels have no slope.

    Notes
    -----
    The three gains are those of Torrey and Shavlik, "Transfer Learning", Handbook of Research
    on Machine Learning Applications (2009).
    """
    by_name: dict[str, dict[tuple[int, int], dict[str, float]]] = {}
    lengths: dict[str, int] = {}
    for curve in curves:
        values = [v for v in curve["valid_accuracy"] if v is not None]
        if values:
            run = curve["split"], curve["seed"]
            by_name.setdefault(curve["name"], {})[run] = _read_curve(values)
            lengths[curve["name"]] = max(lengths.get(curve["name"], 0), len(values))
    base = by_name.get(reference, {})
    rows = []
    for name, runs in by_name.items():
        shared = sorted(base.keys() & runs.keys())
        for gain in ("start", "slope", "asymptote"):
            is_defined = gain != "slope" or min(lengths[name], lengths.get(reference, 0)) > 1
            if name == reference or not shared or not is_defined:
                continue
            mean = interval([runs[run][gain] - base[run][gain] for run in shared])
            rows.append({"name": name, "gain": gain, **mean._asdict(), "n_runs": len(shared)})
    return rows


def _read_curve(values: Sequence[float]) -> dict[str, float]:
    """Start, slope and asymptote of one curve.

    Examples
    --------
    >>> _read_curve([0.5, 0.75, 1.0, 1.0, 1.0, 1.0])
    {'start': 0.5, 'slope': 0.25, 'asymptote': 1.0}
    """
    start = float(values[0])
    asymptote = float(np.mean(values[-_N_LAST:]))
    risen = next(
        (i for i, value in enumerate(values) if value >= start + 0.9 * (asymptote - start)), 0
    )
    slope = (float(values[risen]) - start) / risen if risen else 0.0
    return {"start": start, "slope": slope, "asymptote": asymptote}


def describe_gains(rows: Sequence[Mapping[str, Any]], reference: str = "scratch") -> list[str]:
    """Gains as sentences, one per curve."""
    names = list(dict.fromkeys(row["name"] for row in rows))
    return [
        f"{name} against {reference}: "
        + ", ".join(
            f"{row['gain']} {row['mean']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
            for row in rows
            if row["name"] == name
        )
        + "."
        for name in names
    ]
