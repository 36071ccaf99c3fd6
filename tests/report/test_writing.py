from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from featx.errors import ResultFileError
from featx.features.results import Result
from featx.report.writing import read_results, write_page, write_report


def test_one_result_leaves_its_files_beside_the_page(depth: Result, tmp_path: Path) -> None:
    page = write_report([depth], tmp_path / "new" / "folder")

    assert sorted(path.name for path in page.parent.iterdir() if path.is_file()) == [
        "report.html",
        "results.json",
        "table.csv",
        "thumbnails.json",
    ]
    with (page.parent / "table.csv").open(newline="") as file:
        assert [row["layer"] for row in csv.DictReader(file)] == ["pool1", "pool2", "fc7"]


def test_several_results_are_read_back_in_their_order(tmp_path: Path) -> None:
    commands = ["depth", "compare", "depth"]

    write_report([Result(command, "photos", []) for command in commands], tmp_path)

    assert [result.command for result in read_results([tmp_path])] == commands


def test_joining_again_gives_the_same_results(depth: Result, tmp_path: Path) -> None:
    write_report([depth], tmp_path / "a")

    again = read_results([tmp_path / "a"])
    assert again[0].details == depth.details


def test_joined_pages_show_the_images_that_the_folders_hold(
    compared: Result, page: Path, tmp_path: Path
) -> None:
    joined = write_report(read_results([page.parent]), tmp_path)
    once_more = write_report(read_results([tmp_path]), tmp_path / "again")

    n_shown = page.read_text("utf-8").count("data:image/webp")
    assert n_shown > sum(map(len, compared.details["mistakes"].values()))
    for text in (joined.read_text("utf-8"), once_more.read_text("utf-8")):
        assert text.count("data:image/webp") == n_shown


_REPORT = """
import sys
opened = []
def note(event, arguments):
    if event in ("open", "os.listdir", "os.scandir"):
        opened.append(arguments[0])
    elif event.startswith("socket."):
        opened.append("the network")
sys.addaudithook(note)
from featx.cli import app
app(["report", "theirs", "-o", "page"], standalone_mode=False)
print(*opened, sep="\\n")
"""


def test_a_foreign_report_opens_nothing_outside_its_folder(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    Image.new("RGB", (40, 40), "red").save(own / "photo.png")
    paths = [str(own / "photo.png"), "own/photo.png", "digits/0001", "https://example.com/b.png"]
    mistakes = {"hog": [{"path": path, "true": "a", "predicted": "b"} for path in paths]}
    sources = [str(own), str(own / "photo.png"), "digits", "torchvision:CIFAR10", "//example.com/a"]
    for i, data in enumerate(sources):
        foreign = Result("compare", data, [{"spec": "hog"}], details={"mistakes": mistakes})
        foreign.save(tmp_path / "theirs" / f"{i}-compare")

    run = [sys.executable, "-c", _REPORT]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True)

    assert "theirs/4-compare/results.json" in done.stdout
    assert not re.search(r"own\b|photo|the network|datasets/data|cifar", done.stdout)
    assert "data:image/webp" not in (tmp_path / "page" / "report.html").read_text("utf-8")


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
