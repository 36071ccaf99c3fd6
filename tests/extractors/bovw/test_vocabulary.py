import numpy as np
import pytest

from featx.extractors.bovw.vocabulary import (
    Vocabulary,
    learn_fisher_vocabulary,
    learn_vocabulary,
    reduce,
)

EVERY = np.ones(40, bool)


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)


def _learn(values: np.ndarray, n_components: int | None = None, is_soft: bool = False):
    return learn_vocabulary(values, n_words=5, n_components=n_components, is_soft=is_soft, seed=0)


@pytest.mark.parametrize("is_soft", [False, True])
def test_counts_sum_to_the_number_of_descriptors(values: np.ndarray, is_soft: bool) -> None:
    counts = _learn(values, is_soft=is_soft).counter(values)(EVERY)
    assert counts.shape == (5,)
    assert counts.sum() == pytest.approx(40)


def test_soft_scale_is_the_mean_squared_distance_to_the_words(values: np.ndarray) -> None:
    vocabulary = _learn(values, is_soft=True)
    distances = ((values[:, None] - vocabulary.codebook) ** 2).sum(axis=2).min(axis=1)
    assert vocabulary.scale == pytest.approx(distances.mean(), rel=1e-5)


def test_counts_of_some_descriptors_are_those_of_an_image_with_only_them(
    values: np.ndarray,
) -> None:
    vocabulary = _learn(values)
    some = np.arange(40) < 13
    alone = vocabulary.counter(values[:13])(EVERY[:13])
    np.testing.assert_array_equal(vocabulary.counter(values)(some), alone)


def test_words_live_in_the_reduced_space(values: np.ndarray) -> None:
    vocabulary = _learn(values, n_components=2)
    assert vocabulary.codebook.shape == (5, 2)
    assert vocabulary.counter(values)(EVERY).sum() == 40


def test_differences_of_bits_lie_between_minus_and_plus_their_number() -> None:
    bits = np.random.default_rng(0).integers(0, 256, (40, 8), dtype=np.uint8)
    vocabulary = _learn(bits)
    differences = vocabulary.differencer(bits)(EVERY)
    assert differences.shape == (5 * 64,)
    np.testing.assert_array_equal(differences, np.rint(differences))
    assert np.abs(differences).max() <= 40


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_fisher_vectors_of_the_sample_are_near_zero(values: np.ndarray, dtype: type) -> None:
    sample = values if dtype == np.float32 else (values > 0).astype(np.uint8)
    sample = np.tile(sample, (1, 2))[:, :8]
    vocabulary = learn_fisher_vocabulary(sample, n_words=2, n_components=3, seed=0)
    vector = vocabulary.deriver(sample)(EVERY)
    assert vector.shape == (2 * 2 * 3,)
    assert np.abs(vector).max() < 0.2


def test_reduced_descriptors_are_centered() -> None:
    values = np.array([[1.0, 2.0], [3.0, 2.0]])
    reduced = reduce(values, values.mean(axis=0), np.array([[1.0], [0.0]]))
    assert reduced.tolist() == [[-1.0], [1.0]]


def test_words_of_an_image_are_named_once(values: np.ndarray) -> None:
    vocabulary = Vocabulary(values[:3])
    assert vocabulary.words_of(np.repeat(values[1:3], 4, axis=0)).tolist() == [1, 2]
