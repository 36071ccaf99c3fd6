"""Images that can be read and are of little use: blank, tiny, or of an odd shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from featx.data.images import Pixels, gray, resize
from featx.evaluation.duplicates import THUMBNAIL_PX
from featx.extractors.base import Extractor
from featx.streaming.rows import Matrix

TINY_PX = 32
"""Images with a shorter side are tiny."""

_ODD_RATIO = 3.0
"""Images this many times as wide, or as high, as most of the collection are odd-shaped."""

_BLANK_RANGE = 2.5 / 255
"""Between the darkest and the brightest pixel of a blank image's thumbnail."""


class Appearance(Extractor):
    """Height, width and a thumbnail of each image: what the checks of a collection look at.

    A row is the height and the width in pixels, then the luminance of 32 x 32 pixels from 0 to 1.

    Examples
    --------
    >>> Appearance().fit_transform(np.full((1, 4, 8, 3), 255, np.uint8))[0, :3].tolist()
    [4.0, 8.0, 1.0]
    """

    spec_name: ClassVar[str] = "appearance"

    @property
    def _n_features_out(self) -> int:
        return 2 + THUMBNAIL_PX**2

    def _prepare(self, pixels: Pixels) -> tuple[int, int, Any]:
        height, width = pixels.shape[:2]
        return height, width, gray(resize(pixels, (THUMBNAIL_PX, THUMBNAIL_PX)))

    def _extract(self, batch: Sequence[tuple[int, int, Any]]) -> Matrix:
        return np.stack(
            [
                np.concatenate([[height, width], thumbnail.ravel() / 255])
                for height, width, thumbnail in batch
            ]
        ).astype(np.float32)


class Condition(NamedTuple):
    """What is wrong with an image, and in words how far."""

    row: int
    problem: str
    note: str


def find_conditions(rows: Matrix) -> Iterator[Condition]:
    """Blank, tiny and odd-shaped images, each by the first of these that it is.

    Parameters
    ----------
    rows : array of shape (n_images, 1026)
        Of `Appearance`.

    Yields
    ------
    Condition
        Tiny are those under 32 px where most of the collection is not; of an odd shape those
        three times as wide, or as high, as most of it.

    Examples
    --------
    >>> images = [np.eye(40), np.eye(40), np.zeros((40, 40)), np.eye(4)]
    >>> [(c.row, c.problem) for c in find_conditions(Appearance().fit_transform(images))]
    [(2, 'blank'), (3, 'tiny')]
    """
    heights, widths = rows[:, 0], rows[:, 1]
    ratios = widths / heights
    usual = float(np.median(ratios))
    oddness = np.maximum(ratios / usual, usual / ratios)
    shown_usual = f"most are {usual:.2g} times as wide as high"
    blank, tiny = is_blank(rows), _is_tiny(rows)
    for index in range(len(rows)):
        size = f"{int(widths[index])} x {int(heights[index])} px"
        if blank[index]:
            yield Condition(index, "blank", f"{size} of one shade")
        elif tiny[index]:
            yield Condition(index, "tiny", size)
        elif oddness[index] >= _ODD_RATIO:
            yield Condition(index, "odd shape", f"{size}; {shown_usual}")


def is_blank(rows: Matrix) -> Any:
    """Whether each image is of one shade, by its row of `Appearance`: (n_images,)."""
    return np.ptp(rows[:, 2:], axis=1) < _BLANK_RANGE


def _is_tiny(rows: Matrix) -> Any:
    """Whether each image is tiny where most of the collection is not: (n_images,)."""
    shorter = rows[:, :2].min(1)
    return (shorter < TINY_PX) & (np.median(shorter) >= TINY_PX)
