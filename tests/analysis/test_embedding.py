from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import make_blobs
from sklearn.manifold import trustworthiness

from featx import FeatureSet
from featx.analysis.embedding import (
    Embedding,
    _judge_map,
    find_distinct,
    project,
)
from featx.analysis.similarity import Space
from tests.analysis.conftest import LAYERS, layers_of


def test_maps_are_centered_and_equally_large() -> None:
    for found in project(layers_of(), "pca"):
        np.testing.assert_allclose(found.coordinates.mean(axis=0), 0, atol=1e-5)
        assert (found.coordinates**2).sum(axis=1).mean() == pytest.approx(1, rel=1e-4)


def test_each_map_is_turned_to_lie_on_the_one_before() -> None:
    X = layers_of()["fc7"]
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(12, 12)))[0]
    first, second = project({"a": X, "b": X @ turn.astype(np.float32)}, "pca")
    np.testing.assert_allclose(first.coordinates, second.coordinates, atol=1e-3)


def test_blocks_of_a_feature_set_are_mapped_in_their_order() -> None:
    features = FeatureSet(
        np.concatenate(list(layers_of(30).values()), axis=1),
        [f"{i}.jpg" for i in range(30)],
        blocks={"pool1": (0, 12), "pool5": (12, 24), "fc7": (24, 36)},
    )
    assert [found.name for found in project(features, "pca")] == list(LAYERS)


def test_judged_as_by_sklearn() -> None:
    rng = np.random.default_rng(0)
    X, positions = rng.normal(size=(80, 9)), rng.normal(size=(80, 2)).astype(np.float32)
    found, kept = _judge_map(Space(X), positions)
    expected = trustworthiness(X, positions, n_neighbors=10, metric="cosine")
    assert found == pytest.approx(expected, abs=1e-9)
    assert 0 < kept < 0.4


def test_a_map_that_is_the_space_is_fully_trusted() -> None:
    angles = np.random.default_rng(0).random(50)
    X = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert _judge_map(Space(X), X.astype(np.float32)) == (1.0, pytest.approx(1.0, abs=0.01))


def test_only_images_equal_in_all_layers_are_twins() -> None:
    first, second = np.ones((3, 2)), np.array([[1, 2], [3, 4], [1, 2]])
    kept, positions = find_distinct([first, second])
    assert (kept.tolist(), positions.tolist()) == ([0, 1], [0, 1, 0])


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(ValueError, match="one of umap, pca, tsne; got 'mds'"):
        project(np.eye(5), "mds")
    with pytest.raises(ValueError, match="same images; got rows: a 5, b 6"):
        project({"a": np.eye(5), "b": np.eye(6)}, "pca")
    with pytest.raises(ValueError, match="at least 4 distinct images; got 1"):
        project(np.ones((9, 3)), "pca")


def test_a_map_is_plain_values_for_a_report() -> None:
    plain = project(layers_of(), "pca")[0].to_dict()
    assert list(plain) == ["layer", "method", "coordinates", "trustworthiness", "neighbors_kept"]
    assert len(plain["coordinates"]) == 120


def bytes_of(maps: list[Embedding]) -> list[bytes]:
    return [found.coordinates.tobytes() for found in maps]


@pytest.mark.slow
def test_umap_gives_the_same_bytes_with_duplicates_too() -> None:
    layers = layers_of(n_twins=40)
    maps = project(layers)
    assert bytes_of(project(layers)) == bytes_of(maps)
    assert bytes_of(project(layers, random_state=1)) != bytes_of(maps)
    for found in maps:
        np.testing.assert_array_equal(found.coordinates[80:], found.coordinates[:40])


@pytest.mark.slow
def test_umap_keeps_classes_where_they_were() -> None:
    _, y = make_blobs(120, 12, centers=4, random_state=0)
    maps = project(layers_of())
    before, after = [
        np.stack([found.coordinates[y == name].mean(axis=0) for name in range(4)])
        for found in maps[-2:]
    ]
    apart = np.linalg.norm(before[:, None] - after, axis=2)
    assert apart.argmin(axis=1).tolist() == [0, 1, 2, 3]
    assert apart.diagonal().mean() < apart.mean() / 2


@pytest.mark.slow
def test_umap_of_neighbors_is_as_trustworthy_as_umap_of_rows() -> None:
    from umap import UMAP

    X = layers_of(300)["pool5"]
    with pytest.warns(UserWarning, match="n_jobs value"):
        plain = UMAP(metric="cosine", random_state=0, init="pca").fit_transform(X)
    assert project(X).trustworthiness > _judge_map(Space(X), plain)[0] - 0.01


@pytest.mark.slow
@pytest.mark.parametrize("method", ["umap", "tsne"])
def test_later_images_come_among_their_like(method: str) -> None:
    X, y = make_blobs(160, 12, centers=4, cluster_std=2, random_state=0)
    found = project(X[:120], method)
    np.testing.assert_allclose(found.transform(X[:120]), found.coordinates, atol=1e-3)
    later = found.transform(X[120:])
    nearest = ((later[:, None] - found.coordinates) ** 2).sum(axis=2).argmin(axis=1)
    assert np.mean(y[:120][nearest] == y[120:]) > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("method", ["umap", "tsne"])
def test_four_images_and_equal_layers_are_mapped(method: str) -> None:
    dead = {"dead": np.ones((5, 3)), "live": np.eye(5, 4)}
    maps = project(dead, method)
    assert all(np.isfinite(found.coordinates).all() for found in maps)
