"""Extractors by name: the classes of featx, and the entry points ``featx.extractors``."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import featx.extractors
from featx.errors import (
    SpecError,
    did_you_mean,
)
from featx.extractors.names import (
    distribution_of,
    list_plugins,
    plugin_name,
    registered_name,
)


@dataclass(frozen=True)
class Entry:
    """An extractor that can be asked for by name.

    Attributes
    ----------
    name : str
        What a SPEC begins with.
    target : str
        ``module:Class``.
    source : str
        ``featx``, or the distribution that brings it.
    summary : str
        First line of the class's docstring.
    """

    name: str
    target: str
    source: str
    summary: str


def list_extractors() -> list[Entry]:
    """Return all extractors, built-in ones first.

    Examples
    --------
    >>> [entry.name for entry in list_extractors() if entry.source == "featx"]
    ['bovw', 'cnn', 'color', 'gabor', 'gist', 'glcm', 'hog', 'hsv', 'lbp', 'mean_color', 'phog',
     'pixels']
    """
    return [*_built_in().values(), *_plugins().values()]


def extractor_class(name: str) -> type[Any]:
    """Class that a name stands for.

    Raises
    ------
    SpecError
        If there is none of this name, with the nearest ones.
    """
    entries = _built_in() | _plugins()
    if name not in entries:
        guess = did_you_mean(name, entries)
        raise SpecError(f"Extractor {name!r} is not known.{guess} See `featx extractors`.")
    return _load(entries[name].target)


def registered_class(name: str) -> type[Any] | None:
    """Class whose `registered_name` this is; None where no installed extractor has it.

    Examples
    --------
    >>> registered_class("hog")
    <class 'featx.extractors.hog.HOG'>
    """
    targets = {name: entry.target for name, entry in _built_in().items()}
    targets |= {plugin_name(point): point.value for point in list_plugins().values()}
    return _load(targets[name]) if name in targets else None


@functools.cache
def _built_in() -> dict[str, Entry]:
    """Extractors of featx: each class in its sources that has a `spec_name`.

    The sources are read, not imported: a list of names must not cost scikit-learn's start.
    """
    entries = {}
    for path in sorted(Path(featx.extractors.__path__[0]).rglob("*.py")):
        for node, name in _named_classes(path):
            parts = path.relative_to(featx.extractors.__path__[0]).with_suffix("").parts
            module = ".".join([featx.extractors.__name__, *parts]).removesuffix(".__init__")
            entries[name] = Entry(name, f"{module}:{node.name}", "featx", _summary(node))
    return dict(sorted(entries.items()))


def _named_classes(path: Path) -> Iterator[tuple[ast.ClassDef, str]]:
    """Classes in a source file that set `spec_name`, and what they set it to."""
    source = path.read_text("utf-8")
    if "spec_name" not in source:
        return
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            yield from ((node, name) for line in node.body if (name := _spec_name(line)))


def _spec_name(line: ast.stmt) -> str:
    """What a line of a class sets `spec_name` to; empty if it sets something else."""
    if not isinstance(line, ast.AnnAssign) or not isinstance(line.value, ast.Constant):
        return ""
    is_name = isinstance(line.target, ast.Name) and line.target.id == "spec_name"
    return str(line.value.value) if is_name else ""


def _plugins() -> dict[str, Entry]:
    """Extractors of other packages; none can take a built-in name."""
    return {
        name: Entry(name, point.value, distribution_of(point), _plugin_summary(point.value))
        for name, point in list_plugins().items()
        if name not in _built_in()
    }


def _plugin_summary(target: str) -> str:
    """First docstring line of a class, read without importing what it needs."""
    module, _, attribute = target.partition(":")
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return ""
    for node in ast.parse(Path(spec.origin).read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == attribute:
            return _summary(node)
    return ""


def _summary(node: ast.ClassDef) -> str:
    return (ast.get_docstring(node) or "").partition("\n")[0]


def _load(target: str) -> type[Any]:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _name_of(cls: type[Any]) -> str:
    """Name of a class in SPECs; that of the class itself where it is not registered."""
    name = registered_name(cls)
    return name.rpartition(":")[2] if registered_class(name) is cls else cls.__qualname__
