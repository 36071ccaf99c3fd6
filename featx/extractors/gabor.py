"""Energies of a bank of Gabor filters."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar, Unpack

import numpy as np
import numpy.typing as npt
from sklearn.utils._param_validation import Interval

from featx._lists import as_tuple
from featx.data.images import Pixels, gray, resize, size_pair
from featx.extractors.base import CommonParameters, Extractor
from featx.streaming.rows import Matrix


class Gabor(Extractor):
    """Mean and energy of the responses to a bank of Gabor filters.

    A Gabor filter responds to waves of one frequency in one direction. Of the magnitude of each
    filter's response, the mean and the mean square over the image are features.

    Parameters
    ----------
    image_size : int or tuple of int, default=128
        Height and width in px to which images are resized.
    frequencies : tuple of float, default=(0.05, 0.1, 0.2, 0.4)
        Frequencies in periods per px, from 0.01 to 0.5.
    orientations : int, default=6
        Number of directions, evenly spaced over 180 degrees.
    image_shape, value_range, window, pages, bands, max_pixels, on_error, n_jobs, store
        As in `featx.extractors.base.Extractor`.

    Raises
    ------
    ImageError
        If an image cannot be decoded.
    ValueError
        If a frequency is out of range.

    Notes
    -----
    Responses equal those of ``skimage.filters.gabor(gray / 255, frequency, theta)``, which has a
    bandwidth of one octave and mirrors the image at its borders. Departs from [1]_, which takes
    the standard deviation of the magnitude rather than its mean square.

    References
    ----------
    .. [1] Manjunath and Ma, "Texture Features for Browsing and Retrieval of Image Data", PAMI 18
       (1996) 837-842.

    Examples
    --------
    >>> import numpy as np
    >>> Gabor(frequencies=(0.1, 0.2)).fit_transform(np.zeros((2, 32, 32), np.uint8)).shape
    (2, 24)
    """

    spec_name: ClassVar[str] = "gabor"
    positional: ClassVar[tuple[str, ...]] = ("image_size",)
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Extractor._parameter_constraints,
        "image_size": [Interval(numbers.Integral, 1, None, closed="left"), tuple, list],
        "frequencies": [tuple, list, Interval(numbers.Real, 0.01, 0.5, closed="both")],
        "orientations": [Interval(numbers.Integral, 1, 360, closed="both")],
    }

    def __init__(
        self,
        image_size: int | tuple[int, int] = 128,
        *,
        frequencies: tuple[float, ...] | float = (0.05, 0.1, 0.2, 0.4),
        orientations: int = 6,
        **common: Unpack[CommonParameters],
    ) -> None:
        super().__init__(**common)
        self.image_size = image_size
        self.frequencies = frequencies
        self.orientations = orientations

    @property
    def _n_features_out(self) -> int:
        return 2 * len(as_tuple(self.frequencies)) * self.orientations

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return names such as ``frequency0.1_30deg_energy``."""
        names = [
            f"frequency{frequency:g}_{180 * i / self.orientations:g}deg_{statistic}"
            for frequency in as_tuple(self.frequencies)
            for i in range(self.orientations)
            for statistic in ("mean", "energy")
        ]
        return np.array(names, dtype=object)

    def _check_parameters(self) -> None:
        frequencies = as_tuple(self.frequencies)
        is_valid = [isinstance(f, int | float) and 0.01 <= f <= 0.5 for f in frequencies]
        if not frequencies or not all(is_valid):
            raise ValueError(
                f"Gabor: frequencies={self.frequencies!r}: expected numbers of periods per px "
                "from 0.01 to 0.5."
            )

    def _prepare(self, pixels: Pixels) -> Pixels:
        return resize(pixels, size_pair(self.image_size))

    def _extract(self, batch: Sequence[Pixels]) -> Matrix:
        return np.stack([self._describe(pixels) for pixels in batch])

    def _describe(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        from scipy import fft

        image = gray(pixels).reshape(pixels.shape[:2]) / 255
        bank, margin = _filter_bank(as_tuple(self.frequencies), self.orientations, image.shape)
        # The mirrored border keeps the ends of the image apart, which an FFT joins.
        spectrum = fft.fft2(np.pad(image, margin, mode="symmetric"), bank.shape[1:])
        statistics = []
        for response_spectrum in bank:
            response = fft.ifft2(response_spectrum * spectrum)
            inner = response[margin : margin + image.shape[0], margin : margin + image.shape[1]]
            squares = inner.real**2 + inner.imag**2
            statistics += [np.sqrt(squares).mean(), squares.mean()]
        return np.array(statistics, np.float32)  # (frequencies, orientations, 2), flattened


@lru_cache(4)
def _filter_bank(
    frequencies: tuple[float, ...], orientations: int, shape: tuple[int, int]
) -> tuple[npt.NDArray[np.complex128], int]:
    """Fourier transforms of the filters ``(n, h, w)``, and the border in px that they need."""
    from scipy import fft
    from skimage.filters import gabor_kernel

    make_kernel: Any = gabor_kernel  # It is not annotated.
    kernels = [
        make_kernel(frequency, theta=np.pi * i / orientations)
        for frequency in frequencies
        for i in range(orientations)
    ]
    margin = max(max(kernel.shape) for kernel in kernels) // 2
    padded = [fft.next_fast_len(side + 2 * margin) for side in shape]
    bank = np.zeros((len(kernels), *padded), np.complex128)
    for filters, kernel in zip(bank, kernels):
        filters[: kernel.shape[0], : kernel.shape[1]] = kernel
        # With its center at the origin, a filter does not shift the image.
        filters[:] = np.roll(filters, [-(side // 2) for side in kernel.shape], (0, 1))
    return fft.fft2(bank), margin
