"""Learning curves side by side, and what transfer gains over training from scratch."""

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

    A level is the accuracy of features that do not train, which has no epochs.

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
    """Higher start, slope and asymptote of each curve than the reference's, over runs.

    Parameters
    ----------
    curves : sequence of dict
        As `curve_of` gives them; those of the same split and seed are compared.
    reference : str, default="scratch"

    Returns
    -------
    list of dict
        ``name``, ``gain`` (``start``: after the first epoch; ``slope``: accuracy gained an
        epoch until nine tenths of the rise; ``asymptote``: mean of the last epochs), ``mean``,
        ``low``, ``high``. A run of one epoch has no slope, and a level neither.

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
            has_it = gain != "slope" or min(lengths[name], lengths.get(reference, 0)) > 1
            if name == reference or not shared or not has_it:
                continue
            found = interval([runs[run][gain] - base[run][gain] for run in shared])
            rows.append({"name": name, "gain": gain, **found._asdict(), "n_runs": len(shared)})
    return rows


def _read_curve(values: Sequence[float]) -> dict[str, float]:
    """Start, slope and asymptote of one curve.

    Examples
    --------
    >>> found = _read_curve([0.5, 0.75, 1.0, 1.0, 1.0, 1.0])
    >>> found["start"], found["slope"], found["asymptote"]
    (0.5, 0.25, 1.0)
    """
    start = float(values[0])
    asymptote = float(np.mean(values[-_N_LAST:]))
    risen = next(
        (i for i, value in enumerate(values) if value >= start + 0.9 * (asymptote - start)), 0
    )
    slope = (float(values[risen]) - start) / risen if risen else 0.0
    return {"start": start, "slope": slope, "asymptote": asymptote}


def say_gains(rows: Sequence[Mapping[str, Any]], reference: str = "scratch") -> list[str]:
    """Gains in words, one sentence for each curve."""
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
