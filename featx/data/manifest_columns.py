"""Recognize the columns of manifests by their usual names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from featx.errors import DatasetError, did_you_mean

COLUMNS = ("path", "label", "split", "domain", "group")
"""Columns of manifests and feature files."""

_ALIASES: dict[str, tuple[str, ...]] = {
    "path": (
        "path",
        "file filename filepath fname image images imagefile imagefilename imagename imagepath img "
        "imgfile imgname imgpath relativepath relpath",
        "id idcode imageid imgid uuid",
    ),
    "label": (
        "label",
        "breed category categoryname choice class classes classlabel classname diagnosis dx "
        "labelname labels species",
        "categoryid classid labelid target y",
    ),
    "split": ("split", "partition phase set subset usage"),
    "domain": ("domain",),
    "group": ("group",),
}
"""Names of each column without spaces and underscores, in order of preference.

Names in one string are equally good: two of them in one manifest are ambiguous.
"""

_EXPECTED = "path,label[,split][,domain][,group]"


def find_columns(
    names: Sequence[str], group_column: str | None = None, *, where: str = "Manifest"
) -> dict[str, int]:
    """Index of each recognized column, ``path`` first.

    A name of `COLUMNS` takes precedence over other names (``filename``, ``species``), and these
    over columns of ids.

    Parameters
    ----------
    names : sequence of str
        Header of the manifest.
    group_column : str, optional
        Name of the column that is read as ``group``.
    where : str
        How messages refer to the manifest.

    Returns
    -------
    dict of str to int

    Raises
    ------
    DatasetError
        If there is no column of paths, or a column is ambiguous.

    Examples
    --------
    >>> find_columns(["image_id", "File Name", "species"])
    {'path': 1, 'label': 2}
    """
    normalized = list(map(_normalize, names))
    if group_column is not None and _normalize(group_column) not in normalized:
        raise DatasetError(
            f"{where}: no column {group_column!r} for the groups."
            f"{did_you_mean(group_column, names)} Columns: {', '.join(names)}."
        )
    indices = {}
    for column, aliases in _ALIASES.items():
        if column == "group" and group_column:
            aliases = (_normalize(group_column),)
        for equivalent in aliases:
            matches = [i for i, name in enumerate(normalized) if name in equivalent.split()]
            if len(matches) > 1:
                raise DatasetError(_ambiguous(column, matches, names, where))
            if matches:
                indices[column] = matches[0]
                break
    if "path" not in indices:
        listed = ", ".join(map(repr, names)) or "none"
        cure = " Separate the columns by commas." if len(names) == 1 and ";" in names[0] else ""
        raise DatasetError(f"{where}: no column 'path'; expected {_EXPECTED}, got {listed}.{cure}")
    return indices


def recognized_names(names: Sequence[str], group_column: str | None = None) -> list[str]:
    """Names of a header that may be one of `COLUMNS`.

    Examples
    --------
    >>> recognized_names(["File Name", "width", "class"])
    ['File Name', 'class']
    """
    known = {name for aliases in _ALIASES.values() for group in aliases for name in group.split()}
    known.add(_normalize(group_column or "group"))
    return [name for name in names if _normalize(name) in known]


def _ambiguous(column: str, indices: Sequence[int], names: Sequence[str], where: str) -> str:
    """Message about several columns that may all be `column`."""
    matches = [names[i] for i in indices]
    if len(set(matches)) == 1:
        return f"{where}: column {matches[0]!r} occurs twice."
    listed = " and ".join(map(repr, matches))
    return (
        f"{where}: columns {listed} may each be the {column}; rename the right one to {column!r}. "
        f"Columns: {', '.join(names)}."
    )


def _normalize(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).lower()
