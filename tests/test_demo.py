"""The demonstration: every sentence is true of the numbers above it."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx import load_dataset
from featx.data import drawings
from featx.data.images import Images
from featx.demo import (
    Story,
    _choose_words,
    _count_points,
    _describe_images,
    _describe_maps,
    _describe_table,
    tell_story,
)
from featx.errors import DatasetError

SAMPLES = "data/samples/photo"
LABELS = np.array(list("aaabbb"))


def row(spec: str, accuracy: float, layer: str = "", **more: Any) -> dict[str, Any]:
    """A row as `compare` gives it."""
    is_control = spec in ("pixels", "shuffled labels") or "random" in spec
    return {"spec": spec, "layer": layer, "accuracy": accuracy, "low": accuracy - 0.1,
            "difference": 0.1, "is_tied": False, "is_control": is_control} | more  # fmt: skip


def rows(network: float, hog: float, twin: float = 0.4) -> list[dict[str, Any]]:
    """Rows of a comparison in which these accuracies came out, best first."""
    found = [
        row("cnn:featxnet:fc7", network, "fc7"),
        row("cnn:featxnet:pool1", network - 0.05, "pool1"),
        row("hog", hog),
        row("cnn:featxnet:fc7,weights=random", twin, "fc7"),
        row("shuffled labels", 0.5),
    ]
    return sorted(found, key=lambda r: -r["accuracy"])


def test_only_drawn_images_are_called_drawn() -> None:
    digits = load_dataset("digits").take(range(20))

    assert len(_describe_images(digits, 20)) == 1
    assert "sampled evenly from 1,797" in _describe_images(digits, 1797)[0]
    assert "are drawn" in _describe_images(replace(digits, source="drawings"), 20)[1]


def test_words_change_with_the_outcome() -> None:
    deep, hand = _describe_table(rows(0.9, 0.6), LABELS), _describe_table(rows(0.6, 0.9), LABELS)

    assert deep[0].startswith("the network's layer fc7 is 30.0 points ahead of hog: 0.900")
    assert hand[0].startswith("hog is 30.0 points ahead of the network's layer fc7: 0.900")


def test_training_that_does_not_help_is_said() -> None:
    said = _describe_table(rows(0.6, 0.5, twin=0.8), LABELS)

    assert any(s.startswith("the network with random weights is 20.0 points ahead") for s in said)


def test_equal_features_are_level() -> None:
    assert "are level" in _describe_table(rows(0.6, 0.6), LABELS)[0]


def test_leak_is_not_called_chance() -> None:
    honest = rows(0.9, 0.6)
    leaking = [r | {"low": 0.8, "accuracy": 0.9} if "shuffled" in r["spec"] else r for r in honest]

    assert "no more than chance" in _describe_table(honest, LABELS)[-1]
    assert "check for duplicate" in _describe_table(leaking, LABELS)[-1]


def test_least_faithful_map_is_named() -> None:
    maps = [
        {"layer": "pool1", "trustworthiness": 0.9, "neighbors_kept": 0.5},
        {"layer": "fc7", "trustworthiness": 0.8, "neighbors_kept": 0.4},
    ]

    assert "that of fc7, trustworthiness 0.80" in _describe_maps(maps)
    assert "that of pool1" in _describe_maps([m | {"trustworthiness": 0.5} for m in maps])


def test_tiny_images_get_a_grid_and_larger_ones_key_points() -> None:
    digits, photos = load_dataset("digits").images, load_dataset(SAMPLES).images

    assert _choose_words(digits)[0].startswith("bovw:dense_sift")
    assert _choose_words(photos)[0].startswith("bovw:surf")
    assert _count_points(digits) < 1 < 10 < _count_points(photos)


def test_images_without_classes_are_refused(photos: list[str]) -> None:
    flat = load_dataset([Path(path).parent for path in photos[:1]])

    with pytest.raises(DatasetError, match="no labels"):
        tell_story(flat)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The demonstration on a few of its own images, and three layers."""
    folder = tmp_path_factory.mktemp("demo")
    few, layers = partial(drawings.draw_objects, 5), ["pool1", "pool5", "relu_fc7"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawings, "draw_objects", few)
        patch.setattr("featx.demo.choose_layers", lambda steps: layers)
        return tell_story(report=folder, store=folder / "store")


@pytest.mark.slow
def test_every_comparison_told_is_in_the_table(story: Story) -> None:
    accuracies = {f"{row['accuracy']:.3f}" for row in story.results[1].rows}

    told = [s for s in story.sentences if "points ahead" in s or "are level" in s]

    assert told
    for sentence in told:
        better, worse = re.search(r"(\d\.\d+) against (\d\.\d+)", sentence).groups()  # type: ignore[union-attr]
        assert {better, worse} <= accuracies
        assert float(better) >= float(worse)


@pytest.mark.slow
def test_page_leads_with_embeddings_and_says_that_the_images_are_drawn(story: Story) -> None:
    page = story.report.read_text("utf-8")

    assert page.index("<h2>Embeddings</h2>") < page.index("<h2>Summary</h2>")
    assert page.index("The images are drawn") < page.index("<h2>Results</h2>")
    assert "The images are drawn" in story.sentences[2]


@pytest.mark.slow
def test_story_ends_with_a_report_and_commands(story: Story) -> None:
    figures = {file.name for file in story.report.parent.glob("*/figures/*")}

    assert {"depth.png", "maps.svg", "cost.png", "confusion.png"} <= figures
    assert story.sentences[-1].startswith("featx predict")
    assert [result.command for result in story.results] == ["depth", "compare"]


def test_digits_are_too_small_for_key_points() -> None:
    spec, why = _choose_words(Images(np.zeros((4, 8, 8), np.uint8)))

    assert "8 px" in why
    assert "dense_sift" in spec
