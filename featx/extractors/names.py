"""Names under which extractors are known: in SPECs, in cache keys and in saved files.

A class may move to another module, in featx or in a package that brings extractors: what was
stored under its name stays valid.
"""

from __future__ import annotations

import functools
from importlib.metadata import EntryPoint, entry_points
from typing import Any

GROUP = "featx.extractors"
"""Group of entry points by which other packages bring extractors."""


@functools.cache
def list_plugins() -> dict[str, EntryPoint]:
    """Entry points of other packages, by the name that a SPEC begins with, sorted."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=_name)}


def distribution_of(point: EntryPoint) -> str:
    """Name of the distribution that brings an entry point, ``?`` where it is unknown."""
    return point.dist.name if point.dist is not None else "?"


def plugin_name(point: EntryPoint) -> str:
    """Registered name of a plug-in, ``distribution:name``, which no two of them share."""
    return f"{distribution_of(point)}:{point.name}"


def registered_name(cls: type[Any]) -> str:
    """Name that identifies an extractor's class wherever its code is.

    Parameters
    ----------
    cls : type

    Returns
    -------
    str
        `spec_name` of a class of featx, ``distribution:name`` of one that an entry point
        brings, and ``module.Class`` of any other, which includes a subclass of either.

    Examples
    --------
    >>> from featx import HOG
    >>> registered_name(HOG)
    'hog'
    """
    own = vars(cls).get("spec_name")
    if own and cls.__module__.partition(".")[0] == "featx":
        return str(own)
    target = f"{cls.__module__}:{cls.__qualname__}"
    for point in list_plugins().values():
        if point.value == target:
            return plugin_name(point)
    return target.replace(":", ".")


def _name(point: EntryPoint) -> str:
    return point.name
