"""The page as text: it holds all it shows, and what strangers wrote stays text."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from featx.features.results import Result
from featx.report.page import render_page
from featx.report.sections import make_section
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
    assert text.count("predicted <b>") == n_mistakes


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


def test_bytes_that_are_no_character_stop_no_page(depth: Result) -> None:
    odd = "caf\udce9"
    points = {**depth.details["points"], "labels": [odd] * len(depth.details["points"]["labels"])}
    confusion = {odd: {"classes": [odd, "b"], "matrix": [[1, 2], [0, 1]]}}
    mistakes = {odd: [{"path": odd, "true": odd, "predicted": odd, "probability": 0.9}]}
    details = {**depth.details, "points": points, "confusion": confusion, "mistakes": mistakes}
    rows = [{"spec": odd, "layer": odd, "index": i, "accuracy": 0.5} for i in range(2)]
    made = {"command": ["featx", odd], "versions": {odd: odd}, "extractors": [{"spec": odd}]}
    result = Result("umap", odd, rows, {odd: odd}, [odd], [(odd, odd)], details, made)

    assert rb"caf\udce9" in render_page([result]).encode("utf-8")


def map_of(depth: Result, **points: Any) -> Result:
    """A single map of the images, some of its points' columns replaced."""
    points = {"paths": depth.details["points"]["paths"], **points}
    return Result(
        "umap", "photos", [], details={"maps": depth.details["maps"][:1], "points": points}
    )


def thumbnails_in(text: str) -> list[str | None]:
    block = re.search(r'<script type="application/json" id="thumbnails">(.*?)</script>', text)
    assert block is not None
    found: list[str | None] = json.loads(block[1])
    return found


def payloads_in(text: str) -> list[dict[str, Any]]:
    return [json.loads(block) for block in re.findall(r"data-payload>(.*?)</script>", text)]


def test_two_maps_of_the_same_images_share_their_thumbnails(depth: Result) -> None:
    backwards = depth.details["points"]["paths"][::-1]
    text = render_page([map_of(depth), map_of(depth, paths=backwards)])

    thumbnails, payloads = thumbnails_in(text), payloads_in(text)
    assert len(thumbnails) == len(backwards)
    first, second = (dict(zip(p["names"], p["thumbnails"], strict=True)) for p in payloads)
    assert first == second
    assert sorted(first.values()) == list(range(len(backwards)))


def test_page_with_little_room_has_fewer_thumbnails_and_says_so(depth: Result) -> None:
    whole = render_page([map_of(depth)])
    n_bytes = sum(len(uri or "") for uri in thumbnails_in(whole))
    # Room for a few thumbnails of the smallest size, beside what the page keeps to spare.
    max_bytes = len(whole.encode("utf-8")) - n_bytes + 50_000 + 2_000

    text = render_page([map_of(depth)], max_bytes=max_bytes)

    n_missing = thumbnails_in(text).count(None)
    assert 0 < n_missing < len(thumbnails_in(text))
    assert len(text.encode("utf-8")) <= max_bytes
    assert f"No thumbnail of {n_missing} " in text
    assert "the page would grow too large" in text


def test_images_that_are_gone_are_counted(depth: Result) -> None:
    text = render_page([map_of(depth, paths=[f"gone/{i}.png" for i in range(60)])])

    assert thumbnails_in(text) == [None] * 60
    assert "No thumbnail of 60 " in text
    assert "no longer where they were" in text


def test_each_result_is_reached_from_the_top_where_there_are_several() -> None:
    results = [Result("compare", "photos", []), Result("depth", "digits", [])]

    assert re.findall(r'<a href="#(\w+)">(\w+) <span>(\w+)', render_page(results)) == [
        ("r0", "compare", "photos"),
        ("r1", "depth", "digits"),
    ]
    assert "<nav" not in render_page(results[:1])
