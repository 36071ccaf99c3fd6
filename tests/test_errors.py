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


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("Pol1", " Did you mean 'pool1'?"),
        ("pool", " Did you mean 'pool1' or 'pool2' or 'pool5'?"),
        ("qqq", ""),
        ("", ""),
    ],
)
def test_only_the_names_nearest_to_a_wrong_one_are_offered(name: str, guess: str) -> None:
    assert errors.did_you_mean(name, ["conv1", "pool1", "pool2", "pool5"]) == guess


def test_a_prefix_is_shown_but_makes_no_name_nearer() -> None:
    known = ["MNIST", "CIFAR10"]
    guess = errors.did_you_mean("cifar1O", known, prefix="torchvision:")
    assert guess == " Did you mean 'torchvision:CIFAR10'?"
    assert errors.did_you_mean("x", known, prefix="torchvision:") == ""


def test_of_names_that_differ_in_case_alone_the_first_is_offered() -> None:
    assert errors.nearest_names("Fc", ["fc6", "FC6"]) == ["fc6"]


@pytest.mark.parametrize(
    ("error", "line"),
    [(OSError("a\n  b\tc "), "a b c"), (RuntimeError(), "RuntimeError")],
)
def test_an_error_is_told_on_one_line(error: Exception, line: str) -> None:
    assert errors.one_line(error) == line
