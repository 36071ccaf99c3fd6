"""Fitted extractors and pipelines in ``.skops`` files; loading never executes code from one.

A skops file names the class of each object in it, and skops can be told to trust names. A name
of featx that is trusted can be misused: skops also has nodes that call what they name. So a file
holds *registered names* (``hog``) in place of modules and classes: those of extractors, and a
closed set of what probes are made of. They are replaced by the classes on reading, in nodes that
make an object without calling anything; any other estimator is refused, though skops trusts all of
scikit-learn. A class that moves to another module keeps its files.

An extractor's attributes are its parameters and what it learned, as its fingerprint knows them. A
file that holds others is refused: they could stand in for methods, and put rows of other values
into the store under the name of honest ones.

A file may also name a network as ``package.module:callable``. Such a file is read only if the user
trusts it, see `featx.trust.callables`.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import numpy as np
from sklearn.base import clone

from featx._files import atomic_write
from featx.engine.registry import registered_class
from featx.errors import FeatureFileError, one_line, visible
from featx.extractors.base import Extractor
from featx.extractors.names import registered_name
from featx.trust.callables import Trust, check_trusted

if TYPE_CHECKING:  # It imports scipy.stats, which most commands do without.
    from sklearn.pipeline import Pipeline

_PACKAGE = "featx"
"""Module that stands for ours in a file; a node's class is then a registered name."""

SCHEMA = "schema.json"
_NOT_FROM_FILES = ("store", "n_jobs", "trust")
"""Parameters that belong to a user and a machine: neither written nor taken from a file."""

_OBJECT_NODE = "ObjectNode"
"""The one kind of node of a skops file that makes an object without calling anything."""

_PLAIN_NODES = frozenset(
    {
        "BytesNode",
        "DictNode",
        "JsonNode",
        "ListNode",
        "LossNode",
        "NdArrayNode",
        "RandomStateNode",
        "SetNode",
        "TupleNode",
        "TypeNode",
    }
)
"""Kinds of node of what an object holds. None is a function, whose name old protocols of skops
keep where it is not seen, nor a sparse matrix, whose indices SciPy does not check."""

_SKLEARN_ATTRIBUTES = frozenset({"_metadata_request", "_sklearn_output_config"})
"""What scikit-learn sets on an estimator when it is asked to, and copies with it."""


def save_extractor(extractor: Any, path: str | os.PathLike[str]) -> Path:
    """Write a fitted extractor, without its store and jobs, which belong to a machine.

    Parameters
    ----------
    extractor : Extractor
        Fitted, or one that has nothing to fit.
    path : path
        A file that ends in ``.skops``; replaced atomically if it is there.

    Returns
    -------
    Path

    Raises
    ------
    FeatureFileError
        If `path` has another suffix or cannot be written.
    """
    return _write(_storable(extractor), Path(path), "an extractor", {})


def load_extractor(path: str | os.PathLike[str], *, trust: Trust = None) -> Extractor:
    """Read an extractor that `save_extractor` wrote.

    Parameters
    ----------
    path : path
    trust : path, str, or sequence of these, optional
        Files that may name code to be imported and called, or the callables they may name.

    Raises
    ------
    FeatureFileError
        If there is no such file, it is no skops file, or it holds types that are neither
        featx's nor those of an installed extractor.
    ModelError
        If it names code that is not trusted.
    """
    model = _read(Path(path), "an extractor", {}, trust)
    if not isinstance(model, Extractor):
        raise _not_that(path, "an extractor", model)
    return model


def save_pipeline(
    pipeline: Pipeline, path: str | os.PathLike[str], *, classes: Iterable[type[Any]] = ()
) -> Path:
    """Write a fitted pipeline of an extractor and a classifier.

    Parameters
    ----------
    pipeline : sklearn.pipeline.Pipeline
        Its first step is an extractor.
    path : path
        A file that ends in ``.skops``; replaced atomically if it is there.
    classes : iterable of type
        Classes other than extractors that the pipeline may hold.

    Raises
    ------
    FeatureFileError
        If `path` has another suffix or cannot be written.
    """
    (name, extractor), *rest = pipeline.steps
    from sklearn.pipeline import Pipeline

    whole = Pipeline([(name, _storable(extractor)), *rest])
    return _write(whole, Path(path), "a probe", _by_name([Pipeline, *classes]))


def load_pipeline(
    path: str | os.PathLike[str], *, classes: Iterable[type[Any]] = (), trust: Trust = None
) -> Pipeline:
    """Read a pipeline that `save_pipeline` wrote.

    Parameters
    ----------
    path : path
    classes : iterable of type
        Classes other than extractors that the file may hold; one with others is refused.
    trust : path, str, or sequence of these, optional
        As in `load_extractor`.

    Raises
    ------
    FeatureFileError, ModelError
        As of `load_extractor`.
    """
    from sklearn.pipeline import Pipeline

    model = _read(Path(path), "a probe", _by_name([Pipeline, *classes]), trust)
    if not _is_probe(model):
        raise _not_that(path, "a probe", model)
    return model


