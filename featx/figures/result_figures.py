"""Figures of a result, and the files that they are saved in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from matplotlib.figure import Figure

from featx.engine.specs import parse_spec
from featx.features.results import Result
from featx.features.spec_labels import short_specs
from featx.figures.cost_data import prepare_cost
from featx.figures.cost_figure import draw_cost
from featx.figures.depth_data import prepare_depth
from featx.figures.depth_figure import draw_depth
from featx.figures.learning_data import prepare_learning
from featx.figures.learning_figure import draw_learning
from featx.figures.matrix_data import prepare_confusions, prepare_similarity
from featx.figures.matrix_figure import draw_confusion, draw_similarity
from featx.figures.scatter_data import prepare_scatter
from featx.figures.scatter_figure import draw_scatter
from featx.figures.style import save_figure
from featx.figures.transfer_data import prepare_transfer
from featx.figures.transfer_figure import draw_transfer

_METHODS = {"umap": "UMAP", "pca": "PCA", "tsne": "t-SNE"}


def draw_figures(result: Result) -> dict[str, Figure]:
    """Every figure that a result has numbers for.

    Parameters
    ----------
    result : Result
        Of any command; without numbers to draw it has no figures.

    Returns
    -------
    dict of str to matplotlib.figure.Figure
        Name of the file, without suffix -> figure.

    Examples
    --------
    >>> rows = [{"layer": "fc7", "index": 9, "accuracy": 0.9}]
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
    data = Path(str(result.data)).name or str(result.data)
    if depth := prepare_depth(result):
        yield "depth", draw_depth(depth, f"{_model(result)}{data}")
    if scatter := prepare_scatter(result):
        method = _METHODS.get(scatter.panels[0].method, scatter.panels[0].method)
        model = _model(result) if result.command == "depth" else ""
        yield "maps", draw_scatter(scatter, f"{model}{data}, {method}")
    if similarity := prepare_similarity(result):
        yield "cka", draw_similarity(similarity)
    if result.command == "compare" and (cost := prepare_cost(result, "ms_per_image")):
        yield "cost", draw_cost(cost, f"Accuracy against cost, {data}")
    if transfer := prepare_transfer(result):
        yield "transfer", draw_transfer(transfer, f"From domain to domain, {data}")
    learning = prepare_learning(result)
    if learning.panel("epoch", "valid_accuracy"):
        yield "learning", draw_learning(learning, f"Learning, {data}")
    # Of several feature sets the first alone: the best.
    for spec, confusion in list(prepare_confusions(result).items())[:1]:
        name = short_specs([spec], without_common=True)[spec]
        yield "confusion", draw_confusion(confusion, f"Confusion, {name}")


def _model(result: Result) -> str:
    """The network that the rows are of, for a title."""
    spec = str(result.rows[0].get("spec", "")) if result.rows else ""
    return f"{Path(parse_spec(spec)[1][0]).name} on " if spec.startswith("cnn:") else ""
