"""One HTML file that needs no network: template, style, scripts, plots and thumbnails in one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from featx.features.results import Result
from featx.report.bokeh_html import (
    asset,
    bokeh_script,
    content_policy,
    embed,
    page_script,
)
from featx.report.sections import (
    MISTAKE_PX,
    Section,
    gallery_paths,
    make_section,
)
from featx.report.thumbnails import Thumbnails, thumbnails_of

_MAX_PAGE_BYTES = 30_000_000
_MISTAKES_BYTES = 4_000_000
_SPARE_BYTES = 50_000


def render_page(
    results: Sequence[Result],
    *,
    thumbnails: Sequence[Thumbnails] | None = None,
    max_bytes: int = _MAX_PAGE_BYTES,
) -> str:
    """HTML of a page about some results.

    Parameters
    ----------
    results : sequence of Result
        In the order of the page.
    thumbnails : sequence of Thumbnails, optional
        One per result; by default what `featx.report.thumbnails.thumbnails_of` gives.
    max_bytes : int, default=30000000
        Thumbnails are made smaller, then fewer, until the page fits.

    Returns
    -------
    str
    """
    sections = [make_section(result, f"r{i}") for i, result in enumerate(results)]
    thumbnails = thumbnails or [thumbnails_of(result) for result in results]
    _fill_galleries(results, sections, thumbnails, min(_MISTAKES_BYTES, max_bytes // 4))
    roots = {
        f"{section.key}-{name}": plot
        for section in sections
        for name, plot in section.plots.items()
    }
    plot_script, elements = embed(roots)
    scripts = [script for script in (bokeh_script(), plot_script, page_script()) if script]
    context = {
        "sections": sections,
        "elements": elements,
        "style": asset("page.css"),
        "scripts": scripts,
        "policy": content_policy(scripts),
    }
    # Rendered once without the points' thumbnails, to see how much room is left for them.
    bare = _render(context, thumbnails=[])
    room = max_bytes - len(bare.encode("utf-8")) - _SPARE_BYTES
    return _render(context, thumbnails=_point_thumbnails(sections, thumbnails, room))


def _fill_galleries(
    results: Sequence[Result],
    sections: Sequence[Section],
    thumbnails: Sequence[Thumbnails],
    room: int,
) -> None:
    """Put thumbnails beside the most confident errors."""
    for result, section, own in zip(results, sections, thumbnails):
        paths = gallery_paths(result)
        uris = own.make_all(paths, room // len(sections), largest_px=MISTAKE_PX)
        uri_of = dict(zip(paths, uris))
        for choice in section.choices:
            for mistake in choice["mistakes"]:
                mistake["thumbnail"] = uri_of.get(mistake["path"])
        for gallery in section.galleries:
            for image in chain.from_iterable(figure["images"] for figure in gallery["shown"]):
                image["thumbnail"] = uri_of.get(image["path"])
        if any(uri is None for uri in uris):
            n = sum(uri is None for uri in uris)
            section.notes.append(f"No thumbnail of {n:,} listed images: {_why(own)}.")


def _point_thumbnails(
    sections: Sequence[Section], thumbnails: Sequence[Thumbnails], room: int
) -> list[str | None]:
    """Thumbnails of the points of all scatter plots, each once; a payload has their indices."""
    all_uris: list[str | None] = []
    indices: dict[tuple[str, str], int] = {}
    drawn = [
        (section.data, section.scatter, section.notes, own)
        for section, own in zip(sections, thumbnails)
        if section.scatter is not None
    ]
    for n, (data, scatter, notes, own) in enumerate(drawn):
        new = [path for path in scatter.paths if (data, path) not in indices]
        uris = own.make_all(new, max(0, room) // (len(drawn) - n))
        room -= sum(len(uri or "") + 3 for uri in uris)
        indices |= {(data, path): len(all_uris) + i for i, path in enumerate(new)}
        all_uris += uris
        scatter.payload["thumbnails"] = [indices[data, path] for path in scatter.paths]
        n_bare = sum(all_uris[index] is None for index in scatter.payload["thumbnails"])
        if n_bare:
            notes.append(f"No thumbnail of {n_bare:,} images in the embeddings: {_why(own)}.")
    return all_uris


def _why(thumbnails: Thumbnails) -> str:
    if thumbnails.is_empty:
        return thumbnails.why_missing
    return "they are gone, cannot be read, or the page would grow too large"


def _render(context: dict[str, Any], thumbnails: list[str | None]) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(asset("page.html"))
    return template.render(**context, thumbnails=thumbnails)
