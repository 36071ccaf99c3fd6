from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from featx.extractors.gist import Gist, _filters, _normalize_contrast
from featx.testing import check_extractor

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (2, 48, 48), np.uint8)


def grating(cycles: float, degrees: float, n_px: int = 64) -> npt.NDArray[np.uint8]:
    """Image (1, n_px, n_px) of a sine wave that runs in a direction, 0 for left to right."""
    y, x = np.mgrid[:n_px, :n_px] / n_px
    angle = np.deg2rad(degrees)
    wave = np.sin(2 * np.pi * cycles * (x * np.cos(angle) + y * np.sin(angle)))
    return np.rint(127.5 + 100 * wave).astype(np.uint8)[None]


def test_laws_of_extractors_hold() -> None:
    check_extractor(Gist(32, grid=2, scales=2, orientations=4))


def test_responses_are_those_of_a_convolution_with_each_filter() -> None:
    """The plain definition: circular convolution, one filter at a time."""
    extractor = Gist(16, grid=2, scales=2, orientations=3)
    row = extractor.transform(NOISE[:1, :16, :16])[0].reshape(6, 2, 2)
    image = np.pad(_normalize_contrast(NOISE[0, :16, :16]), 4, "symmetric")
    n = len(image)
    for i, transfer in enumerate(_filters(image.shape, 2, 3)):
        kernel = np.fft.ifft2(transfer)
        response = np.zeros((n, n), complex)
        for y in range(n):
            for x in range(n):
                response += image[y, x] * np.roll(kernel, (y, x), (0, 1))
        amplitude = np.abs(response)[4:-4, 4:-4]
        expected = amplitude.reshape(2, 8, 2, 8).mean((1, 3))
        np.testing.assert_allclose(row[i], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("degrees", [0, 45, 90, 135])
def test_the_filter_along_a_grating_responds_most(degrees: float) -> None:
    extractor = Gist(64, grid=1, scales=1, orientations=4)
    energies = extractor.transform(grating(0.3 * 64, degrees))[0]
    # Filters turn against the image's rows, which run downwards.
    assert np.argmax(energies) == (-degrees / 45) % 4


def test_coarse_gratings_excite_coarse_scales() -> None:
    scales = [
        Gist(64, grid=1, scales=3, orientations=1).transform(grating(0.3 * 64 / 1.85**k, 0))[0]
        for k in range(3)
    ]
    assert [int(np.argmax(energies)) for energies in scales] == [0, 1, 2]


def test_exposure_hardly_matters() -> None:
    image = NOISE // 4 + 60
    rows = Gist(48).transform(np.concatenate([image, image * 2]))
    apart = np.linalg.norm(rows[0] - rows[1])
    assert np.linalg.norm(rows[0] - rows[2]) < apart / 4


def test_a_flat_image_has_no_energy() -> None:
    assert np.abs(Gist(32).transform(np.full((1, 32, 32), 90, np.uint8))).max() < 1e-3


def test_an_image_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="Gist needs images of at least 16x16 px for grid=4; got"):
        Gist(8).transform(NOISE)


def test_every_column_has_a_name_of_its_own() -> None:
    extractor = Gist(32, grid=2)
    assert len(set(extractor.get_feature_names_out())) == extractor.transform(NOISE).shape[1]
