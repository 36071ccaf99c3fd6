import numpy as np
import pytest
from skimage.feature import fisher_vector
from sklearn.mixture import GaussianMixture

from featx.extractors.bovw.encodings import (
    NORMS,
    _pyramid_weight,
    fisher,
    normalize,
    pyramid_cells,
    soften,
    vlad,
)
from featx.extractors.bovw.mixtures import Mixture, posteriors


def test_vlad_equals_the_sum_by_hand() -> None:
    rng = np.random.default_rng(0)
    values, words = rng.normal(size=(30, 4)), rng.normal(size=(5, 4))
    labels = ((values[:, None] - words) ** 2).sum(axis=2).argmin(axis=1)
    by_hand = np.zeros((5, 4))
    for value, label in zip(values, labels, strict=True):
        by_hand[label] += value - words[label]
    np.testing.assert_allclose(vlad(values, labels, words), by_hand.ravel(), atol=1e-12)


def test_fisher_equals_scikit_images() -> None:
    rng = np.random.default_rng(0)
    model = GaussianMixture(3, covariance_type="diag", random_state=0)
    model.fit(rng.normal(size=(200, 4)))
    values = rng.normal(size=(20, 4))
    mixture = Mixture(model.weights_, model.means_, model.covariances_)
    shares = posteriors(values, mixture)[0] / np.sqrt(mixture.weights)
    ours = fisher(values, shares, mixture.means, mixture.variances)
    theirs = fisher_vector(values, model)[3:]
    theirs[12:] *= -1  # Gradients by deviations: scikit-image has the sign of 1 - (x - mean)^2.
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_fisher_vector_of_no_descriptors_is_zero() -> None:
    means = np.ones((3, 4))
    assert not fisher(np.empty((0, 4)), np.empty((0, 3)), means, means).any()


def test_soft_shares_fall_with_the_distance_and_sum_to_one() -> None:
    distances = np.random.default_rng(0).uniform(0, 9, (20, 8))
    labels, shares = soften(distances, scale=2.0)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_array_equal(labels, np.argsort(distances, axis=1)[:, :5])
    near = np.take_along_axis(distances, labels, axis=1)
    ratio = shares[:, 1] / shares[:, 0]
    np.testing.assert_allclose(ratio, np.exp((near[:, 0] - near[:, 1]) / 2))


def test_soft_shares_of_descriptors_that_equal_their_words_are_finite() -> None:
    assert np.isfinite(soften(np.array([[0.0, 1.0]]), scale=0.0)[1]).all()


def test_pyramid_cells_are_the_quarters_cut_by_hand() -> None:
    positions = np.random.default_rng(0).integers(0, 65536, (200, 2)).astype(np.uint16)
    right, below = positions[:, 0] >= 32768, positions[:, 1] >= 32768
    by_hand = [right | ~right, ~right & ~below, right & ~below, ~right & below, right & below]
    cells = list(pyramid_cells(positions, 1))
    assert [level for level, _ in cells] == [0, 1, 1, 1, 1]
    for (_, members), expected in zip(cells, by_hand, strict=True):
        np.testing.assert_array_equal(members, expected)


def test_every_level_of_a_pyramid_has_each_descriptor_once() -> None:
    positions = np.random.default_rng(0).integers(0, 65536, (50, 2)).astype(np.uint16)
    counts = np.zeros((4, 50))
    for level, members in pyramid_cells(positions, 3):
        counts[level] += members
    assert (counts == 1).all()


def test_pyramid_weights_are_lazebniks() -> None:
    assert [_pyramid_weight(level, 2) for level in range(3)] == [1 / 4, 1 / 4, 1 / 2]
    assert _pyramid_weight(0, 0) == 1


@pytest.mark.parametrize("norm", NORMS)
def test_normalized_rows_do_not_depend_on_the_scale(norm: str) -> None:
    row = np.random.default_rng(0).normal(size=12)
    np.testing.assert_allclose(normalize(3 * row, norm, 4), normalize(row, norm, 4))


@pytest.mark.parametrize("norm", [*NORMS, None])
def test_rows_of_zeros_stay_zero(norm: str | None) -> None:
    assert not normalize(np.zeros(6), norm, 3).any()


def test_norms_equal_those_by_hand() -> None:
    row = np.array([1.0, -4.0, 0.0, 4.0])
    roots = np.array([1.0, -2.0, 0.0, 2.0])
    np.testing.assert_allclose(normalize(row, "l1"), row / 9)
    np.testing.assert_allclose(normalize(row, "l2"), row / np.sqrt(33))
    np.testing.assert_allclose(normalize(row, "power"), roots / 3)
    np.testing.assert_allclose(normalize(row, "hellinger"), roots / 3)
    halves = np.array([1 / np.sqrt(17), -4 / np.sqrt(17), 0, 1]) / np.sqrt(2)
    np.testing.assert_allclose(normalize(row, "intra", 2), halves)
