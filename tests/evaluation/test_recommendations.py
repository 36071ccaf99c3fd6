"""Sentences of a comparison: true of its numbers, whatever they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from featx import FineTunedClassifier, load_dataset, probe
from featx.data.reading import make_reading
from featx.evaluation.protocols import find_protocol
from featx.evaluation.recommendations import (
    _count_training_images,
    _warn_of_convergence,
    advise_features,
)
from featx.store.feature_store import find_digests

RULES = find_protocol("cv")


def row(spec: str, accuracy: float, ms: float, **more: Any) -> dict[str, Any]:
    return {"spec": spec, "accuracy": accuracy, "low": accuracy - 0.1, "high": accuracy + 0.1,
            "p_value": 0.5, "is_tied": False, "is_control": False, "ms_per_image": ms,
            "converged": True} | more  # fmt: skip


def test_cheapest_of_the_tied_is_advised() -> None:
    rows = [
        row("deep", 0.9, 50, is_tied=True),
        row("hog", 0.88, 1, is_tied=True),
        row("color", 0.5, 0.1),
    ]

    said = " ".join(advise_features(rows, "'my photos'", RULES))

    assert "Cheapest that is no worse by the paired test (p = 0.50): hog" in said
    assert "featx probe 'my photos' -e hog" in said


def test_best_is_advised_where_nothing_is_tied() -> None:
    said = " ".join(advise_features([row("deep", 0.9, 50), row("hog", 0.5, 1)], "photos", RULES))

    assert "No cheaper features are as good" in said
    assert "-e deep" in said


def test_network_that_wins_has_the_command_that_trains_it() -> None:
    rows = [row("vgg16 full", 0.9, 50), row("hog", 0.5, 1)]
    typed = FineTunedClassifier("vgg16", train="all", lr=1e-5)
    built = FineTunedClassifier(nn.Linear(2, 2))

    said = [
        " ".join(advise_features(rows, "'my photos'", RULES, {"vgg16 full": network}))
        for network in (typed, built)
    ]

    command = "featx finetune 'my photos' --model vgg16 --lr 1e-05 --train all -o mine/"
    assert said[0].endswith(f"Command: {command}")
    assert said[1].endswith("use these.")


def test_control_that_wins_is_named() -> None:
    rows = [row("mean_color", 0.9, 1, is_control=True), row("hog", 0.5, 1)]

    said = " ".join(advise_features(rows, "photos", RULES))

    assert "The best is a control" in said
    assert "Command" not in said


def test_nothing_is_advised_where_test_images_are_trained_on() -> None:
    rows = [row("hog", 1.0, 1), row("pixels", 0.5, 1, is_control=True)]

    said = " ".join(advise_features(rows, "photos", RULES, has_copies=True))

    assert "No features are advised" in said
    assert "use these" not in said
    assert "Command" not in said


def test_nothing_is_advised_where_shuffled_labels_win() -> None:
    rows = [row("shuffled labels", 0.6, 1, is_control=True), row("hog", 0.5, 1, is_tied=True)]

    said = advise_features(rows, "photos", RULES)

    assert said[-1] == "No features are better than shuffled labels: nothing is learned here."


def test_tie_with_a_control_is_told() -> None:
    rows = [row("hog", 0.9, 1), row("pixels", 0.89, 1, is_control=True, is_tied=True)]

    assert "not tell it from a control, pixels" in " ".join(advise_features(rows, "photos", RULES))


def test_classifier_short_of_its_minimum_is_named() -> None:
    assert _warn_of_convergence([row("hog", 0.5, 1)]) == []
    assert "hog" in _warn_of_convergence([row("hog", 0.5, 1, converged=False)])[0]


def test_images_the_network_was_trained_on_are_counted(shared: Callable[[str], Path]) -> None:
    trained_on = load_dataset(shared("data/caltech101/ant"))
    new = load_dataset(shared("data/ants_bees/val/ants"))

    assert _count_training_images(find_digests(trained_on.images, None)) == len(trained_on)
    assert _count_training_images(find_digests(new.images, None)) == 0


def test_probe_warns_of_them(shared: Callable[[str], Path], tmp_path: Path) -> None:
    for name in ("ant", "crab"):
        (tmp_path / name).symlink_to(shared(f"data/caltech101/{name}"))

    result = probe(tmp_path, "cnn:featxnet:pool1,pooling=gap", n_splits=2, store=None)

    assert result.sentences[0].startswith("Beware: featxnet was trained on")


def test_commands_say_how_the_images_were_read() -> None:
    reading = make_reading(value_range=(0, 4095), bands=(4, 3, 2))
    said = advise_features([row("hog", 0.9, 1)], "photos", RULES, reading=reading)
    assert said[-2] == (
        "Command: featx probe photos -e hog --value-range=0,4095 --bands=4,3,2 --save probe.skops"
    )
    assert "make_extractor('hog', value_range=(0.0, 4095.0), bands=(4, 3, 2))" in said[-1]
