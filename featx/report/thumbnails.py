"""Thumbnails of images, small enough to be part of a page."""

from __future__ import annotations

import base64
import io
import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from featx.data.datasets import load_dataset
from featx.data.images import (
    ImageLike,
    Images,
    Pixels,
    decode,
)
from featx.errors import FeatxError, ImageError

logger = logging.getLogger(__name__)

_SIDES_PX = (96, 80, 64, 48, 32)
"""Longer sides of thumbnails, the best first; the first that fits the budget is taken."""

_QUALITY = 62
_N_TRIED = 40


class Thumbnails:
    """Thumbnails of images by the names that results call them, made from the images themselves.

    Parameters
    ----------
    data : str
        The data set, as it was named when the result was made.
    names : iterable of str
        Images of it.

    Examples
    --------
    >>> Thumbnails("digits", ["digits/0001"]).make("digits/0001", side_px=32)[:23]
    'data:image/webp;base64,'
    """

    def __init__(self, data: str, names: Iterable[str]) -> None:
        self._images = _find_images(data, dict.fromkeys(names))

    def __len__(self) -> int:
        return len(self._images)

    def make(self, name: str, *, side_px: int = _SIDES_PX[0]) -> str | None:
        """One image as a data URI, None where it is gone or cannot be read."""
        image = self._images.get(name)
        if image is None:
            return None
        try:
            return shrink(decode(image, name=name), side_px)
        except ImageError:
            return None

    def make_all(
        self, names: Sequence[str], max_bytes: int, *, largest_px: int = _SIDES_PX[0]
    ) -> list[str | None]:
        """Images as data URIs that take at most `max_bytes` together.

        Parameters
        ----------
        names : sequence of str
        max_bytes : int
            Of the data URIs, not of the files.
        largest_px : int, default=96
            Longer side where the budget allows it; smaller ones are tried after it.

        Returns
        -------
        list of (str or None)
            One per name; None where an image is gone, cannot be read, or no room was left.
        """
        side_px = self._largest_side(names, max_bytes, largest_px)
        with ThreadPoolExecutor(max(1, min(8, os.cpu_count() or 1))) as pool:
            made = list(pool.map(lambda name: self.make(name, side_px=side_px), names))
        return _within(made, max_bytes)

    def _largest_side(self, names: Sequence[str], max_bytes: int, largest_px: int) -> int:
        """Longer side at which all should fit, judged by a few of them spread evenly."""
        tried = list(names)[:: max(1, len(names) // _N_TRIED)]
        sides = [side for side in (largest_px, *_SIDES_PX) if side <= largest_px]
        for side_px in sides:
            sizes = [len(uri) for uri in (self.make(n, side_px=side_px) for n in tried) if uri]
            # A tenth to spare: the few that were tried may be plainer than the rest.
            if not sizes or 1.1 * np.mean(sizes) * len(names) <= max_bytes:
                return side_px
        return sides[-1]


def shrink(pixels: Pixels, side_px: int) -> str:
    """Pixels as a WebP data URI, the longer side at most `side_px`.

    Parameters
    ----------
    pixels : ndarray of shape (h, w, 3), uint8
    side_px : int
    """
    image = Image.fromarray(pixels)
    scale = side_px / max(image.size)
    if scale < 1:
        kernel = Image.Resampling.BOX if scale < 0.25 else Image.Resampling.LANCZOS
        image = image.resize(_scaled(image.size, scale), kernel)
    elif scale > 2:
        # In digits of 8 px every pixel counts: enlarge without blur.
        image = image.resize(_scaled(image.size, int(scale)), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=_QUALITY, method=3)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(1, round(scale * size[0])), max(1, round(scale * size[1]))


def _find_images(data: str, names: Iterable[str]) -> dict[str, ImageLike]:
    """Images of some names: files of that name, else those of the data set.

    Parameters
    ----------
    data : str
        What the data set was named as.
    names : iterable of str

    Returns
    -------
    dict of str to image
        Without those that are no longer there.
    """
    names = list(names)
    found: dict[str, ImageLike] = {name: name for name in names if _is_file(name)}
    missing = [name for name in names if name not in found]
    if missing:
        images, indices = _load(data)
        found |= {name: images[indices[name]] for name in missing if name in indices}
    return found


def _is_file(name: str) -> bool:
    try:
        return os.path.isfile(name)
    except ValueError:  # A NUL inside.
        return False


def _load(data: str) -> tuple[Images, dict[str, int]]:
    """Images of a data set and the index of each name; none where it cannot be loaded."""
    # Never "-": the names were on a standard input that is gone.
    is_known = data == "digits" or data.startswith("torchvision:") or os.path.exists(data)
    try:
        if data == "-" or not is_known:
            return Images([]), {}
        dataset = load_dataset(data)
    except FeatxError as error:
        logger.info("no thumbnails of %s: %s", data, error)
        return Images([]), {}
    return dataset.images, {name: index for index, name in enumerate(dataset.names)}


def _within(uris: list[str | None], max_bytes: int) -> list[str | None]:
    """The first that fit together, None in the place of the others."""
    sizes = np.cumsum([len(uri or "") for uri in uris])
    return [uri if size <= max_bytes else None for uri, size in zip(uris, sizes)]
