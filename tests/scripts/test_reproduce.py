"""Published tables: what stands beside each other, what is told of differences, small runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SAMPLES = Path(__file__).parents[2] / "data" / "samples"


@pytest.fixture
def script(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("reproduce")


def test_there_are_the_five_tables(script: ModuleType) -> None:
    assert list(script.TABLES) == ["caltech101", "ants_bees", "flowers", "domains", "scenes"]


def test_every_published_figure_has_a_source_with_its_year(script: ModuleType) -> None:
    for table in script.TABLES.values():
        for figure in table.figures:
            assert 1 < figure.accuracy < 100
            assert re.search(r"20[01]\d|PyTorch", figure.source)


def test_decafs_figures_for_caltech101_are_those_of_the_paper(script: ModuleType) -> None:
    found = {(f.features, f.classifier): f.accuracy for f in script.TABLES["caltech101"].figures}
    layers = ("DeCAF5", "DeCAF6", "DeCAF7")
    assert [found[layer, "logistic"] for layer in layers] == [63.3, 84.3, 84.9]
    assert [found[layer, "svm"] for layer in layers] == [77.1, 84.8, 83.2]


def measured(key: str, classifier: str, pair: tuple[str, ...] = ()) -> dict[str, Any]:
    figures = {"measured": "50.0", "low": "40.0", "high": "60.0"}
    return {"key": key, "spec": f"net:{key}", "classifier": classifier, "pair": pair, **figures}


def test_a_figure_stands_beside_its_layer_and_classifier_alone(script: ModuleType) -> None:
    rows = [measured("relu_fc6", "svm"), measured("relu_fc6", "ridge")]
    lines = script.side_by_side(script.TABLES["caltech101"], rows)
    both = [line for line in lines if line["published"] != "-" and line["measured"] != "-"]
    assert [(line["features"], line["published"]) for line in both] == [
        ("DeCAF6 / net:relu_fc6", "84.8")
    ]
    assert lines[-1]["features"] == "net:relu_fc6"
    assert (lines[-1]["classifier"], lines[-1]["published"]) == ("ridge", "-")
    assert len(lines) == len(script.TABLES["caltech101"].figures) + 1


def test_a_figure_of_domains_stands_beside_its_pair_alone(script: ModuleType) -> None:
    rows = [measured("relu_fc6", "svm", pair) for pair in (("dslr", "webcam"), ("webcam", "dslr"))]
    lines = script.side_by_side(script.TABLES["domains"], rows)
    (both,) = [line for line in lines if line["published"] != "-" and line["measured"] != "-"]
    assert both["features"] == "DeCAF6, dslr to webcam / net:relu_fc6"
    assert both["published"] == "91.5"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "The network differs: here featxnet; the paper's is the AlexNet of Krizhevsky"),
        (["--model", "alexnet", "--weights", "random"], "later one (2014: one tower, 64 first"),
        (["--layer", "pool9"], "featxnet has no layer pool9; measured -1."),
    ],
)
def test_differences_to_the_paper_are_told(
    script: ModuleType, options: list[str], told: str
) -> None:
    args = script.parse(["caltech101", "--data", "x", *options])
    table = script.TABLES["caltech101"]
    layers = list(script.network_specs(args, table).values())
    assert told in "\n".join(script.differences(args, table, layers))


def test_layers_of_the_table_become_specs_of_the_network(script: ModuleType) -> None:
    args = script.parse(["scenes", "--data", "x", "--pooling", "gap"])
    assert script.network_specs(args, script.TABLES["scenes"]) == {
        "cnn:featxnet:relu_fc6,pooling=gap": "relu_fc6",
        "cnn:featxnet:relu_fc7,pooling=gap": "relu_fc7",
    }


def run(script: ModuleType, capsys: pytest.CaptureFixture[str], *options: str) -> list[list[str]]:
    """Cells of each line that the script prints."""
    script.main([*options, "-q", "--seeds", "2"])
    lines = capsys.readouterr().out.splitlines()
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]


def test_scenes_run_on_any_folder(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(SAMPLES / "photo"), "--train-per-class", "5"]
    lines = run(script, capsys, "scenes", *data, "-e", "color", "--classifier", "logistic")
    (color,) = [line for line in lines if line[0] == "color"]
    assert float(color[3]) > 20
    assert ["DeCAF6, SUN-397", "logistic", "40.9", "-", "-", "-", script.DECAF] in lines


def test_domains_run_on_any_two(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(SAMPLES), "--domains", "photo,sketch", "--classifier", "ridge"]
    lines = run(script, capsys, "domains", *data, "-e", "mean_color")
    assert [line[:2] for line in lines].count(["mean_color, photo to sketch", "ridge"]) == 1
    assert [line[:2] for line in lines].count(["mean_color", "coral"]) == 3
    assert any(line[0].startswith("Target accuracy: mean_color") for line in lines)


@pytest.mark.slow
def test_ants_bees_puts_the_bundled_network_beside_the_tutorial(
    script: ModuleType, shared: Callable[[str], Path]
) -> None:
    args = script.parse(["ants_bees", "--data", str(shared("data/ants_bees")), "-q"])
    table = script.TABLES["ants_bees"]
    keys = script.network_specs(args, table)
    result = script.measure(args, table, list(keys), "logistic")
    lines = script.side_by_side(table, script.measured_rows(result, keys, "logistic"))
    assert (lines[0]["features"], lines[0]["published"]) == ("last layer / cnn:featxnet:-1", "94.8")
    assert 60 < float(lines[0]["measured"]) < 95
