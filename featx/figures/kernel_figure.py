"""Figures of what layers see: first kernels, and images that activate a channel most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

from featx.analysis.kernels_and_activations import (
    ActivatingImages,
    find_activating_images,
    read_kernels,
)
from featx.errors import ProjectionError
from featx.features.results import Result
from featx.figures.palette import QUIET
from featx.figures.style import (
    WIDTH,
    house_style,
    place_axes,
    shortened,
)
from featx.trust.callables import Trust

_MOST_KERNELS = 256
_TILE_PX, _GAP_PX = 96, 4
_MARGIN, _HEAD, _CAPTION, _SPACE = 0.06, 0.34, 0.34, 0.14
"""Inches: around all, above all, above each block, and between blocks."""


def draw_filters(
    model: Any = "featxnet",
    data: Any = None,
    layer: str | None = None,
    *,
    channels: Sequence[int] | None = None,
    weights: Any = "default",
    trust: Trust = None,
    **parameters: Any,
) -> tuple[Figure, Result]:
    """What a network's layers see: its first kernels or, with data, what activates channels most.

    Parameters
    ----------
    model : str, path or torch.nn.Module, default="featxnet"
    data : str, path, list of these, or ImageDataset, optional
    layer, channels, **parameters
        As in `featx.analysis.kernels_and_activations.find_activating_images`; only with data.
    weights : str or path, default="default"
    trust : path, str, or sequence of these, optional
        As in `featx.extractors.cnn.CNNFeatures`.

    Returns
    -------
    figure : matplotlib.figure.Figure
    result : Result
        A row for each channel, or one for the kernels; the first sentence says what is drawn.

    Raises
    ------
    ProjectionError
        If a layer or channels are given without data.

    Examples
    --------
    >>> figure, result = draw_filters("featxnet")
    >>> result.sentences
    ['32 kernels of 5x5 px']
    """
    if data is not None:
        options = {"channels": channels, "weights": weights, "trust": trust, **parameters}
        result, activating = find_activating_images(data, model, layer, **options)
        row = result.rows[0]
        field = "x".join(map(str, row["field_px"]))
        title = f"{model}, {row['layer']}: what {field} px activate each channel most"
        sentence = f"{len(activating)} channels of {row['layer']}"
        return _draw_activating_images(activating, title), replace(
            result, sentences=[sentence, *result.sentences]
        )
    if layer is not None or channels is not None:
        raise ProjectionError("A layer and channels are drawn by the images that activate them; "
                              "give data too.")  # fmt: skip
    kernels = read_kernels(model, weights=weights, trust=trust)
    n, height, width, _ = kernels.shape
    row = {"n_kernels": n, "size_px": [height, width]}
    sentence = f"{n} kernels of {height}x{width} px"
    return _draw_kernels(kernels, f"{model}, first kernels"), Result(
        "filters", "", [row], sentences=[sentence]
    )


def _draw_kernels(kernels: npt.NDArray[Any], title: str = "") -> Figure:
    """Kernels side by side, in the order of their channels.

    Parameters
    ----------
    kernels : array of shape (n_kernels, height, width, 3), 0 to 1
        As `featx.analysis.kernels_and_activations.read_kernels` gives them; at most 256 are shown.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> _draw_kernels(np.full((6, 3, 3, 3), 0.5)).axes[0].images[0].get_array().shape
    (7, 11, 3)
    """
    shown = kernels[:_MOST_KERNELS]
    n_columns = int(np.ceil(np.sqrt(len(shown) * 1.6)))
    if len(shown) < 12:
        n_columns = int(np.ceil(np.sqrt(len(shown))))
    sheet = _sheet(shown, n_columns, gap=1)
    width = min(WIDTH, max(2.2, n_columns * 0.42))
    side = width - 2 * _MARGIN
    height = side * sheet.shape[0] / sheet.shape[1]
    note = f", the first {len(shown)} of {len(kernels)}" if len(shown) < len(kernels) else ""
    with house_style():
        figure = Figure((width, height + _HEAD + _MARGIN))
        axes = place_axes(figure, _MARGIN, _MARGIN, side, height)
        axes.imshow(sheet, interpolation="nearest", vmin=0, vmax=1)
        axes.set_axis_off()
        _write_title(figure, f"{title or 'First kernels'}{note}")
        return figure


def _draw_activating_images(
    activating: Mapping[int, Sequence[ActivatingImages]], title: str = ""
) -> Figure:
    """For each channel a block of the images that activate it most.

    Parameters
    ----------
    activating : mapping of int to sequence of ActivatingImages
        As `featx.analysis.kernels_and_activations.find_activating_images` gives them.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> crop = np.zeros((4, 4, 3), np.uint8)
    >>> one = ActivatingImages("a.png", "ant", 1.0, (slice(0, 4), slice(0, 4)), crop)
    >>> len(_draw_activating_images({7: [one] * 9, 12: [one] * 9}).axes)
    2
    """
    n_columns = min(4, len(activating))
    n_lines = -(-len(activating) // n_columns)
    side = (WIDTH - 2 * _MARGIN - 3 * _SPACE) / 4
    width = 2 * _MARGIN + n_columns * side + (n_columns - 1) * _SPACE
    height = _HEAD + n_lines * (side + _CAPTION) + (n_lines - 1) * _SPACE + _MARGIN
    with house_style():
        figure = Figure((width, height))
        for index, (channel, images) in enumerate(activating.items()):
            line, column = divmod(index, n_columns)
            left = _MARGIN + column * (side + _SPACE)
            bottom = height - _HEAD - (line + 1) * (side + _CAPTION) - line * _SPACE
            axes = place_axes(figure, left, bottom, side, side)
            axes.imshow(_block(images), interpolation="lanczos")
            axes.set_axis_off()
            _caption(axes, channel, images)
        _write_title(figure, title or "What activates each channel")
        return figure


def _sheet(tiles: Any, n_columns: int, gap: int) -> npt.NDArray[Any]:
    """Tiles on white, `gap` pixels apart."""
    tiles = np.asarray(tiles)
    n, height, width, _ = tiles.shape
    n_lines = -(-n // n_columns)
    white = 255 if tiles.dtype == np.uint8 else 1
    shape = (n_lines * (height + gap) - gap, n_columns * (width + gap) - gap, 3)
    sheet = np.full(shape, white, tiles.dtype)
    for index, tile in enumerate(tiles):
        line, column = divmod(index, n_columns)
        top, left = line * (height + gap), column * (width + gap)
        sheet[top : top + height, left : left + width] = tile
    return sheet


def _block(images: Sequence[ActivatingImages]) -> npt.NDArray[Any]:
    n_columns = int(np.ceil(np.sqrt(len(images))))
    return _sheet([_tile(item.crop) for item in images], n_columns, _GAP_PX)


def _tile(crop: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A crop in the middle of a white square; one at the edge of its image is not square."""
    scale = _TILE_PX / max(crop.shape[:2])
    height, width = (max(1, round(length * scale)) for length in crop.shape[:2])
    is_small = scale > 3
    how = Image.Resampling.NEAREST if is_small else Image.Resampling.LANCZOS
    tile = np.full((_TILE_PX, _TILE_PX, 3), 255, np.uint8)
    top, left = (_TILE_PX - height) // 2, (_TILE_PX - width) // 2
    resized = Image.fromarray(np.ascontiguousarray(crop)).resize((width, height), how)
    tile[top : top + height, left : left + width] = np.asarray(resized)
    return tile


def _caption(axes: Any, channel: int, images: Sequence[ActivatingImages]) -> None:
    labels = [item.label for item in images if item.label]
    common = max(sorted(set(labels)), key=labels.count, default="")
    axes.annotate(
        f"channel {channel}", (0, 1), (0, 13), "axes fraction", "offset points", weight="bold",
        fontsize=8,
    )  # fmt: skip
    if 2 * labels.count(common) > len(images):
        text = f"{shortened(common, 22)}, {labels.count(common)} of {len(images)}"
        axes.annotate(
            text, (0, 1), (0, 4), "axes fraction", "offset points", fontsize=6.5, color=QUIET
        )


def _write_title(figure: Figure, title: str) -> None:
    width, height = figure.get_size_inches()
    longest = max(12, int(width * 12))
    figure.text(
        _MARGIN / width, 1 - _MARGIN / height, shortened(title, longest), va="top", fontsize=9,
        weight="bold",
    )  # fmt: skip
