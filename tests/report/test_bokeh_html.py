from __future__ import annotations

import re

from bokeh.plotting import figure

from featx.report.bokeh_html import bokeh_script, content_policy, embed, page_script
from tests.report.conftest import HOSTILE


def plot_of(names: list[str]) -> figure:
    plot = figure(x_range=names, title=names[0])
    plot.vbar(x=names, top=[1] * len(names))
    return plot


def directives(policy: str) -> dict[str, str]:
    return dict(part.strip().split(" ", 1) for part in policy.split(";"))


def test_hash_of_a_script_is_the_one_of_the_csp_specification() -> None:
    """The example of Content Security Policy Level 2, section 7.17.2."""
    policy = directives(content_policy(["alert('Hello, world.');"]))

    assert policy["script-src"] == "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='"


def test_policy_allows_neither_network_nor_other_scripts() -> None:
    policy = directives(content_policy(["1", "2"]))

    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert len(policy["script-src"].split()) == 2
    assert "connect-src" not in policy
    assert not re.search(r"https?:|\*", " ".join(policy.values()))


def test_each_plot_has_an_element_of_its_own() -> None:
    script, elements = embed({"a": plot_of(["x"]), "b": plot_of(["y"])})

    ids = {name: re.findall(r' id="([^"]+)"', html) for name, html in elements.items()}
    assert ids.keys() == {"a", "b"}
    assert ids["a"] != ids["b"]
    for [own] in ids.values():
        assert own in script


def test_nothing_to_draw_needs_no_script() -> None:
    assert embed({}) == ("", {})


def test_scripts_stay_whole_and_unchanged_between_their_tags() -> None:
    """A browser ends a script at its end tag, and reads CR as LF: its hash would be another."""
    script, _ = embed({"a": plot_of([*HOSTILE, "a\r\nb"])})

    for text in (bokeh_script(), page_script(), script):
        assert text
        assert not re.search(r"</script|<!--", text, re.IGNORECASE)
        assert "\r" not in text