def portable(extractor: Any) -> Any:
    """Copy of a fitted extractor without store and jobs, its learned state kept."""
    copy = clone(extractor)
    copy.set_params(store=None, n_jobs=None)
    learned = {name: value for name, value in vars(extractor).items() if name.endswith("_")}
    vars(copy).update(learned)
    return copy


def _is_probe(model: Any) -> bool:
    from sklearn.pipeline import Pipeline

    steps = getattr(model, "steps", None)
    if not isinstance(model, Pipeline) or not isinstance(steps, list) or len(steps) < 2:
        return False
    is_whole = all(isinstance(step, tuple) and len(step) == 2 for step in steps)
    return is_whole and isinstance(steps[0][1], Extractor)


def _storable(extractor: Any) -> Any:
    """Copy of a fitted extractor without what belongs to a user and a machine."""
    copy = portable(extractor)
    _drop_own(copy)
    return copy


def _drop_own(extractor: Extractor) -> None:
    for name in set(_NOT_FROM_FILES) & set(extractor._get_param_names()):
        setattr(extractor, name, None)


def _by_name(classes: Iterable[type[Any]]) -> dict[str, type[Any]]:
    return {cls.__name__: cls for cls in classes}


def _write(model: Any, path: Path, what: str, classes: Mapping[str, type[Any]]) -> Path:
    import skops.io

    if path.suffix != ".skops":
        raise FeatureFileError(f"{path}: {what} is saved as .skops; got {path.suffix!r}.")
    data = _with_schema(skops.io.dumps(model), lambda schema: _hide_classes(schema, classes))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise FeatureFileError(f"{path}: cannot be written ({error.strerror}).") from error
    return path


def _read(path: Path, what: str, classes: Mapping[str, type[Any]], trust: Trust) -> Any:
    """Model of a file, once all that it holds is found to be harmless."""
    model = _load(path, what, classes)
    for extractor in _extractors_in(model):
        _check_attributes(extractor, path)
        _drop_own(extractor)
        check_trusted(getattr(extractor, "model", None), path, trust)
    return model


def _check_attributes(extractor: Extractor, path: Path) -> None:
    """Refuse an extractor that has other than its parameters and what it learned."""
    cls = type(extractor)
    parameters = cls._get_param_names()
    for name in parameters:
        if name not in vars(extractor):
            raise FeatureFileError(
                f"{path}: refused, it lacks {name!r} of {cls.__name__}; write the file again."
            )
    known = _SKLEARN_ATTRIBUTES.union(parameters)
    strange = [name for name in vars(extractor) if name not in known and not _is_learned(cls, name)]
    if strange:
        raise FeatureFileError(
            f"{path}: refused, it sets {strange[0]!r} of {cls.__name__}, which is neither a "
            "parameter nor learned."
        )


def _is_learned(cls: type[Any], name: Any) -> bool:
    """Whether a name can be that of a learned attribute, and hides nothing of its class."""
    is_public = isinstance(name, str) and name.endswith("_") and not name.startswith("_")
    return is_public and not hasattr(cls, name)


def _extractors_in(model: Any) -> Iterator[Extractor]:
    """Every extractor that can be reached from an object of a file, wherever it hides."""
    seen: dict[int, Any] = {}  # Holds the objects: an id is only unique among living ones.
    stack = [model]
    while stack:
        item = stack.pop()
        if id(item) in seen or isinstance(item, _HOLDS_NO_OBJECTS):
            continue
        seen[id(item)] = item
        if isinstance(item, Extractor):
            yield item
        stack.extend(_parts_of(item))


_HOLDS_NO_OBJECTS = (str, bytes, int, float, complex, type, FunctionType, ModuleType, type(None))


def _parts_of(item: Any) -> Iterator[Any]:
    """Objects that an object refers to."""
    if isinstance(item, dict):
        yield from item.keys()
        yield from item.values()
    elif isinstance(item, list | tuple | set | frozenset):
        yield from item
    elif isinstance(item, np.ndarray) and item.dtype.hasobject:
        yield from item.ravel().tolist()
    elif isinstance(item, partial):
        yield from (item.func, item.args, item.keywords)
    elif isinstance(item, MethodType):
        yield item.__self__
    yield from getattr(item, "__dict__", {}).values()


