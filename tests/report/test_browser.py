"""The page in a real browser: what a reader does with it works, and what a stranger wrote not."""

from __future__ import annotations

import base64
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.data.datasets import load_dataset
from featx.features.results import Result
from featx.report.writing import write_page
from tests.report.conftest import HOSTILE, N_PER_CLASS

pytestmark = pytest.mark.slow  # Starting a browser takes seconds.

ARTIFACTS = Path(os.environ.get("FEATX_ARTIFACTS", "artifacts"))
WAIT_S = 30

POINT = """
const plot = featx.find(arguments[0]), i = arguments[1];
const view = Bokeh.index.find_one(plot), glyph = plot.renderers[0].glyph;
const data = plot.renderers[0].data_source.data, box = view.el.getBoundingClientRect();
return [box.x + view.frame.x_scale.compute(data[glyph.x.field][i]),
        box.y + view.frame.y_scale.compute(data[glyph.y.field][i])];
"""


CHIPS = "return [...document.querySelectorAll('.chip')].map(chip => chip.title)"


def find_browser() -> tuple[str, str]:
    """Paths of Chromium and its driver; the test is skipped, or fails in CI, without them."""
    names = (("chromium", "chromium-browser", "google-chrome"), ("chromedriver",))
    found = [next(filter(None, map(shutil.which, group)), None) for group in names]
    if all(found):
        return found[0], found[1]  # type: ignore[return-value]
    message = "no Chromium: apt-get install chromium chromium-driver"
    if os.environ.get("FEATX_REQUIRE_BROWSER") == "1":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium that keeps its console and every request."""
    chromium, driver = find_browser()
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    yield browser
    browser.quit()


@pytest.fixture
def opened(browser: Any, page: Path) -> Any:
    """The browser with the page freshly drawn; its logs hold this page only."""
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(page.as_uri())
    wait_for(lambda: browser.execute_script("return document.documentElement.dataset.ready"))
    return browser


def wait_for(is_so: Callable[[], Any]) -> None:
    started = time.monotonic()
    while not is_so():
        assert time.monotonic() - started < WAIT_S, "it does not happen"
        time.sleep(0.05)


def position_of(browser: Any, plot: str, point: int) -> tuple[int, int]:
    """Where a point of a map is in the window, the map scrolled into view."""
    index = plot.split("-")[-1]
    browser.execute_script(
        "document.documentElement.style.scrollBehavior = 'auto';"
        f"document.querySelector('[data-plot$=map-{index}]').scrollIntoView({{block: 'center'}})"
    )
    x, y = browser.execute_script(POINT, f"figure-{plot}", point)
    return round(x), round(y)


def pointer(browser: Any) -> Any:
    from selenium.webdriver.common.action_chains import ActionBuilder

    return ActionBuilder(browser, duration=30)


def move_to(browser: Any, x: int, y: int) -> None:
    builder = pointer(browser)
    builder.pointer_action.move_to_location(x - 1, y).move_to_location(x, y)
    builder.perform()


def brush(browser: Any, plot: str, point: int) -> None:
    """Drag a box of 60 pixels round a point."""
    x, y = position_of(browser, plot, point)
    builder = pointer(browser)
    action = builder.pointer_action.move_to_location(x - 30, y - 30).pointer_down()
    action.move_to_location(x, y).move_to_location(x + 30, y + 30).pointer_up()
    builder.perform()


def selected(browser: Any, source: str) -> list[int]:
    return sorted(browser.execute_script(f"return [...featx.find('{source}').selected.indices]"))


def walk_x(browser: Any) -> list[float]:
    return browser.execute_script("return [...featx.find('walk-r1').data.x]")


def test_page_opens_without_a_word_in_the_console(opened: Any) -> None:
    bad = [entry for entry in opened.get_log("browser") if entry["level"] != "INFO"]

    assert bad == []


def test_page_asks_no_network_for_anything(opened: Any, page: Path) -> None:
    messages = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    asked = [params["request"]["url"] for params in sent]

    assert page.as_uri() in asked
    assert [url for url in asked if url != page.as_uri() and not url.startswith("data:")] == []


def test_names_of_strangers_stay_text(opened: Any) -> None:
    move_to(opened, *position_of(opened, "r1-walk", 0))
    wait_for(lambda: not opened.execute_script("return document.getElementById('card').hidden"))

    assert opened.execute_script("return window.hit") is None
    assert not opened.execute_script(
        "return document.querySelectorAll('[onclick],[onerror]').length"
    )
    chips = opened.execute_script(
        "return [...document.querySelectorAll('.chip')].map(c => c.title)"
    )
    assert sorted(chips) == sorted(HOSTILE)


def test_hover_shows_the_image_its_class_and_its_name(
    opened: Any, images: tuple[list[str], list[str]]
) -> None:
    move_to(opened, *position_of(opened, "r1-walk", 3))
    wait_for(lambda: not opened.execute_script("return document.getElementById('card').hidden"))

    text = opened.execute_script("return document.getElementById('card').innerText")
    size = opened.execute_script("return document.querySelector('#card img').naturalWidth")
    shown = opened.execute_script("return featx.maps[0].hovered")
    assert images[1][shown] in text
    assert images[0][shown] in text
    assert size > 0


def test_hover_rings_the_same_image_in_every_map(opened: Any) -> None:
    move_to(opened, *position_of(opened, "r1-1", 5))
    wait_for(lambda: opened.execute_script("return featx.find('ring-r1').data.x0.length"))

    ring, points = opened.execute_script(
        "const {ring, maps, hovered} = featx.maps[0], names = ['y0', 'y1', 'y2'];"
        "return [names.map(y => ring.data[y][0]), names.map(y => maps.data[y][hovered])]"
    )
    assert ring == points


def test_brushing_one_map_selects_in_all(opened: Any) -> None:
    brush(opened, "r1-0", 7)
    wait_for(lambda: selected(opened, "walk-r1"))

    assert 7 in selected(opened, "maps-r1")
    assert selected(opened, "maps-r1") == selected(opened, "walk-r1")
    count = opened.execute_script("return document.querySelector('[data-count]').innerText")
    assert count == f"{len(selected(opened, 'maps-r1'))} selected"


def test_brushing_the_walk_selects_in_the_maps(opened: Any) -> None:
    brush(opened, "r1-walk", 11)
    wait_for(lambda: selected(opened, "maps-r1"))

    assert 11 in selected(opened, "maps-r1")
    opened.execute_script("document.querySelector('[data-act=clear]').click()")
    assert selected(opened, "walk-r1") == []


def test_brushed_names_are_saved_as_a_list(
    opened: Any, images: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    allow = {"behavior": "allow", "downloadPath": str(tmp_path)}
    opened.execute_cdp_cmd("Page.setDownloadBehavior", allow)
    brush(opened, "r1-0", 7)
    wait_for(lambda: selected(opened, "maps-r1"))

    opened.execute_script("document.querySelector('[data-act=save]').click()")

    wait_for(lambda: (tmp_path / "selection.txt").exists())
    names = (tmp_path / "selection.txt").read_text("utf-8").splitlines()
    assert names == [images[0][i] for i in opened.execute_script("return featx.maps[0].selected")]


def test_slider_moves_every_point_to_the_next_layer(opened: Any, depth: Result) -> None:
    x = [[xy[0] for xy in entry["coordinates"]] for entry in depth.details["maps"]]
    slide = "const s = document.querySelector('[data-walk]'); s.value = arguments[0];"
    slide += "s.dispatchEvent(new Event('input'))"

    assert walk_x(opened) == pytest.approx(x[0], rel=1e-5)
    opened.execute_script(slide, 0.5)
    assert walk_x(opened) == pytest.approx([(a + b) / 2 for a, b in zip(x[0], x[1])], abs=1e-5)
    opened.execute_script(slide, 2)
    assert walk_x(opened) == pytest.approx(x[2], rel=1e-5)


def test_legend_hides_a_class_and_shows_one_alone(opened: Any) -> None:
    visible = "return featx.find('view-r1').filter.booleans.filter(Boolean).length"

    opened.execute_script("document.querySelector('.chip').click()")
    assert opened.execute_script(visible) == 2 * N_PER_CLASS
    opened.execute_script("document.querySelector('.chip').dispatchEvent(new Event('dblclick'))")
    assert opened.execute_script(visible) == N_PER_CLASS
    opened.execute_script("document.querySelector('[data-act=all]').click()")
    assert opened.execute_script(visible) == 3 * N_PER_CLASS


def test_hidden_points_do_not_answer_the_mouse(opened: Any) -> None:
    opened.execute_script("featx.maps[0].legend.isolate(0)")
    labels = opened.execute_script("return featx.maps[0].payload.modes[0].codes")
    away = next(i for i, code in enumerate(labels) if code != 0)
    brush(opened, "r1-0", away)
    time.sleep(0.3)

    assert all(labels[i] == 0 for i in selected(opened, "maps-r1"))


def test_points_are_colored_by_whether_they_were_judged_right(opened: Any) -> None:
    opened.execute_script(
        "const select = document.querySelector('[data-mode]');"
        "select.value = 1; select.dispatchEvent(new Event('change'))"
    )

    assert opened.execute_script("return new Set(featx.find('maps-r1').data.color).size") == 2
    chips = opened.execute_script(
        "return [...document.querySelectorAll('.chip')].map(c => c.title)"
    )
    assert chips == ["right", "wrong"]


def test_table_sorts_by_numbers_both_ways(opened: Any) -> None:
    column = "return [...document.querySelectorAll('#r0 table')][0]"
    press = f"{column}.querySelectorAll('th button')[1].click()"
    read = f"{column}.querySelectorAll('td:nth-child(2)')"
    keys = f"return [...{read.removeprefix('return ')}].map(td => Number(td.dataset.key))"

    opened.execute_script(press.removeprefix("return "))
    descending = opened.execute_script(keys)
    opened.execute_script(press.removeprefix("return "))

    assert descending == sorted(descending, reverse=True)
    assert opened.execute_script(keys) == sorted(descending)


def test_page_follows_the_dark_scheme(opened: Any) -> None:
    ink = "return featx.roots()[0].below[0].axis_label_text_color"
    light = opened.execute_script(ink)
    set_scheme(opened, "dark")
    wait_for(lambda: opened.execute_script(ink) != light)
    keep_screenshot(opened, "report-dark.png")
    set_scheme(opened, "light")
    wait_for(lambda: opened.execute_script(ink) == light)
    keep_screenshot(opened, "report-light.png")


def test_page_is_printed_light_and_whole(opened: Any) -> None:
    set_scheme(opened, "dark")
    wait_for(
        lambda: opened.execute_script("return matchMedia('(prefers-color-scheme: dark)').matches")
    )

    printed = opened.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    set_scheme(opened, "light")

    keep(base64.b64decode(printed["data"]), "report.pdf")
    assert opened.execute_script("return document.querySelectorAll('[style*=zoom]').length") == 0
    assert not opened.execute_script("return document.documentElement.classList.contains('paper')")


def test_every_column_is_a_click_away(opened: Any) -> None:
    shown = "return [...document.querySelectorAll('#r0 th')].filter(th => th.offsetWidth).length"
    before = opened.execute_script(shown)

    opened.execute_script("document.querySelector('#r0 [data-more]').click()")

    assert opened.execute_script(shown) > before


def test_other_features_show_their_own_confusion(opened: Any) -> None:
    shown = "return document.querySelector('.choice:not([hidden])').dataset.choice"
    first = opened.execute_script(shown)

    opened.execute_script(
        "const select = document.querySelector('[data-choose]');"
        "select.value = 1; select.dispatchEvent(new Event('change'))"
    )

    assert opened.execute_script(shown) != first
    wait_for(
        lambda: opened.execute_script(
            "return document.querySelector('.choice:not([hidden]) .plot').clientHeight > 100"
        )
    )


def test_a_single_map_is_drawn_alone(browser: Any, depth: Result, tmp_path: Path) -> None:
    details = {**depth.details, "maps": depth.details["maps"][:1]}
    single = Result("umap", "photos", [], {"color": "correct"}, details=details)
    browser.get_log("browser")
    browser.get(write_page([single], tmp_path / "map.html").as_uri())
    wait_for(lambda: browser.execute_script("return document.documentElement.dataset.ready"))

    assert sorted(browser.execute_script(CHIPS)) == ["right", "wrong"]
    move_to(browser, *position_of(browser, "r0-walk", 3))
    wait_for(lambda: not browser.execute_script("return document.getElementById('card').hidden"))
    brush(browser, "r0-walk", 3)
    wait_for(lambda: 3 in selected(browser, "walk-r0"))
    assert [e for e in browser.get_log("browser") if e["level"] != "INFO"] == []


def test_5000_images_flow(browser: Any, large_page: Path) -> None:
    browser.get(large_page.as_uri())
    wait_for(lambda: browser.execute_script("return document.documentElement.dataset.ready"))
    step = (
        "const done = arguments[0], start = performance.now(); featx.maps[0].goTo(0.5);"
        "requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)))"
    )

    times_ms = sorted(browser.execute_async_script(step) for _ in range(9))

    assert "The embeddings show 5,000 of " in browser.find_element("css selector", ".note").text
    # Drawn by the processor: 70 ms here. A graphics card is faster.
    assert times_ms[4] < 400
    assert large_page.stat().st_size <= 30_000_000


@pytest.fixture
def large_page(shared: Callable[[str], Path], tmp_path: Path) -> Path:
    """Page of every image of a hundred classes at six layers; only where they lie is drawn."""
    dataset = load_dataset(shared("data/caltech101"))
    rng, n = np.random.default_rng(0), len(dataset)
    maps = [
        {"layer": f"layer {i}", "method": "pca", "coordinates": rng.normal(size=(n, 2)).tolist()}
        for i in range(6)
    ]
    assert dataset.labels is not None
    points = {"paths": dataset.names, "labels": dataset.labels.tolist()}
    result = Result("depth", str(dataset.source), [], details={"maps": maps, "points": points})
    started = time.monotonic()
    page = write_page([result], tmp_path / "large.html")
    assert time.monotonic() - started < 180
    return page


def set_scheme(browser: Any, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def keep_screenshot(browser: Any, name: str) -> None:
    """The whole page as an artefact of the test run."""
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
    keep(base64.b64decode(shot["data"]), name)


def keep(content: bytes, name: str) -> None:
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    (ARTIFACTS / name).write_bytes(content)
