"""The site has every public name, command and option, and opens from disk without a network."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urldefrag

import pytest

import featx

pytest.importorskip("sphinx", reason="the site needs the extra docs")

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as its reader would."""
    folder = tmp_path_factory.mktemp("built") / "site"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "FEATX_STORE": str(folder / "../store")}
    done = subprocess.run(
        [sys.executable, "scripts/build_site.py", str(folder)],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not done.returncode, done.stderr
    assert re.fullmatch(r".*index\.html: \d+ pages\n", done.stdout)
    return folder


def pages_of(site: Path) -> list[Path]:
    """All pages, without the templates that the theme brings."""
    return [page for page in site.rglob("*.html") if "_static" not in page.parts]


def text_of(page: Path) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text("utf-8")))


@pytest.mark.parametrize("name", featx.__all__)
def test_every_public_name_has_its_page(site: Path, name: str) -> None:
    assert f'id="featx.{name}"' in (site / f"reference/python/{name}.html").read_text("utf-8")
    assert name in text_of(site / "reference/python.html")


def test_every_command_and_option_is_there(
    site: Path, load_script: Callable[[str], ModuleType]
) -> None:
    commands = dict(load_script("build_site").iterate_commands())
    assert {"compare", "cache info", "pretrain autoencoder"} <= set(commands)
    for name, command in commands.items():
        page = text_of(site / f"reference/commands/{name.replace(' ', '_')}.html")
        flags = [flag for part in command.params if part.opts for flag in part.opts]
        missing = [flag for flag in flags if flag.startswith("-") and flag not in page]
        assert not missing, (name, missing)


def test_every_link_leads_to_a_file_of_the_site(site: Path) -> None:
    broken = []
    for page in pages_of(site):
        for link in re.findall(r'(?:href|src)="([^"#][^"]*)"', page.read_text("utf-8")):
            target = unquote(urldefrag(html.unescape(link)).url.partition("?")[0])
            if not re.match(r"[a-z]+:", link) and not (page.parent / target).exists():
                broken.append((page.name, link))
    assert not broken


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    loads = r'<(?:script|img|iframe)[^>]*src="https?:|<link[^>]*rel="(?!canonical)[^>]*https?:'
    for page in pages_of(site):
        assert not re.findall(loads, page.read_text("utf-8")), page.name
    for style in site.rglob("*.css"):
        assert not re.findall(r"url\([\"']?https?:", style.read_text("utf-8")), style.name


def test_the_search_index_is_a_script_that_opens_from_disk(site: Path) -> None:
    index = (site / "searchindex.js").read_text("utf-8")
    assert index.startswith("Search.setIndex(")
    assert "silhouett" in index
    assert 'src="searchindex.js' in (site / "search.html").read_text("utf-8")


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs/course").glob("[!i]*.md")), ids=lambda p: p.stem
)
def test_notebooks_are_shown_with_their_output(site: Path, page: Path) -> None:
    text = (site / f"course/{page.stem}.html").read_text("utf-8")
    assert text.count("cell_output") >= 3
    assert "<img" in text
    assert "Traceback" not in text


def test_the_search_shows_no_summaries_which_browsers_refuse_from_disk(site: Path) -> None:
    options = (site / "_static/documentation_options.js").read_text("utf-8")
    assert "SHOW_SEARCH_SUMMARY: false" in options  # Pages on disk may not be fetched.


@pytest.mark.parametrize("script", sorted((ROOT / "docs/gallery").glob("plot_*.py")))
def test_every_script_of_the_gallery_has_its_figure(site: Path, script: Path) -> None:
    assert (site / f"examples/{script.stem}.html").exists()
    assert (site / f"_images/sphx_glr_{script.stem}_001.png").stat().st_size > 1000


def test_options_in_prose_are_code(load_script: Callable[[str], ModuleType]) -> None:
    escaped = load_script("build_site")._escaped
    assert escaped("--model M is short for -e cnn:M; x_1") == (
        "``--model`` M is short for ``-e`` cnn:M; x\\_1"
    )
    assert escaped("See `featx layers --all`.") == "See `featx layers --all`."
