from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from featx.data.images import decode
from featx.extractors.bovw.codebooks import (
    _assign_bits,
    learn_binary_words,
    learn_projection,
    learn_words,
    nearest_words,
    squared_distances,
)
from featx.extractors.bovw.descriptors import OrbDescriptors


def _clusters(n: int, d: int, n_clusters: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    centers = rng.normal(size=(n_clusters, d)) * 3
    return (centers[rng.integers(0, n_clusters, n)] + rng.normal(size=(n, d))).astype(np.float32)


@pytest.fixture(scope="module")
def orb_bits(shared: Callable[[str], Path]) -> np.ndarray:
    extractor = OrbDescriptors()
    paths = sorted(shared("data/ants_bees/val/ants").glob("*.jpg"))[:12]
    rows = [extractor._describe(extractor._prepare(decode(path))) for path in paths]
    return extractor.unpack(np.concatenate(rows))[1]


def test_words_are_as_near_as_scikit_learns() -> None:
    X = _clusters(3000, 16, 40)
    ours = [nearest_words(X, learn_words(X, 30, seed=seed))[1].mean() for seed in range(4)]
    theirs = [KMeans(30, n_init=1, random_state=seed).fit(X).inertia_ for seed in range(4)]
    assert np.mean(ours) < 1.05 * np.mean(theirs) / len(X)


def test_words_are_the_means_of_what_they_attract() -> None:
    X = 10 * _clusters(500, 4, 3)
    X[:, 0] += 1000 * (np.arange(500) % 3)
    words = learn_words(X, 3, seed=0)
    means = [X[position::3].mean(axis=0) for position in range(3)]
    np.testing.assert_allclose(words[words[:, 0].argsort()], means, rtol=1e-4)


def test_the_same_seed_gives_the_same_words_for_any_number_of_threads() -> None:
    X = _clusters(6000, 8, 20)
    words = learn_words(X, 20, seed=5)
    for n_threads in (1, 3):
        with threadpool_limits(n_threads):
            assert learn_words(X, 20, seed=5).tobytes() == words.tobytes()
    assert learn_words(X, 20, seed=6).tobytes() != words.tobytes()


def test_more_words_than_different_descriptors_is_no_failure() -> None:
    X = np.repeat(np.eye(3, dtype=np.float32), 5, axis=0)
    words = learn_words(X, 6, seed=0)
    assert nearest_words(X, words)[1].max() == 0


def test_nearest_words_are_those_of_scikit_learn() -> None:
    X = _clusters(500, 16, 40)
    model = KMeans(20, n_init=1, random_state=0).fit(X)
    np.testing.assert_array_equal(nearest_words(X, model.cluster_centers_)[0], model.predict(X))


def test_squared_distances_equal_those_by_hand() -> None:
    X, words = _clusters(7, 5, 3), _clusters(4, 5, 2)
    by_hand = ((X[:, None] - words) ** 2).sum(axis=2)
    np.testing.assert_allclose(squared_distances(X, words), by_hand, atol=1e-4)


def test_binary_words_are_nearer_than_k_means_on_bytes(orb_bits: np.ndarray) -> None:
    words = learn_binary_words(orb_bits, 100, seed=0)
    on_bytes = KMeans(100, n_init=1, random_state=0).fit(orb_bits.astype(np.float32))
    rounded = on_bytes.cluster_centers_.round().astype(np.uint8)
    by_k_means = np.unpackbits(orb_bits ^ rounded[on_bytes.labels_], axis=1).sum(axis=1).mean()
    by_majority = _assign_bits(orb_bits, words)[1].mean()
    assert by_majority < 0.7 * by_k_means


def test_binary_words_have_the_bits_of_the_majority() -> None:
    rng = np.random.default_rng(0)
    centers = rng.integers(0, 2, (2, 64))
    flips = rng.random((200, 64)) < 0.1
    bits = np.packbits(centers[np.arange(200) % 2] ^ flips, axis=1)
    words = np.unpackbits(learn_binary_words(bits, 2, seed=0), axis=1)
    assert sorted(words.tolist()) == sorted(centers.tolist())


def test_binary_words_do_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    bits = np.random.default_rng(0).integers(0, 256, (5000, 32), dtype=np.uint8)
    words = learn_binary_words(bits, 20, seed=5)
    monkeypatch.setattr("joblib.cpu_count", lambda: 7)
    assert learn_binary_words(bits, 20, seed=5).tobytes() == words.tobytes()


def test_projection_is_scikit_learns() -> None:
    X = _clusters(3000, 6, 4) * np.array([5, 3, 1, 4, 2, 1], np.float32)
    mean, axes = learn_projection(X, 3)
    model = PCA(3).fit(X.astype(float))
    np.testing.assert_allclose(mean, model.mean_, atol=1e-6)
    np.testing.assert_allclose(np.abs(axes.T @ model.components_.T), np.eye(3), atol=1e-6)


def test_projection_does_not_depend_on_threads() -> None:
    X = _clusters(5000, 64, 4)
    axes = learn_projection(X, 32)[1]
    with threadpool_limits(1):
        assert learn_projection(X, 32)[1].tobytes() == axes.tobytes()
