"""Fitted extractors and pipelines in ``.skops`` files; loading never executes code from one."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

from sklearn.base import clone
from sklearn.pipeline import Pipeline

from featx.errors import FeatureFileError
from featx.extractors.base import Extractor
from featx.registry import list_extractors

TRUSTED_PREFIX = "featx."


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
    return _write(portable(extractor), Path(path), "an extractor")


def load_extractor(path: str | os.PathLike[str]) -> Extractor:
    """Read an extractor that `save_extractor` wrote.

    Raises
    ------
    FeatureFileError
        If there is no such file, it is no skops file, or it holds types that are neither
        featx's nor those of an installed extractor.
    """
    found = _read(Path(path), "an extractor")
    if not isinstance(found, Extractor):
        raise _not_that(path, "an extractor", found)
    return found


def save_pipeline(pipeline: Pipeline, path: str | os.PathLike[str]) -> Path:
    """Write a fitted pipeline of an extractor and a classifier.

    Parameters
    ----------
    pipeline : sklearn.pipeline.Pipeline
        Its first step is an extractor.
    path : path
        A file that ends in ``.skops``; replaced atomically if it is there.

    Raises
    ------
    FeatureFileError
        If `path` has another suffix or cannot be written.
    """
    (name, extractor), *rest = pipeline.steps
    return _write(Pipeline([(name, portable(extractor)), *rest]), Path(path), "a probe")


def load_pipeline(path: str | os.PathLike[str]) -> Pipeline:
    """Read a pipeline that `save_pipeline` wrote.

    Raises
    ------
    FeatureFileError
        As of `load_extractor`.
    """
    found = _read(Path(path), "a probe")
    if not isinstance(found, Pipeline) or not isinstance(found.steps[0][1], Extractor):
        raise _not_that(path, "a probe", found)
    return found


def _write(model: Any, path: Path, what: str) -> Path:
    import skops.io

    if path.suffix != ".skops":
        raise FeatureFileError(f"{path}: {what} is saved as .skops; got {path.suffix!r}.")
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        skops.io.dump(model, part)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise FeatureFileError(f"{path}: cannot be written ({error.strerror}).") from error
    return path


def _read(path: Path, what: str) -> Any:
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    if not path.is_file():
        raise FeatureFileError(f"{path}: no such file; wanted {what} saved by featx.")
    try:
        found = skops.io.get_untrusted_types(file=path)
        trusted = [name for name in found if _is_trusted(name)]
        _import_all(trusted)
        return skops.io.load(path, trusted=trusted)
    except UntrustedTypesFoundException as error:
        strangers = sorted(set(found) - set(trusted))
        raise FeatureFileError(
            f"{path}: refused, it holds types that featx does not trust: "
            f"{', '.join(strangers)}. Install the package that brings the extractor, or make "
            "the file anew."
        ) from error
    except Exception as error:  # A broken archive may raise anything inside the reader.
        raise FeatureFileError(
            f"{path}: not {what} saved by featx ({' '.join(str(error).split())[:200]})."
        ) from error


def _not_that(path: str | os.PathLike[str], what: str, found: Any) -> FeatureFileError:
    return FeatureFileError(
        f"{path}: wanted {what} saved by featx; it holds a {type(found).__name__}."
    )


def portable(extractor: Any) -> Any:
    """Copy of a fitted extractor without store and jobs, its learned state kept."""
    copy = clone(extractor)
    copy.set_params(store=None, n_jobs=None)
    learned = {name: value for name, value in vars(extractor).items() if name.endswith("_")}
    vars(copy).update(learned)
    return copy


def _is_trusted(name: str) -> bool:
    """Whether a type is featx's own or an extractor that is installed here."""
    targets = {entry.target.replace(":", ".") for entry in list_extractors()}
    return name.startswith(TRUSTED_PREFIX) or name in targets


def _import_all(names: list[str]) -> None:
    """Import the modules of trusted types, which the reader looks up in what is loaded."""
    for name in names:
        importlib.import_module(name.rpartition(".")[0])
