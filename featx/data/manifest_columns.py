"""Columns of manifests under the names that people give them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from featx.errors import DatasetError, did_you_mean

COLUMNS = ("path", "label", "split", "domain", "group")
"""What is known of an image, in manifests and feature files alike."""

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
"""Names of each column, without blanks and underscores: those of one rank by one, best first."""

_EXPECTED = "path,label[,split][,domain][,group]"


def find_columns(
    names: Sequence[str], group_column: str | None = None, *, where: str = "Manifest"
) -> dict[str, int]:
    """Where each known column stands, ``path`` first.

    A column called as in `COLUMNS` wins over one that people call otherwise (``filename``,
    ``species``), and that over one that may hold an id.

    Parameters
    ----------
    names : sequence of str
        Header of the manifest.
    group_column : str, optional
        Name of the column that is read as ``group``.
    where : str
        What the manifest is called in messages.

    Returns
    -------
    dict of str to int

    Raises
    ------
    DatasetError
        If there is no column of paths, or several may be the one looked for.

    Examples
    --------
    >>> find_columns(["image_id", "File Name", "species"])
    {'path': 1, 'label': 2}
    """
    squashed = list(map(_squash, names))
    listed = ", ".join(map(repr, names)) or "none"
    if group_column is not None and _squash(group_column) not in squashed:
        raise DatasetError(
            f"{where}: no column {group_column!r} for the groups."
            f"{did_you_mean(group_column, names)} There are: {', '.join(names)}."
        )
    found = {}
    for column, ranks in _ALIASES.items():
        own = (_squash(group_column),) if column == "group" and group_column else ranks
        for rank in own:
            indices = [i for i, name in enumerate(squashed) if name in rank.split()]
            if len(indices) > 1:
                raise DatasetError(_say_ambiguous(column, indices, names, where))
            if indices:
                found[column] = indices[0]
                break
    if "path" not in found:
        cure = " Separate the columns by commas." if len(names) == 1 and ";" in names[0] else ""
        raise DatasetError(f"{where}: no column 'path'; expected {_EXPECTED}, got {listed}.{cure}")
    return found


def known_names(names: Sequence[str], group_column: str | None = None) -> list[str]:
    """Those of a header's names that may be a known column.

    Examples
    --------
    >>> known_names(["File Name", "width", "class"])
    ['File Name', 'class']
    """
    known = {name for ranks in _ALIASES.values() for rank in ranks for name in rank.split()}
    known.add(_squash(group_column or "group"))
    return [name for name in names if _squash(name) in known]


def _say_ambiguous(column: str, indices: Sequence[int], names: Sequence[str], where: str) -> str:
    """Message about several columns that may be the same one."""
    same = [names[i] for i in indices]
    if len(set(same)) == 1:
        return f"{where}: column {same[0]!r} is there twice."
    listed = " and ".join(map(repr, same))
    return (
        f"{where}: columns {listed} may each be the {column}; call the right one {column!r}. There "
        f"are: {', '.join(names)}."
    )


def _squash(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).lower()
