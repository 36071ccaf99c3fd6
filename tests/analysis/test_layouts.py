"""Layouts: PCA against scikit-learn, and later rows among those that were laid out."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from sklearn.decomposition import PCA

from featx.analysis.layouts import LAYOUTS, _islands_nearer
from featx.analysis.similarity import Space
from tests.analysis.conftest import layers_of


def pca(X: np.ndarray) -> np.ndarray:
    return np.asarray(LAYOUTS["pca"](n_neighbors=15, random_state=0).fit(Space(X)))


def test_pca_is_that_of_unit_rows() -> None:
    X = layers_of()["fc7"]
    expected = PCA(2).fit_transform(X / np.linalg.norm(X, axis=1, keepdims=True))
    signs = np.sign((expected * pca(X)).sum(axis=0))
    np.testing.assert_allclose(pca(X), signs * expected, atol=1e-5)


def test_pca_of_wide_features_is_that_of_narrow_ones() -> None:
    narrow = layers_of(60)["fc7"]
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(300, 12)))[0]
    wide = pca((narrow @ turn.T).astype(np.float32))
    signs = np.sign((wide * pca(narrow)).sum(axis=0))
    np.testing.assert_allclose(wide, signs * pca(narrow), atol=1e-4)


def test_lengths_of_rows_move_no_point() -> None:
    X = layers_of()["pool5"]
    lengths = np.random.default_rng(0).uniform(0.1, 10, (120, 1)).astype(np.float32)
    np.testing.assert_allclose(pca(X * lengths), pca(X), atol=1e-4)


@pytest.mark.parametrize("n_columns", [1, 3, 50])
def test_rows_that_are_all_equal_lie_in_one_point(n_columns: int) -> None:
    np.testing.assert_allclose(pca(np.ones((9, n_columns), np.float32)), 0, atol=1e-5)


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_later_images_are_mapped_alone_as_together(method: str) -> None:
    X = layers_of(40)["fc7"]
    layout = LAYOUTS[method](n_neighbors=5, random_state=0)
    layout.fit(Space(X))
    together = layout.transform(X[:5] + 0.1)
    alone = np.concatenate([layout.transform(row[None] + 0.1) for row in X[:5]])
    np.testing.assert_allclose(together, alone, atol=1e-4)


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_an_image_of_the_map_is_put_where_it_is(method: str) -> None:
    X = layers_of(40)["fc7"]
    layout = LAYOUTS[method](n_neighbors=5, random_state=0)
    positions = layout.fit(Space(X))
    np.testing.assert_allclose(layout.transform(3 * X), positions, rtol=1e-3, atol=1e-4)


def test_a_later_image_lies_among_its_nearest() -> None:
    angles = np.linspace(0, 1.5, 31)
    X = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    layout = LAYOUTS["tsne"](n_neighbors=4, random_state=0)
    positions = layout.fit(Space(X[::2]))
    near = np.argsort(-X[1::2] @ X[::2].T, axis=1)[:, :4]
    low, high = positions[near].min(axis=1), positions[near].max(axis=1)
    later = layout.transform(X[1::2])
    assert ((low - 1e-4 <= later) & (later <= high + 1e-4)).all()


def test_far_islands_come_nearer_and_keep_their_order() -> None:
    rng = np.random.default_rng(0)
    positions = np.concatenate([rng.normal(size=(95, 2)), [[50, 0], [100, 0], [400, 0]]])
    centered = positions - np.median(positions, axis=0)
    moved = _islands_nearer(positions.astype(np.float32))
    before, after = (np.linalg.norm(points, axis=1) for points in (centered, moved))
    is_usual = before <= np.quantile(before, 0.9)
    np.testing.assert_allclose(moved[is_usual], centered[is_usual], atol=1e-5)
    assert (np.argsort(after) == np.argsort(before)).all()
    assert after.max() < before.max() / 10


def test_wide_rows_are_never_copied_whole() -> None:
    X = np.random.default_rng(0).normal(size=(60, 200_000)).astype(np.float32)
    space = Space(X)
    tracemalloc.start()
    try:
        LAYOUTS["pca"]().fit(space)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < X.nbytes
