"""The gist of a scene: energies of a bank of Gabor filters on a coarse grid."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar, Unpack

import numpy as np
import numpy.typing as npt
from sklearn.utils._param_validation import Interval

from featx.data.images import Pixels, gray, resize, size_pair
from featx.extractors.base import CommonParameters, Extractor
from featx.streaming.rows import Matrix

_MARGIN = 0.25
"""Mirrored border around the image, as a fraction of its side: responses fade there."""

_CONTRAST_CYCLES = 4.0
"""Cycles per image below which contrast is normalized."""

_TOP_FREQUENCY, _OCTAVE = 0.3, 1.85
"""Cycles per px of the finest filters, and the ratio from one scale to the next."""


class Gist(Extractor):
    """Mean energies of oriented filters in the cells of a grid: the layout of a scene.

    Parameters
    ----------
    image_size : int or tuple of int, default=128
        Height and width in px to which images are resized.
    grid : int, default=4
        Cells per side of the grid.
    scales : int, default=4
        Scales of the filters.
    orientations : int, default=8
        Orientations of the filters at each scale.
    image_shape, value_range, window, pages, bands, max_pixels, on_error, n_jobs, store
        As in `featx.extractors.base.Extractor`.

    Raises
    ------
    ImageError
        If an image cannot be decoded.
    ValueError
        If the image is too small for the grid.

    Notes
    -----
    First the local contrast of the image's logarithm is normalized; then filters that are Gaussian
    in frequency and orientation are applied in the Fourier domain, and the amplitudes of their
    responses averaged within each cell. Departs from [1]_: images have 128 px rather than 256 by
    default, and there is no projection onto principal components.

    References
    ----------
    .. [1] Oliva and Torralba, "Modeling the Shape of the Scene: A Holistic Representation of the
       Spatial Envelope", IJCV 42 (2001) 145-175.

    Examples
    --------
    >>> import numpy as np
    >>> Gist(64).fit_transform(np.zeros((2, 64, 64), np.uint8)).shape
    (2, 512)
    """

    spec_name: ClassVar[str] = "gist"
    positional: ClassVar[tuple[str, ...]] = ("image_size",)
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Extractor._parameter_constraints,
        "image_size": [Interval(numbers.Integral, 1, None, closed="left"), tuple, list],
        "grid": [Interval(numbers.Integral, 1, None, closed="left")],
        "scales": [Interval(numbers.Integral, 1, 8, closed="both")],
        "orientations": [Interval(numbers.Integral, 1, 64, closed="both")],
    }

    def __init__(
        self,
        image_size: int | tuple[int, int] = 128,
        *,
        grid: int = 4,
        scales: int = 4,
        orientations: int = 8,
        **common: Unpack[CommonParameters],
    ) -> None:
        super().__init__(**common)
        self.image_size = image_size
        self.grid = grid
        self.scales = scales
        self.orientations = orientations

    @property
    def _n_features_out(self) -> int:
        return int(self.scales * self.orientations * self.grid**2)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return names such as ``scale0_orientation3_cell1_2``: fine to coarse, then the cell."""
        cells = [(y, x) for y in range(self.grid) for x in range(self.grid)]
        names = [
            f"scale{s}_orientation{o}_cell{y}_{x}"
            for s in range(self.scales)
            for o in range(self.orientations)
            for y, x in cells
        ]
        return np.array(names, dtype=object)

    def _check_parameters(self) -> None:
        height, width = size_pair(self.image_size)
        least_px = max(16, self.grid)
        if min(height, width) < least_px:
            raise ValueError(
                f"Gist needs images of at least {least_px}x{least_px} px for grid={self.grid}; got "
                f"image_size={height}x{width}."
            )

    def _prepare(self, pixels: Pixels) -> Pixels:
        return resize(pixels, size_pair(self.image_size))

    def _extract(self, batch: Sequence[Pixels]) -> Matrix:
        return np.stack([self._describe(pixels) for pixels in batch])

    def _describe(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        from scipy import fft

        image = _normalize_contrast(gray(pixels).reshape(pixels.shape[:2]))
        margins = [(_margin(n), _margin(n)) for n in image.shape]
        spectrum = fft.fft2(np.pad(image, margins, "symmetric"))
        filters = _filters(spectrum.shape, self.scales, self.orientations)
        responses = np.abs(fft.ifft2(spectrum * filters))  # (filters, height, width)
        (top, _), (left, _) = margins
        responses = responses[:, top : top + image.shape[0], left : left + image.shape[1]]
        cells = [
            responses[:, y[0] : y[-1] + 1, x[0] : x[-1] + 1].mean((1, 2))
            for y in np.array_split(np.arange(image.shape[0]), self.grid)
            for x in np.array_split(np.arange(image.shape[1]), self.grid)
        ]
        return np.stack(cells, -1).ravel().astype(np.float32)  # (filters, cells)


def _margin(n_px: int) -> int:
    return int(_MARGIN * n_px)


def _normalize_contrast(image: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Logarithm of an image without its low frequencies, over its local standard deviation."""
    from scipy import fft

    log = np.log1p(image.astype(np.float32))
    margins = [(_margin(n), _margin(n)) for n in log.shape]
    padded = np.pad(log, margins, "symmetric")
    low_pass = _low_pass(padded.shape, _CONTRAST_CYCLES * padded.shape[0] / log.shape[0])
    detail = padded - fft.ifft2(fft.fft2(padded) * low_pass).real
    deviation = np.sqrt(np.abs(fft.ifft2(fft.fft2(detail**2) * low_pass).real))
    # The constant keeps flat regions flat, rather than amplifying their noise.
    normalized = detail / (0.2 + deviation)
    (top, _), (left, _) = margins
    return normalized[top : top + log.shape[0], left : left + log.shape[1]].astype(np.float32)


@lru_cache(maxsize=4)
def _low_pass(shape: tuple[int, int], cycles: float) -> npt.NDArray[np.float32]:
    """Gaussian transfer function that halves an amplitude at so many cycles per image."""
    y, x = np.fft.fftfreq(shape[0])[:, None] * shape[0], np.fft.fftfreq(shape[1]) * shape[1]
    return np.exp(-(x**2 + y**2) * np.log(2) / cycles**2).astype(np.float32)


@lru_cache(maxsize=4)
def _filters(shape: tuple[int, int], scales: int, orientations: int) -> npt.NDArray[np.float32]:
    """Transfer functions (scales * orientations, height, width), fine to coarse."""
    y, x = np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])
    frequency, angle = np.hypot(x, y), np.arctan2(y, x)
    filters = []
    for scale in range(scales):
        center = _TOP_FREQUENCY / _OCTAVE**scale
        radial = np.exp(-3.5 * (frequency / center - 1) ** 2)
        for orientation in range(orientations):
            # On one side of the spectrum alone: the response's amplitude has no phase then.
            turned = np.angle(np.exp(1j * (angle + np.pi * orientation / orientations)))
            filters.append(radial * np.exp(-np.pi / 32 * (orientations * turned) ** 2))
    return np.stack(filters).astype(np.float32)
