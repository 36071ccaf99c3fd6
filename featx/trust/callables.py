"""Import a callable that a file names only if the user trusts the file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from featx.errors import ModelError

Trust: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None
"""Files, folders, or callables ``package.module:callable`` that the user trusts."""


def is_callable_name(model: Any) -> bool:
    """Whether the name of a model has the form ``package.module:callable``.

    Examples
    --------
    >>> is_callable_name("my.networks:small"), is_callable_name("alexnet")
    (True, False)
    """
    return isinstance(model, str) and bool(re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", model))


def check_trusted(model: Any, file: str | os.PathLike[str], trust: Trust = None) -> None:
    """Refuse a callable that a file names, unless the user trusts the file or the callable.

    Parameters
    ----------
    model : Any
        Network that the file names; accepted unless it is the name of a callable.
    file : path
        The file that names it.
    trust : path, str, or sequence of these, optional
        Trusted files, folders and callables; a folder includes only the files directly in it.

    Raises
    ------
    ModelError
        If the callable is refused.

    Examples
    --------
    >>> check_trusted("alexnet", "mine/model.json")
    >>> check_trusted("my.networks:small", "mine/model.json", trust="mine")
    """
    if not is_callable_name(model):
        return
    path = Path(file).expanduser()
    trusted = list(_entries(trust))
    # Links are resolved on both sides, so that a link in a trusted folder does not help.
    real = path.resolve()
    paths = {Path(entry).expanduser().resolve() for entry in trusted}
    if model not in trusted and not {real, real.parent} & paths:
        shown = path.parent if path.name == "model.json" else path
        raise ModelError(
            f"{path} names {model!r}, which would be imported and called; code that a file names "
            f"runs only if you trust it. Trust the file with --trust {shown} (in Python "
            f"trust={str(shown)!r}), or the callable alone with --trust {model}."
        )


def _entries(trust: Trust) -> Iterator[str]:
    if trust is None:
        return
    for entry in [trust] if isinstance(trust, str | os.PathLike) else trust:
        yield os.fspath(entry)
