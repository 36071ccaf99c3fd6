"""Names that identify extractors in SPECs, cache keys and saved files.

They do not depend on the module of a class: if it moves, what was stored remains valid.
"""

from __future__ import annotations

import functools
from importlib.metadata import EntryPoint, entry_points
from typing import Any

GROUP = "featx.extractors"
"""Entry point group by which other packages provide extractors."""


@functools.cache
def list_plugins() -> dict[str, EntryPoint]:
    """Return the entry points of other packages' extractors, sorted, by their name in a SPEC."""
    points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return {point.name: point for point in points}


def distribution_of(point: EntryPoint) -> str:
    """Return the name of the distribution that provides an entry point; ``?`` if unknown."""
    return point.dist.name if point.dist is not None else "?"


def plugin_name(point: EntryPoint) -> str:
    """Return the registered name of a plug-in, ``distribution:name``, which is unique."""
    return f"{distribution_of(point)}:{point.name}"


def registered_name(cls: type[Any]) -> str:
    """Return the name that identifies an extractor's class, independent of its module.

    Parameters
    ----------
    cls : type

    Returns
    -------
    str
        `spec_name` for featx's own classes, ``distribution:name`` for those of entry points, and
        ``module.Class`` for all others, including subclasses of the former.

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
