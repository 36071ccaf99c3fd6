from __future__ import annotations

import numpy as np

from featx.features.results import Result
from featx.figures.matrix_data import ConfusionData, prepare_confusions, prepare_similarity


def test_class_without_images_has_no_shares() -> None:
    shares = ConfusionData(("a", "b"), np.array([[0, 0], [1, 3]])).shares

    np.testing.assert_array_equal(shares, [[0, 0], [0.25, 0.75]])


def test_a_result_without_matrices_has_none() -> None:
    result = Result("probe", "photos", [], details={"confusion": {"hog": None}, "cka": {}})

    assert prepare_confusions(result) == {}
    assert prepare_similarity(result) is None
