from __future__ import annotations

import pytest

from featx.engine.jobs import plan_jobs
from featx.errors import SpecError
from featx.extractors.cnn import CNNFeatures
from featx.extractors.hog import HOG


def test_networks_that_differ_in_the_layer_share_a_pass() -> None:
    specs = ["cnn:alexnet:pool1,weights=random", "hog", "cnn:alexnet:fc7,weights=random"]
    jobs = plan_jobs(specs)
    assert [job.names for job in jobs] == [
        {"pool1": specs[0], "fc7": specs[2]},
        {"": "hog"},
    ]


def test_each_layer_of_an_estimator_beside_others_has_its_spec() -> None:
    (network, _) = plan_jobs([CNNFeatures("featxnet", ["pool1", "pool5"]), "hog"])

    assert list(network.names.values()) == ["cnn:featxnet:pool1", "cnn:featxnet:pool5"]


def test_one_network_names_its_blocks_by_layer() -> None:
    [job] = plan_jobs(model="alexnet", layer=["pool1", "-1"], weights="random")
    assert job.names == {"pool1": "pool1", "-1": "-1"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"extractors": ["hog", "hog"]}, "given twice"),
        ({"extractors": "hog", "layer": "fc7"}, "layer goes with model"),
        ({"extractors": "hog", "polling": "gap"}, "no parameter 'polling'"),
        ({"extractors": "hgo"}, "Did you mean 'hog'"),
        ({"extractors": "hog,max_pixels=9"}, "max_pixels describes the images"),
        ({"extractors": HOG(max_pixels=9)}, "HOG: max_pixels describes the images"),
        ({"extractors": "hog", "image_shape": (8, 8)}, "Give it to extract"),
    ],
)
def test_wrong_wishes_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        plan_jobs(**arguments)  # type: ignore[arg-type]
