"""The model card: as data, and in prose."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest
from safetensors.torch import load_file

from featx.networks.featxnet import load_card, weights_path

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def script(load_script) -> ModuleType:
    return load_script("featxnet_card")


def test_card_is_read_back_as_it_was_written(script: ModuleType, tmp_path: Path) -> None:
    card = {"name": "x", "feature_statistics": {"pool5": {"mean": [0.5, 1.25], "std": [1.0, 2.0]}}}

    script.write_card(card, tmp_path / "card.json")

    assert json.loads((tmp_path / "card.json").read_text()) == card
    assert '"mean": [0.5, 1.25]' in (tmp_path / "card.json").read_text()


def test_prose_in_the_docs_is_that_of_the_card(script: ModuleType) -> None:
    prose = (DOCS / "featxnet.md").read_text(encoding="utf-8")

    assert prose == script.as_prose(load_card())


def test_table_has_a_row_for_each_kind_of_features(script: ModuleType) -> None:
    row = {"name": "hog", "accuracy": {"t": 0.5}, "interval": {"t": 0.1}, "purity": {"t": 0.25}}

    lines = script.as_table([row, row]).splitlines()

    assert lines[2:] == ["| hog | 0.500 ± 0.100 | 0.25 |"] * 2


def test_statistics_are_given_for_every_channel() -> None:
    n_channels = {"pool1": 32, "pool5": 256, "fc6": 512}
    statistics = load_card()["feature_statistics"]

    assert {k: len(statistics[k]["mean"]) for k in n_channels} == n_channels
    assert load_file(weights_path())["fc6.bias"].shape == (512,)
