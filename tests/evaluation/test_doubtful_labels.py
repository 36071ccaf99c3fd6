from __future__ import annotations

import numpy as np
import pytest

from featx.errors import DatasetError
from featx.evaluation.doubtful_labels import find_doubtful, predict_out_of_fold
from featx.evaluation.protocols import Protocol

RNG = np.random.default_rng(0)
CODES = np.arange(200) % 4
X = (3 * np.eye(4, 8)[CODES] + RNG.normal(size=(200, 8))).astype(np.float32)
CV = Protocol("cv")


def labels_with_errors(n_wrong: int) -> tuple[np.ndarray, np.ndarray]:
    wrong = RNG.permutation(200)[:n_wrong]
    codes = CODES.copy()
    codes[wrong] = (codes[wrong] + RNG.integers(1, 4, n_wrong)) % 4
    return np.array(list("abcd"))[codes], wrong


def test_swapped_labels_are_doubted_first() -> None:
    labels, wrong = labels_with_errors(20)
    found = predict_out_of_fold(X, labels, np.arange(200), CV)
    codes = np.searchsorted(found.classes, labels[found.indices])

    doubted = found.indices[find_doubtful(found.probabilities, codes)]

    assert np.isin(doubted[:15], wrong).mean() >= 0.9
    assert np.isin(wrong, doubted).mean() >= 0.7
    own = found.probabilities[np.arange(200), codes]
    assert (np.diff(own[find_doubtful(found.probabilities, codes)]) >= 0).all()


def test_sure_and_right_predictions_doubt_nothing() -> None:
    assert len(find_doubtful(0.9 * np.eye(3)[[0, 1, 2] * 4] + 0.1 / 3, np.arange(12) % 3)) == 0


def test_a_label_that_is_predicted_is_not_doubted() -> None:
    probabilities = RNG.dirichlet(np.ones(3), 60)
    codes = RNG.integers(3, size=60)

    doubted = find_doubtful(probabilities, codes)

    assert (probabilities.argmax(1)[doubted] != codes[doubted]).all()


def test_a_copy_does_not_vouch_for_its_label() -> None:
    noise = RNG.normal(size=(60, 300)).astype(np.float32)
    twice = np.concatenate([noise, noise])
    labels = np.tile(np.array(list("ab"))[RNG.integers(2, size=60)], 2)

    apart = predict_out_of_fold(twice, labels, np.arange(120), CV)
    together = predict_out_of_fold(twice, labels, np.tile(np.arange(60), 2), CV)

    def accuracy(found: object) -> float:
        return float((found.classes[found.probabilities.argmax(1)] == labels[found.indices]).mean())  # type: ignore[attr-defined]

    assert accuracy(apart) > 0.8
    assert accuracy(together) < 0.7


def test_images_without_a_label_take_no_part() -> None:
    labels = np.where(np.arange(200) < 20, "", np.array(list("abcd"))[CODES])

    assert predict_out_of_fold(X, labels, np.arange(200), CV).indices.tolist() == [*range(20, 200)]


def test_one_class_cannot_be_predicted() -> None:
    with pytest.raises(DatasetError):
        predict_out_of_fold(X, np.full(200, "a"), np.arange(200), CV)
