"""The figures of a result: which there are, and their files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from featx.finetuning.gains import has_values
from featx.plotting.clouds import METHODS, draw_maps
from featx.plotting.costs import draw_costs
from featx.plotting.curves import draw_depth, draw_learning, measures_of
from featx.plotting.matrices import draw_cka, draw_confusion
from featx.plotting.style import save_figure
from featx.plotting.transfers import draw_transfer, mean_rows
from featx.registry import parse_spec
from featx.results import Result
from featx.specs import short_specs


def draw_figures(result: Result) -> dict[str, Figure]:
    """Every figure that a result has numbers for.

    Parameters
    ----------
    result : Result
        Of ``depth``, ``umap``, ``compare``, ``probe``, ``transfer``, ``finetune``; others have
        none yet.

    Returns
    -------
    dict of str to matplotlib.figure.Figure
        Name of the file, without suffix -> figure.

    Examples
    --------
    >>> rows = [{"layer": "pool1", "accuracy": 0.5}, {"layer": "fc7", "accuracy": 0.9}]
    >>> list(draw_figures(Result("depth", "photos", rows)))
    ['depth']
    """
    return dict(_figures(result))


def save_figures(
    result: Result, folder: str | os.PathLike[str], formats: tuple[str, ...] = ("png", "svg")
) -> list[Path]:
    """Draw every figure of a result and write it to a folder.

    Parameters
    ----------
    result : Result
    folder : path
        Made if need be.
    formats : tuple of str, default=("png", "svg")

    Returns
    -------
    list of Path
        Empty where the result has no figures.

    Raises
    ------
    ResultFileError
        If they cannot be written.
    """
    return [
        file
        for name, figure in draw_figures(result).items()
        for file in save_figure(figure, Path(folder) / name, formats)
    ]


def _figures(result: Result) -> Iterator[tuple[str, Figure]]:
    details = result.details
    data = Path(str(result.data)).name or str(result.data)
    if result.command == "depth" and measures_of(result.rows):
        yield "depth", draw_depth(result.rows, f"{_model(result)}{data}")
    if details.get("maps"):
        method = METHODS.get(details["maps"][0]["method"], details["maps"][0]["method"])
        is_depth = result.command == "depth"
        title = f"{_model(result) if is_depth else ''}{data}, {method}"
        yield "maps", draw_maps(details["maps"], _groups(details), title=title)
    if details.get("cka"):
        yield "cka", draw_cka(details["cka"]["layers"], details["cka"]["matrix"])
    if result.command == "compare" and any(row.get("ms_per_image") for row in result.rows):
        yield "cost", draw_costs(result.rows, f"Accuracy against cost, {data}")
    if result.command == "transfer" and mean_rows(result.rows):
        yield "transfer", draw_transfer(result.rows, f"From domain to domain, {data}")
    if any(has_values(curve, "valid_accuracy") for curve in details.get("curves") or ()):
        runs = (details["curves"], details.get("label_curves") or [])
        yield "learning", draw_learning(*runs, f"Learning, {data}")
    for spec, found in _first(details.get("confusion")):
        name = short_specs([spec], without_common=True)[spec]
        yield "confusion", draw_confusion(found["classes"], found["matrix"], f"Confusion, {name}")


def _groups(details: dict[str, Any]) -> list[str]:
    if details.get("groups"):
        return list(details["groups"])
    points = details.get("points") or {}
    n_points = len(details["maps"][0]["coordinates"])
    return points.get("labels") or ["picture"] * n_points


def _model(result: Result) -> str:
    """The network that the rows are of, for a title."""
    spec = str(result.rows[0].get("spec", "")) if result.rows else ""
    return f"{Path(parse_spec(spec)[1][0]).name} on " if spec.startswith("cnn:") else ""


def _first(found: dict[str, Any] | None) -> list[tuple[str, Any]]:
    """Of several kinds of features, the first alone: the best."""
    return list((found or {}).items())[:1]
