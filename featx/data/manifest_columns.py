"""What the columns of manifests are called in the wild, and where the paths in them lead."""

from __future__ import annotations

import os
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from featx.data.image_formats import IMAGE_SUFFIXES
from featx.errors import DatasetError, did_you_mean

COLUMNS = ("path", "label", "split", "domain", "group")
"""What is known of an image, in manifests and feature files alike."""

_SYNONYMS: dict[str, tuple[frozenset[str], ...]] = {
    "path": (
        frozenset({"path"}),
        frozenset(
            {"file", "filename", "filepath", "file name", "file path", "image", "img", "image path"}
            | {"image file", "image filename", "image name", "img path", "img name", "imagepath"}
            | {"filenames", "images", "image filepath"}
        ),
        frozenset({"image id", "imageid", "img id", "id"}),
    ),
    "label": (
        frozenset({"label"}),
        frozenset(
            {"labels", "class", "class name", "classname", "category", "category name", "species"}
            | {"label name", "target", "breed", "diagnosis", "choice", "dx"}
        ),
        frozenset({"class id", "label id", "category id", "target id"}),
    ),
    "split": (frozenset({"split"}),),
    "domain": (frozenset({"domain"}),),
    "group": (frozenset({"group"}),),
}
"""Names of each column, most telling first; blanks stand for ``_`` and ``-``, too."""

_NAMED_BY_HEADER = frozenset({"path", "label"})
"""Columns of which a second candidate is an error, rather than left alone."""


def column_indices(
    file: str, names: Sequence[str], group_column: str | None = None
) -> dict[str, int]:
    """Where each known column stands, `path` first.

    Parameters
    ----------
    file : str
        The manifest, for messages.
    names : sequence of str
        Its header.
    group_column : str, optional
        Name of the column that is read as ``group``.

    Raises
    ------
    DatasetError
        If no column names the images, or several may; it lists the columns.

    Examples
    --------
    >>> column_indices("m.csv", ["image_id", "species", "Filename"])
    {'path': 2, 'label': 1}
    """
    normal = [_normal(name) for name in names]
    found = {}
    for column, tiers in _SYNONYMS.items():
        if column == "group" and group_column is not None:
            found[column] = _group_index(file, names, normal, group_column)
        elif (index := _find(file, names, normal, column, tiers)) is not None:
            found[column] = index
    if "path" not in found:
        shown = ", ".join(repr(name) for name in names)
        cure = " Separate the columns by commas." if len(names) == 1 and ";" in names[0] else ""
        raise DatasetError(
            f"Manifest {file}, line 1: no column 'path'; expected "
            f"path,label[,split][,domain][,group], got {shown or 'none'}.{cure}"
        )
    return found


def is_known_column(name: str, group_column: str | None = None) -> bool:
    """Whether a column of that name may be looked at."""
    known = {name for tiers in _SYNONYMS.values() for tier in tiers for name in tier}
    return _normal(name) in known | {_normal(group_column or "group")}


class PathResolver:
    r"""Paths of a manifest as they open from the working folder.

    A path is relative to the manifest's folder, or where nothing is there to the working folder.
    ``file://`` and ``~`` are understood, backslashes are separators, and a name without a suffix
    stands for the image of that name.

    Parameters
    ----------
    file : str
        The manifest.

    Examples
    --------
    >>> PathResolver("sets/m.csv").resolve(r"cats\1.jpg")
    'sets/cats/1.jpg'
    """

    def __init__(self, file: str) -> None:
        self._folder = os.path.dirname(file)
        self._stems: dict[str, dict[str, str]] = {}

    def resolve(self, text: str) -> str:
        """Path of an image; in the manifest's folder where there is none."""
        first = os.path.join(self._folder, text)
        if os.path.exists(first):
            return first
        path = _plain_path(text)
        for start in dict.fromkeys((self._folder, "")):
            if (found := self._find(os.path.join(start, path))) is not None:
                return found
        return os.path.join(self._folder, path)

    def _find(self, path: str) -> str | None:
        if os.path.exists(path):
            return path
        folder, name = os.path.split(path)
        if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:
            return None
        if folder not in self._stems:
            self._stems[folder] = _images_by_stem(folder)
        full = self._stems[folder].get(name)
        return None if full is None else os.path.join(folder, full)


def _find(
    file: str,
    names: Sequence[str],
    normal: Sequence[str],
    column: str,
    tiers: tuple[frozenset[str], ...],
) -> int | None:
    """Index of the one column with the most telling of the names."""
    for tier in tiers:
        indices = [i for i, name in enumerate(normal) if name in tier]
        if len(indices) == 1:
            return indices[0]
        if not indices:
            continue
        if len({normal[i] for i in indices}) == 1:
            raise DatasetError(
                f"Manifest {file}, line 1: column {normal[indices[0]]!r} is there twice."
            )
        if column in _NAMED_BY_HEADER:
            shown = " and ".join(repr(names[i]) for i in indices)
            raise DatasetError(
                f"Manifest {file}, line 1: columns {shown} could each be the {column}; rename "
                f"one to {column!r}. There are: {', '.join(names)}."
            )
        return indices[0]
    return None


def _group_index(file: str, names: Sequence[str], normal: Sequence[str], group_column: str) -> int:
    if _normal(group_column) not in normal:
        raise DatasetError(
            f"Manifest {file}, line 1: no column {group_column!r} for the groups."
            f"{did_you_mean(group_column, names)} There are: {', '.join(names)}."
        )
    return normal.index(_normal(group_column))


def _normal(name: str) -> str:
    return name.strip().lower().replace("_", " ").replace("-", " ")


def _plain_path(text: str) -> str:
    """Path without a scheme, a home folder or foreign separators."""
    text = text.strip()
    if text.lower().startswith("file://"):
        text = unquote(urlsplit(text).path)
    if os.sep == "/":
        text = text.replace("\\", "/")
    return os.path.expanduser(text)


def _images_by_stem(folder: str) -> dict[str, str]:
    """Names of the images in a folder by their names without suffix; of several the first."""
    try:
        names = sorted(os.listdir(folder or os.curdir), reverse=True)
    except OSError:
        return {}
    parts = ((os.path.splitext(name), name) for name in names)
    return {stem: name for (stem, suffix), name in parts if suffix.lower() in IMAGE_SUFFIXES}
