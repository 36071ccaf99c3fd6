from __future__ import annotations

import inspect
import pickle

import pytest

from featx import errors

CLASSES = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if cls.__module__ == errors.__name__
]


def test_every_class_stands_in_the_tree_of_the_docstring() -> None:
    assert errors.__doc__ is not None
    assert [cls.__name__ for cls in CLASSES if cls.__name__ not in errors.__doc__] == []


@pytest.mark.parametrize(
    "error",
    [
        errors.ImageError("a.jpg", "the file is empty"),
        errors.LayerError("pol1", "alexnet", ["pool1"]),
        errors.StoreError("the disk is full"),
    ],
)
def test_errors_survive_the_way_back_from_a_worker(error: Exception) -> None:
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_layer_error_gives_the_cure() -> None:
    assert str(errors.LayerError("pol1", "alexnet", ["pool1"])) == (
        "Layer 'pol1' is not in alexnet. Did you mean 'pool1'? See `featx layers alexnet`."
    )
