from __future__ import annotations

import numpy as np
import pytest
from skimage.filters import gabor

from featx.extractors.gabor import Gabor

NOISE = np.random.default_rng(0).integers(0, 256, (2, 40, 48), np.uint8)


def test_responses_are_scikit_images() -> None:
    rows = Gabor((40, 48), frequencies=(0.1, 0.25), orientations=3).transform(NOISE)
    for row, image in zip(rows.reshape(2, 2, 3, 2), NOISE, strict=True):
        for i, frequency in enumerate((0.1, 0.25)):
            for j in range(3):
                real, imaginary = gabor(image / 255, frequency, theta=j * np.pi / 3)
                magnitude = np.hypot(real, imaginary)
                wanted = magnitude.mean(), (magnitude**2).mean()
                np.testing.assert_allclose(row[i, j], wanted, rtol=1e-6)


def test_the_filter_of_a_wave_responds_most() -> None:
    wave = 128 + 100 * np.sin(2 * np.pi * 0.2 * np.arange(64))
    image = np.tile(wave.astype(np.uint8), (1, 64, 1))
    extractor = Gabor(64)
    energies = extractor.transform(image)[0, 1::2]
    # The mean brightness is a wave of frequency 0, to which the lowest frequencies respond.
    names = extractor.get_feature_names_out()[1::2]
    high = [i for i, name in enumerate(names) if not name.startswith("frequency0.05")]
    assert names[high][energies[high].argmax()] == "frequency0.2_0deg_energy"


def test_a_quarter_turn_exchanges_directions() -> None:
    extractor = Gabor(40, orientations=4)
    upright = extractor.transform(NOISE[:, :, :40]).reshape(2, 4, 4, 2)
    turned = extractor.transform(np.rot90(NOISE[:, :, :40], axes=(1, 2))).reshape(2, 4, 4, 2)
    np.testing.assert_allclose(turned, np.roll(upright, 2, axis=2), rtol=1e-4)


@pytest.mark.parametrize("frequencies", [(), 0.0, (0.2, 0.7), ("a",)])
def test_impossible_frequencies_are_refused(frequencies: object) -> None:
    with pytest.raises(ValueError, match="frequencies"):
        Gabor(frequencies=frequencies).fit(NOISE)  # type: ignore[arg-type]
