"""One HTML file that needs no network: template, style, scripts, plots and thumbnails in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from featx.reporting.albums import Album
from featx.reporting.embedding import asset, bokeh_script, content_policy, embed, page_script
from featx.reporting.stories import MISTAKE_PX, Story, album_of, mistake_paths, tell
from featx.results import Result

MAX_PAGE_BYTES = 30_000_000
MISTAKES_BYTES = 4_000_000
SPARE_BYTES = 50_000


def render_page(results: Sequence[Result], *, max_bytes: int = MAX_PAGE_BYTES) -> str:
    """HTML of a page that tells of some results.

    Parameters
    ----------
    results : sequence of Result
        In the order in which the page tells of them.
    max_bytes : int, default=30000000
        Thumbnails are made smaller, and then fewer, until the page fits.

    Returns
    -------
    str
    """
    stories = [tell(result, f"r{place}") for place, result in enumerate(results)]
    albums = [album_of(result, story) for result, story in zip(results, stories)]
    _fill_galleries(results, stories, albums, min(MISTAKES_BYTES, max_bytes // 4))
    roots = {
        f"{story.key}-{place}": plot for story in stories for place, plot in story.plots.items()
    }
    plot_script, elements = embed(roots)
    scripts = [script for script in (bokeh_script(), plot_script, page_script()) if script]
    context = {
        "stories": stories,
        "elements": elements,
        "style": asset("page.css"),
        "scripts": scripts,
        "policy": content_policy(scripts),
    }
    # Written once without the maps' thumbnails, to see how much room is left for them.
    bare = _render(context, thumbnails=[])
    room = max_bytes - len(bare.encode("utf-8")) - SPARE_BYTES
    return _render(context, thumbnails=_map_thumbnails(stories, albums, room))


def _fill_galleries(
    results: Sequence[Result], stories: Sequence[Story], albums: Sequence[Album], room: int
) -> None:
    """Put thumbnails beside the pictures most surely misjudged."""
    for result, story, album in zip(results, stories, albums):
        paths = mistake_paths(result)
        uris = album.thumbnails(paths, room // len(stories), largest_px=MISTAKE_PX)
        found = dict(zip(paths, uris))
        for choice in story.choices:
            for mistake in choice["mistakes"]:
                mistake["thumbnail"] = found.get(mistake["path"])
        if any(uri is None for uri in uris):
            n = sum(uri is None for uri in uris)
            story.notes.append(f"No thumbnail of {n:,} misjudged pictures: {_why(album)}.")


def _map_thumbnails(
    stories: Sequence[Story], albums: Sequence[Album], room: int
) -> list[str | None]:
    """Thumbnails of the points of all maps, each once; a story keeps the place of each."""
    made: list[str | None] = []
    places: dict[tuple[str, str], int] = {}
    drawn = [(s.data, s.maps, s.notes, a) for s, a in zip(stories, albums) if s.maps is not None]
    for n, (data, maps, notes, album) in enumerate(drawn):
        new = [path for path in maps.paths if (data, path) not in places]
        uris = album.thumbnails(new, max(0, room) // (len(drawn) - n))
        room -= sum(len(uri or "") + 3 for uri in uris)
        places |= {(data, path): len(made) + i for i, path in enumerate(new)}
        made += uris
        maps.payload["places"] = [places[data, path] for path in maps.paths]
        n_bare = sum(made[place] is None for place in maps.payload["places"])
        if n_bare:
            notes.append(f"No thumbnail of {n_bare:,} pictures in the maps: {_why(album)}.")
    return made


def _why(album: Album) -> str:
    if not len(album):
        return "they are no longer where they were"
    return "they are gone, cannot be read, or the page would grow too large"


def _render(context: dict[str, Any], thumbnails: list[str | None]) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(asset("page.html"))
    return template.render(**context, thumbnails=thumbnails)
