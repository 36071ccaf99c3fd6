"""Fitted extractors to and from ``.skops`` files; loading never executes code from the file."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

from sklearn.base import clone

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
    import skops.io

    path = Path(path)
    if path.suffix != ".skops":
        raise FeatureFileError(f"{path}: an extractor is saved as .skops; got {path.suffix!r}.")
    part = path.with_name(f".{path.name}.part")
    try:
        skops.io.dump(portable(extractor), part)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise FeatureFileError(f"{path}: cannot be written ({error.strerror}).") from error
    return path


def load_extractor(path: str | os.PathLike[str]) -> Extractor:
    """Read an extractor that `save_extractor` wrote.

    Raises
    ------
    FeatureFileError
        If there is no such file, it is no skops file, or it holds types that are neither
        featx's nor those of an installed extractor.
    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    path = Path(path)
    if not path.is_file():
        raise FeatureFileError(f"{path}: no such file; wanted an extractor saved by featx.")
    try:
        found = skops.io.get_untrusted_types(file=path)
        trusted = [name for name in found if _is_trusted(name)]
        _import_all(trusted)
        extractor = skops.io.load(path, trusted=trusted)
    except UntrustedTypesFoundException as error:
        strangers = sorted(set(found) - set(trusted))
        raise FeatureFileError(
            f"{path}: refused, it holds types that featx does not trust: "
            f"{', '.join(strangers)}. Install the package that brings the extractor, or make "
            "the file anew."
        ) from error
    except Exception as error:  # A broken archive may raise anything inside the reader.
        raise FeatureFileError(
            f"{path}: not an extractor saved by featx ({' '.join(str(error).split())[:200]})."
        ) from error
    if not isinstance(extractor, Extractor):
        raise FeatureFileError(
            f"{path}: wanted an extractor saved by featx; it holds a {type(extractor).__name__}."
        )
    return extractor


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
