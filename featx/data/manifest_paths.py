"""Resolve the paths in manifests."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain, islice
from urllib.parse import parse_qs, unquote, urlsplit

from featx.data.folders import read_tree
from featx.data.image_formats import IMAGE_SUFFIXES

_MAX_FOLDERS = 1000
"""Maximum number of folders that are searched for a file of the same name."""


def resolve_paths(folder: str, names: Sequence[str]) -> list[str]:
    """Paths of the files that a manifest names, relative to the working folder.

    Names are relative to the manifest's folder or, if none of them exists there, to the working
    folder. If none of them has a suffix or exists, they are ids: names of images without their
    suffix, which are searched for below the manifest's folder.

    Parameters
    ----------
    folder : str
        Folder of the manifest.
    names : sequence of str
        As written in the manifest; see `_to_local_path`.

    Returns
    -------
    list of str
        Paths of missing files are relative to the manifest's folder.
    """
    local = [_to_local_path(folder, name) for name in names]
    paths = [os.path.join(folder, name) for name in local]
    if any(map(os.path.exists, paths)):
        return paths
    if any(map(os.path.exists, local)):
        return local
    if local and not any(_has_suffix(name) for name in local):
        return _find_ids(folder, local)
    return paths


def suggest_location(folder: str, path: str) -> str:
    """Hint about a missing file: a file of the same name near the manifest; empty if none."""
    name = os.path.basename(path)
    base = folder or os.curdir
    walks = (os.walk(top) for top in (base, os.path.join(base, os.pardir)))
    for parent, _, files in chain(*(islice(walk, _MAX_FOLDERS) for walk in walks)):
        if name in files:
            actual = os.path.relpath(os.path.join(parent, name), base)
            return f" There is {actual}: write paths like this, or move the manifest."
    return ""


def _to_local_path(folder: str, name: str) -> str:
    """Expand ``~``, and convert ``file://``, Label Studio's addresses and backslashes."""
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
    """Path of the image with each id; the id itself if no image, or more than one, has it."""
    tree = read_tree(folder or ".")
    by_path: dict[str, str] = {}
    by_stem: dict[str, list[str]] = defaultdict(list)
    for parts, names in tree.images.items():
        for name in names:
            stem = os.path.splitext(name)[0]
            by_path.setdefault("/".join((*parts, stem)), os.path.join(*parts, name))
            by_stem[stem].append(os.path.join(*parts, name))
    paths = []
    for name in ids:
        matches = by_stem.get(name, [])
        path = by_path.get(name) or (matches[0] if len(matches) == 1 else name)
        paths.append(os.path.join(folder, path))
    return paths
