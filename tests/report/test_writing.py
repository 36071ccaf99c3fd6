from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest

from featx.errors import ResultFileError
from featx.features.results import Result
from featx.report.page import render_page
from featx.report.sections import make_section
from featx.report.writing import read_results, write_page, write_report
from tests.report.conftest import HOSTILE, IMAGE, SCRIPT


@pytest.fixture(scope="module")
def text(page: Path) -> str:
    return page.read_text("utf-8")


def without_data(text: str) -> str:
    """The page without what scripts and style sheets hold."""
    return re.sub(r"<(script|style)\b.*?</\1>", "", text, flags=re.DOTALL)


def test_page_holds_everything_it_shows(text: str) -> None:
    outside = re.findall(r"""(?:src|href)=["'](?!data:|#)([^"']*)""", without_data(text))

    assert outside == []


def test_names_of_strangers_make_no_elements(text: str) -> None:
    shown = without_data(text)

    assert SCRIPT not in shown
    assert IMAGE not in shown
    assert "&lt;script&gt;window.hit = 1&lt;/script&gt;" in shown


def test_no_block_of_data_ends_early(text: str) -> None:
    blocks = re.findall(r'<script type="application/json".*?>(.*?)</script>', text, re.DOTALL)

    assert len(blocks) == 2
    assert all("<" not in block for block in blocks)


def test_no_script_runs_but_the_three_of_featx(text: str) -> None:
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)

    assert policy is not None
    assert policy[1].count("sha256-") == 3
    assert "default-src &#39;none&#39;" in policy[1]
    assert "unsafe-eval" not in policy[1]


def test_what_is_no_character_is_spelled_out(text: str) -> None:
    assert r"broken \udce9\x00.jpg" in text


def test_page_says_which_images_were_misjudged_and_as_what(text: str, compared: Result) -> None:
    n_mistakes = sum(map(len, compared.details["mistakes"].values()))

    assert n_mistakes > 0
    assert text.count("said <b>") == n_mistakes


def test_one_result_leaves_its_files_beside_the_page(depth: Result, tmp_path: Path) -> None:
    page = write_report([depth], tmp_path / "new" / "folder")

    assert sorted(path.name for path in page.parent.iterdir() if path.is_file()) == [
        "report.html",
        "results.json",
        "table.csv",
    ]
    with (page.parent / "table.csv").open(newline="") as file:
        assert [row["layer"] for row in csv.DictReader(file)] == ["pool1", "pool2", "fc7"]


def test_several_results_are_read_back_in_their_order(
    depth: Result, compared: Result, tmp_path: Path
) -> None:
    write_report([depth, compared, depth], tmp_path)

    commands = [result.command for result in read_results([tmp_path])]
    assert commands == ["depth", "compare", "depth"]


def test_joining_again_gives_the_same_results(depth: Result, tmp_path: Path) -> None:
    write_report([depth], tmp_path / "a")

    again = read_results([tmp_path / "a"])
    assert again[0].details == depth.details


def test_a_folder_without_results_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResultFileError, match=r"No results.json in .*; make one with --report"):
        read_results([tmp_path])


def test_no_results_make_no_report(tmp_path: Path) -> None:
    with pytest.raises(ResultFileError, match="at least one result; got none"):
        write_report([], tmp_path)


def test_page_that_cannot_be_written_is_an_error(depth: Result, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ResultFileError, match="Cannot write"):
        write_page([depth], tmp_path / "file" / "page.html")


def test_command_of_a_stranger_names_no_folder_outside(tmp_path: Path) -> None:
    results = [Result("../../x", "photos", []), Result("umap", "photos", [])]

    write_report(results, tmp_path / "out")

    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["1-x", "2-umap", "report.html"]


@pytest.mark.parametrize("n_maps", [1, 3])
def test_every_plot_has_its_place(depth: Result, n_maps: int) -> None:
    maps = depth.details["maps"][:n_maps]
    rows = [{**row, "ms_per_image": 1 + i} for i, row in enumerate(depth.rows)]
    result = Result("umap", "photos", rows, details={**depth.details, "maps": maps})

    section = make_section(result, "r0")

    assert render_page([result]).count("data-plot=") == len(section.plots)


def test_page_needs_no_matplotlib() -> None:
    code = "import sys, featx.report.page; sys.exit('matplotlib' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_legend_names_every_class(text: str) -> None:
    # In the block of data "<" is written \u003c.
    for label in HOSTILE:
        assert label.replace("<", r"\u003c").replace(">", r"\u003e")[:20].split("=")[0] in text


def test_bytes_that_are_no_character_stop_no_page(depth: Result, tmp_path: Path) -> None:
    odd = "caf\udce9"
    points = {**depth.details["points"], "labels": [odd] * len(depth.details["points"]["labels"])}
    confusion = {odd: {"classes": [odd, "b"], "matrix": [[1, 2], [0, 1]]}}
    mistakes = {odd: [{"path": odd, "true": odd, "predicted": odd, "probability": 0.9}]}
    details = {**depth.details, "points": points, "confusion": confusion, "mistakes": mistakes}
    rows = [{"spec": odd, "layer": odd, "index": i, "accuracy": 0.5} for i in range(2)]
    made = {"command": ["featx", odd], "versions": {odd: odd}, "extractors": [{"spec": odd}]}
    result = Result("umap", odd, rows, {odd: odd}, [odd], [(odd, odd)], details, made)

    text = write_page([result], tmp_path / "page.html").read_text("utf-8")

    assert r"caf\udce9" in text
