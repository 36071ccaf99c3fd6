"""Nearest neighbors and nearest means: scikit-learn's, where it can."""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.utils.estimator_checks import parametrize_with_checks

from featx.evaluation.nearest_neighbors import MeanProbe, NeighborProbe

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(60, 5)), np.array(list("abc") * 20)
NEW = RNG.normal(size=(40, 5))


@parametrize_with_checks([NeighborProbe(), MeanProbe()])
def test_is_a_scikit_learn_classifier(estimator, check) -> None:  # type: ignore[no-untyped-def]
    check(estimator)


def test_neighbors_vote_as_scikit_learns() -> None:
    expected = KNeighborsClassifier(10, metric="cosine").fit(X, Y).predict_proba(NEW)

    assert np.array_equal(NeighborProbe().fit(X, Y).predict_proba(NEW), expected)


def test_all_vote_where_there_are_few() -> None:
    assert NeighborProbe(10).fit(X[:3], Y[:3]).predict_proba(NEW).max() < 0.34


def test_nearest_mean_is_scikit_learns() -> None:
    expected = NearestCentroid().fit(X, Y).predict(NEW)

    assert np.array_equal(MeanProbe().fit(X, Y).predict(NEW), expected)


def test_nearest_mean_is_the_likeliest() -> None:
    probe = MeanProbe().fit(X, Y)
    shares = probe.predict_proba(NEW)

    np.testing.assert_allclose(shares.sum(1), 1)
    assert np.array_equal(probe.classes_[shares.argmax(1)], probe.predict(NEW))