def _load(path: Path, what: str, classes: Mapping[str, type[Any]]) -> Any:
    import skops.io

    if not path.is_file():
        raise FeatureFileError(f"{path}: no such file or folder; expected {what} saved by featx.")
    trusted: set[str] = set()
    try:
        data = _with_schema(
            path.read_bytes(), lambda schema: trusted.update(_show_classes(schema, classes))
        )
        strangers = sorted(set(skops.io.get_untrusted_types(data=data)) - trusted)
        if not strangers:
            return skops.io.loads(data, trusted=sorted(trusted))
    except _UntrustedError as error:
        strangers = [str(error)]
    except Exception as error:  # A broken archive may raise anything inside the reader.
        raise FeatureFileError(
            f"{path}: not {what} saved by featx ({one_line(error)[:200]})."
        ) from error
    raise FeatureFileError(
        f"{path}: refused, it holds types that featx does not trust: "
        f"{visible(', '.join(strangers))}. Install the package that brings the "
        "extractor, or write the file again."
    )


class _UntrustedError(Exception):
    """A node of a file names what it must not; the text is the name."""


def _with_schema(data: bytes, change: Callable[[Any], object]) -> bytes:
    """A skops file whose schema was changed in place by `change`."""
    changed = io.BytesIO()
    with ZipFile(io.BytesIO(data)) as old, ZipFile(changed, "w") as new:
        if sum(member.file_size for member in old.infolist()) > len(data):
            raise ValueError("it is compressed, and could grow without end")
        schema = json.loads(old.read(SCHEMA))
        change(schema)
        for name in old.namelist():
            new.writestr(name, json.dumps(schema) if name == SCHEMA else old.read(name))
    return changed.getvalue()


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object of a schema that names a class, however deep."""
    stack = [schema]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            if "__module__" in item or "__class__" in item:
                yield item
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)


def _hide_classes(schema: Any, classes: Mapping[str, type[Any]]) -> None:
    """Put registered names in place of our modules and classes."""
    names = {_path_of(cls): name for name, cls in classes.items()}
    hidden: set[str] = set()
    others: set[str] = set()
    for node in _nodes(schema):
        path = _named(node)
        name = names.get(path) or _extractor_name(node)
        if not _is_plain(node):
            raise FeatureFileError(f"A {path} cannot be saved: {node['__loader__']} is not read.")
        (others if name is None else hidden).add(path)
        if name is not None:
            node["__module__"], node["__class__"] = _PACKAGE, name
    for path in _strangers(others, hidden):
        raise FeatureFileError(f"A {path} cannot be saved: it has no registered name.")


def _extractor_name(node: Mapping[str, Any]) -> str | None:
    """Registered name of the extractor of which a node is; None of anything else."""
    if node["__loader__"] != _OBJECT_NODE:
        return None
    cls = getattr(sys.modules.get(node["__module__"]), node["__class__"], None)
    if not isinstance(cls, type) or not issubclass(cls, Extractor):
        return None
    name = registered_name(cls)
    return name if registered_class(name) is cls else None


def _show_classes(schema: Any, classes: Mapping[str, type[Any]]) -> set[str]:
    """Put classes in place of registered names; the paths of those that it put there."""
    trusted, others = set(), set()
    for node in _nodes(schema):
        if not _is_plain(node):
            raise _UntrustedError(f"{_named(node)} ({node.get('__loader__')})")
        _share_only_files(node)
        if node.get("__module__") != _PACKAGE:
            others.add(_named(node))
            continue
        name = str(node.get("__class__"))
        cls = classes.get(name) or registered_class(name)
        if cls is None or node.get("__loader__") != _OBJECT_NODE:
            raise _UntrustedError(_named(node))
        node["__module__"], node["__class__"] = cls.__module__, cls.__qualname__
        trusted.add(_path_of(cls))
    for path in _strangers(others, trusted):
        raise _UntrustedError(path)
    return trusted


def _strangers(others: set[str], registered: set[str]) -> list[str]:
    """What a file must not name by its module: our classes, and estimators of scikit-learn.

    Of these skops trusts all. Only what an extractor of another package has learned may hold some.
    """
    is_foreign = any(not _is_of(path, _PACKAGE, "sklearn") for path in registered)
    refused = (_PACKAGE,) if is_foreign else (_PACKAGE, "sklearn")
    return sorted(path for path in others if path in registered or _is_of(path, *refused))


def _is_plain(node: Mapping[str, Any]) -> bool:
    return node.get("__loader__") in _PLAIN_NODES | {_OBJECT_NODE}


def _share_only_files(node: dict[str, Any]) -> None:
    """Let a node stand for others only where it is one array, which is then read once.

    skops goes through a shared node once for each that refers to it: a few nested ones would take
    for ever.
    """
    node.pop("__id__", None)
    if "file" in node:
        node["__id__"] = node["file"]


def _named(node: Mapping[str, Any]) -> str:
    return f"{node.get('__module__')}.{node.get('__class__')}"


def _is_of(path: str, *packages: str) -> bool:
    return path.partition(".")[0] in packages


def _path_of(cls: type[Any]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _not_that(path: str | os.PathLike[str], what: str, model: Any) -> FeatureFileError:
    return FeatureFileError(
        f"{path}: expected {what} saved by featx; it holds a {type(model).__name__}."
    )
