"""Bokeh inside the page: its script inlined, and no script allowed but those of featx."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

_SCRIPTS = ("theme.js", "table.js", "legend.js", "maps.js", "page.js")


def asset(name: str) -> str:
    """Text of a file that comes with this package."""
    return files("featx.report").joinpath("assets", name).read_text("utf-8")


@cache
def bokeh_script() -> str:
    """BokehJS without widgets and tables, as one script."""
    from bokeh.resources import Resources

    return "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw).replace("\r", "")


def page_script() -> str:
    """The page's own script."""
    return "\n".join(asset(name) for name in _SCRIPTS)


def embed(roots: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Script that draws some plots, and the element that each goes to.

    Parameters
    ----------
    roots : mapping of str to Bokeh model

    Returns
    -------
    (str, dict of str to str)
        JavaScript, and HTML under the names of `roots`.
    """
    if not roots:
        return "", {}
    from bokeh.embed import components

    script, elements = components(dict(roots), wrap_script=False)
    return script.replace("\r", ""), dict(elements)


def content_policy(scripts: Iterable[str]) -> str:
    """Rule under which a browser opens the page: no network, no script except these.

    Parameters
    ----------
    scripts : iterable of str
        What stands between the script tags, to the letter.

    Examples
    --------
    >>> "default-src 'none'" in content_policy(["1 + 1"])
    True
    """
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
