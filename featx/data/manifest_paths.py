"""Paths in manifests as people write them, and the files that they mean."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain, islice
from urllib.parse import parse_qs, unquote, urlsplit

from featx.data.folders import read_tree
from featx.data.image_formats import IMAGE_SUFFIXES

_MAX_SEARCHED = 1000
"""Folders that are searched for a file of the same name."""


def resolve_paths(folder: str, names: Sequence[str]) -> list[str]:
    """Path of each file that a manifest names, as seen from the working folder.

    Names are relative to the manifest's folder or, where none of them is there, to the working
    folder. Names without a suffix, of which none is a file, are ids: the image of that name under
    the manifest's folder is meant.

    Parameters
    ----------
    folder : str
        The manifest's.
    names : sequence of str
        As they stand in the manifest; see `_spell`.

    Returns
    -------
    list of str
        Those that are nowhere are relative to the manifest's folder.
    """
    spelled = [_spell(folder, name) for name in names]
    paths = [os.path.join(folder, name) for name in spelled]
    if any(map(os.path.exists, paths)):
        return paths
    if any(map(os.path.exists, spelled)):
        return spelled
    if spelled and not any(_has_suffix(name) for name in spelled):
        return _find_ids(folder, spelled)
    return paths


def say_where(folder: str, path: str) -> str:
    """Hint for a file that is not there: one of its name under the manifest's folder or parent."""
    name = os.path.basename(path)
    here = folder or os.curdir
    walks = (os.walk(top) for top in (here, os.path.join(here, os.pardir)))
    for place, _, files in chain(*(islice(walk, _MAX_SEARCHED) for walk in walks)):
        if name in files:
            found = os.path.relpath(os.path.join(place, name), here)
            return f" There is {found}: write paths so, or move the manifest."
    return ""


def _spell(folder: str, name: str) -> str:
    """A name as this system writes it: `~`, ``file://``, Label Studio's, and backslashes."""
    if name.startswith("~"):
        return os.path.expanduser(name)
    if name.startswith("file://"):
        return unquote(urlsplit(name).path)
    if name.startswith("/data/local-files/?"):
        return parse_qs(urlsplit(name).query).get("d", [name])[0]
    if name.startswith("/data/upload/"):
        return os.path.basename(name)
    if "\\" in name and os.sep == "/" and not os.path.exists(os.path.join(folder, name)):
        return name.replace("\\", "/")
    return name


def _has_suffix(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def _find_ids(folder: str, ids: Sequence[str]) -> list[str]:
    """Images called as ids are; a path of its own where none or several are."""
    tree = read_tree(folder or ".")
    whole: dict[str, str] = {}
    by_stem: dict[str, list[str]] = defaultdict(list)
    for parts, names in tree.images.items():
        for name in names:
            stem = os.path.splitext(name)[0]
            whole.setdefault("/".join((*parts, stem)), os.path.join(*parts, name))
            by_stem[stem].append(os.path.join(*parts, name))
    paths = []
    for name in ids:
        same = by_stem.get(name, [])
        found = whole.get(name) or (same[0] if len(same) == 1 else name)
        paths.append(os.path.join(folder, found))
    return paths
