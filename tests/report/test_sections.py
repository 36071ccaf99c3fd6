from __future__ import annotations

from typing import Any

import pytest

from featx.features.results import Result
from featx.report.sections import gallery_paths, make_section

MISTAKE = {"path": "photos/ant/1.jpg", "true": "ant", "predicted": "bee", "probability": 0.87}


def result_of(*specs: str, **details: Any) -> Result:
    rows = [{"spec": spec, "accuracy": 0.9 - 0.01 * i} for i, spec in enumerate(specs)]
    return Result("compare", "photos", rows, details=details)


def test_sentences_shorten_specs_but_commands_keep_them_whole() -> None:
    spec = "cnn:m:fc7,weights=/long/folder/a.pth"
    result = result_of(spec)
    result.sentences = [f"Best: {spec}.", f"Command: featx probe photos -e {spec}"]

    found = make_section(result, "r0").sentences

    assert found == [("Best: cnn:m:fc7.", ""), ("Command:", f"featx probe photos -e {spec}")]


def test_choices_are_in_the_order_of_the_table() -> None:
    confusion = {"classes": ["ant", "bee"], "matrix": [[3, 1], [0, 4]]}
    result = result_of(
        "b", "a", "c", confusion={"a": confusion, "b": confusion}, mistakes={"c": []}
    )

    section = make_section(result, "r0")

    assert [choice["spec"] for choice in section.choices] == ["b", "a", "c"]
    plots = [choice["plot"] for choice in section.choices]
    assert plots == ["confusion-0", "confusion-1", None]
    assert set(filter(None, plots)) <= section.plots.keys()


def test_only_the_first_12_feature_sets_show_their_mistakes() -> None:
    specs = [f"hog,cell_px={i}" for i in range(13)]
    mistakes = {spec: [MISTAKE | {"path": f"{i}.jpg"}] for i, spec in enumerate(specs)}
    result = result_of(*specs, mistakes=mistakes)

    section = make_section(result, "r0")

    assert [choice["spec"] for choice in section.choices] == specs[:12]
    assert gallery_paths(result) == [f"{i}.jpg" for i in range(12)]
    assert "the first 12 of 13" in section.notes[0]


def test_an_image_that_two_feature_sets_misjudge_is_named_once() -> None:
    assert gallery_paths(result_of("a", "b", mistakes={"a": [MISTAKE], "b": [MISTAKE]})) == [
        MISTAKE["path"]
    ]


@pytest.mark.parametrize(
    ("value", "text"), [(0.87, "87.0%"), (1, "100.0%"), (2.5, "margin 2.500"), (None, "")]
)
def test_a_margin_is_not_called_a_probability(value: float | None, text: str) -> None:
    result = result_of("a", mistakes={"a": [MISTAKE | {"probability": value}]})

    assert make_section(result, "r0").choices[0]["mistakes"][0]["sure"] == text


def test_the_first_200_failures_are_listed_and_all_are_counted() -> None:
    failures = [(f"{i}.jpg", "broken\x00") for i in range(201)]
    section = make_section(Result("probe", "photos", [], failures=failures), "r0")

    assert section.n_failures == 201
    assert section.failures == [(f"{i}.jpg", r"broken\x00") for i in range(200)]


def test_counts_are_of_the_points_where_there_are_points() -> None:
    points = {"paths": ["a", "b", "c"], "labels": ["x", "y", ""], "domains": None}
    protocol = {"n_train": 5, "n_test": 2, "n_classes": 9}
    of_points = Result("umap", "p", [], protocol, details={"points": points})
    of_protocol = Result("finetune", "p", [], protocol, failures=[("d", "broken")])

    counts = [next(iter(make_section(r, "r0").facts))[1] for r in (of_points, of_protocol)]

    assert counts[0] == "3 images, 2 classes"
    assert counts[1] == "5 to learn from, 2 to test on, 9 classes, 1 unreadable"


def test_an_unknown_command_has_its_own_name_as_title() -> None:
    assert make_section(Result("advise", "photos", []), "r0").title == "Advise"
