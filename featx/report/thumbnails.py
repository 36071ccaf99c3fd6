"""Thumbnails of images, small enough to be part of a page.

A command that writes a report opens its own images, and leaves the thumbnails in a file beside the
page. A page of results that were read from a folder has the thumbnails of that file and no others:
the names in it are somebody else's, and could be those of any file.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeAlias, TypeGuard

import numpy as np
from PIL import Image

from featx._files import atomic_write
from featx.data.datasets import load_dataset
from featx.data.images import (
    ImageLike,
    Images,
    Pixels,
    decode,
    round_pixels,
)
from featx.data.listings import BUILT_IN
from featx.data.reading import N_RGB, Reading, make_reading
from featx.data.stored_image import WARNINGS
from featx.errors import FeatxError, ImageError
from featx.features.results import Result

logger = logging.getLogger(__name__)

_SIDES_PX = (96, 80, 64, 48, 32)
"""Longer sides of thumbnails, the best first; the first that fits the budget is taken."""

_QUALITY = 62
_N_TRIED = 40

_THUMBNAILS_FILE = "thumbnails.json"
"""Name of an image -> its thumbnail as a data URI."""

_MAX_FILE_BYTES = 100_000_000
_URI_START = "data:image/webp;base64,"

Find: TypeAlias = Callable[[Sequence[str]], Mapping[str, ImageLike]]


class Thumbnails:
    """Thumbnails of images by the names that results call them.

    Parameters
    ----------
    find : callable
        Gives the images of some names, without those that are not there.
    why_missing : str
        Why there may be none at all.
    reading : mapping, optional
        How the images were read, as in `featx.Images`.

    Examples
    --------
    >>> _open_thumbnails("digits").make_all(["digits/0001"], 10_000)[0][:23]
    'data:image/webp;base64,'
    """

    def __init__(
        self, find: Find, why_missing: str, reading: Mapping[str, Any] | None = None
    ) -> None:
        self._find = find
        self._reading = _shown(make_reading(**(reading or {})))
        self._images: dict[str, ImageLike | None] = {}
        self._made: dict[str, str] = {}
        self.why_missing = why_missing

    @property
    def is_empty(self) -> bool:
        """Whether no image could be opened so far."""
        return all(image is None for image in self._images.values())

    def save(self, folder: Path) -> None:
        """Save the thumbnails for later pages by `featx report`."""
        file = folder / _THUMBNAILS_FILE
        if not self._made:
            file.unlink(missing_ok=True)  # An earlier report may have left one.
            return
        with atomic_write(file) as temporary:
            # In ASCII, as names may hold bytes that are no characters.
            temporary.write_text(json.dumps(self._made), "ascii")

    def _make(self, name: str, side_px: int) -> str | None:
        """One image as a data URI, None where it is gone or cannot be read."""
        image = self._images[name]
        if image is None:
            return None
        try:
            pixels = decode(image, name=name, **self._reading.settings(), warned=set(WARNINGS))
        except ImageError:
            return None
        if _is_webp(image) and max(pixels.shape[:2]) <= side_px:
            return _as_uri(image)  # Not compressed twice.
        return shrink(pixels, side_px)

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
        if new := [name for name in dict.fromkeys(names) if name not in self._images]:
            self._images |= dict.fromkeys(new) | dict(self._find(new))
        side_px = self._largest_side(names, max_bytes, largest_px)
        with ThreadPoolExecutor(max(1, min(8, os.cpu_count() or 1))) as pool:
            thumbnails = list(pool.map(lambda name: self._make(name, side_px), names))
        within = _within(thumbnails, max_bytes)
        # The first is the larger one: galleries come before the points of plots.
        self._made = {n: uri for n, uri in zip(names, within) if uri is not None} | self._made
        return within

    def _largest_side(self, names: Sequence[str], max_bytes: int, largest_px: int) -> int:
        """Longer side at which all should fit, judged by a few of them spread evenly."""
        tried = list(names)[:: max(1, len(names) // _N_TRIED)]
        sides = [side for side in (largest_px, *_SIDES_PX) if side <= largest_px]
        for side_px in sides:
            sizes = [len(uri) for uri in (self._make(n, side_px) for n in tried) if uri]
            # A tenth to spare: the few that were tried may be plainer than the rest.
            if not sizes or 1.1 * np.mean(sizes) * len(names) <= max_bytes:
                return side_px
        return sides[-1]


def thumbnails_of(result: Result) -> Thumbnails:
    """Thumbnails that a page may show of a result.

    Those of its own images where this process computed it; where it was read from a folder, those
    that the folder holds.
    """
    if result.loaded_from is not None:
        return _read_thumbnails(result.loaded_from)
    reading = (result.provenance or {}).get("reading") or {}
    return _open_thumbnails(result.data, {k: v for k, v in reading.items() if k != "measured"})


def _open_thumbnails(data: str, reading: Mapping[str, Any] | None = None) -> Thumbnails:
    """Thumbnails of the images of a data set, opened again by name and read in the same way."""
    load = cache(partial(_load, data))
    find = partial(_find_images, load)
    return Thumbnails(find, "they are no longer where they were", reading)


def _read_thumbnails(folder: str | os.PathLike[str]) -> Thumbnails:
    """Thumbnails that an earlier command left in a folder; nothing outside it is opened."""
    saved = _read_images(Path(folder) / _THUMBNAILS_FILE)
    why = f"the folder has no {_THUMBNAILS_FILE}; run the command again with --report"
    return Thumbnails(lambda names: {n: saved[n] for n in names if n in saved}, why)


def _read_images(file: Path) -> dict[str, bytes]:
    """Images of a file by name; those that are not WebP are left out."""
    # A link could lead out of the folder.
    if file.is_symlink() or not file.is_file() or file.stat().st_size > _MAX_FILE_BYTES:
        return {}
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        logger.info("no thumbnails of %s: %s", file, error)
        return {}
    entries = content.items() if isinstance(content, dict) else ()
    return {name: image for name, uri in entries if (image := _image_of(uri)) is not None}


def _image_of(uri: Any) -> bytes | None:
    """The WebP file that a data URI holds; None of anything else."""
    if not isinstance(uri, str) or not uri.startswith(_URI_START):
        return None
    try:
        image = base64.b64decode(uri.removeprefix(_URI_START), validate=True)
    except (binascii.Error, ValueError):
        return None
    return image if _is_webp(image) else None


def _is_webp(image: Any) -> TypeGuard[bytes]:
    return isinstance(image, bytes) and image[:4] == b"RIFF" and image[8:12] == b"WEBP"


def _as_uri(image: bytes) -> str:
    return _URI_START + base64.b64encode(image).decode("ascii")


def shrink(pixels: Pixels, side_px: int) -> str:
    """Pixels as a WebP data URI, the longer side at most `side_px`.

    Parameters
    ----------
    pixels : ndarray of shape (h, w, 3), uint8
    side_px : int
    """
    image = Image.fromarray(round_pixels(pixels))
    scale = side_px / max(image.size)
    if scale < 1:
        kernel = Image.Resampling.BOX if scale < 0.25 else Image.Resampling.LANCZOS
        image = image.resize(_scaled(image.size, scale), kernel)
    elif scale > 2:
        # In digits of 8 px every pixel counts: enlarge without blur.
        image = image.resize(_scaled(image.size, int(scale)), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=_QUALITY, method=3)
    return _as_uri(buffer.getvalue())


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(1, round(scale * size[0])), max(1, round(scale * size[1]))


def _shown(reading: Reading) -> Reading:
    """The same with bands that can be looked at: the first of several that are none of a color."""
    is_image = not reading.is_each and reading.n_bands == N_RGB
    return reading if is_image else reading.of_band(1)


def _find_images(
    load: Callable[[], tuple[Images, dict[str, int]]], names: Iterable[str]
) -> dict[str, ImageLike]:
    """Images of some names: files of that name, else those of the data set.

    Parameters
    ----------
    load : callable
        Gives the data set's images, and the index of each name.
    names : iterable of str

    Returns
    -------
    dict of str to image
        Without those that are no longer there.
    """
    names = list(names)
    sources: dict[str, ImageLike] = {name: name for name in names if _is_file(name)}
    missing = [name for name in names if name not in sources]
    if missing:
        images, indices = load()
        sources |= {name: images[indices[name]] for name in missing if name in indices}
    return sources


def _is_file(name: str) -> bool:
    try:
        return os.path.isfile(name)
    except ValueError:  # A NUL inside.
        return False


def _load(data: str) -> tuple[Images, dict[str, int]]:
    """Images of a data set and the index of each name; none where it cannot be loaded."""
    # Never "-": the names were on a standard input that is gone.
    is_known = data in BUILT_IN or data.startswith("torchvision:") or os.path.exists(data)
    try:
        if data == "-" or not is_known:
            return Images([]), {}
        dataset = load_dataset(data)
    except FeatxError as error:
        logger.info("no thumbnails of %s: %s", data, error)
        return Images([]), {}
    return dataset.images, {name: index for index, name in enumerate(dataset.names)}


def _within(uris: list[str | None], max_bytes: int) -> list[str | None]:
    """The first thumbnails that fit within a size; None for all others."""
    sizes = np.cumsum([len(uri or "") for uri in uris])
    return [uri if size <= max_bytes else None for uri, size in zip(uris, sizes)]
