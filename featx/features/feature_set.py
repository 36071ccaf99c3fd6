"""A matrix of features with the images of its rows and their provenance."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from featx._files import to_plain
from featx._linalg import find_not_finite, take_rows
from featx.data.manifest_columns import COLUMNS
from featx.errors import FeatureFileError, ProjectionError, did_you_mean, one_line
from featx.features.formats import find_format
from featx.features.formats.content import Content, Matrix
from featx.process.phases import phase

Strings = npt.NDArray[np.str_]

_ATTRIBUTES = {f"{column}s": column for column in COLUMNS}
"""Attribute of a `FeatureSet` -> name of its column in files and manifests."""

_MAX_NAME_BYTES = 255 - 55
"""Maximum length of an output's name; the names of temporary files beside it are longer."""


@dataclass(eq=False)
class FeatureSet:
    """Features of images: one row per image, in one or several blocks of columns.

    Parameters
    ----------
    X : array of shape (n_images, n_features), float32
        Possibly memory-mapped.
    paths : sequence of str
        Name of each row's image.
    labels, splits, domains, groups : sequence of str, optional
        One per row; None if unknown.
    blocks : dict of str to (int, int), optional
        First column of each block, and the one after its last. Blocks are adjacent and cover all
        columns. By default there is one block called ``features``.
    failures : list of (str, str), optional
        Images without a row, and why.
    provenance : dict, optional
        How the features were made, as plain values. ``provenance["extractors"]`` is a list of
        dicts, each with a ``fingerprint``; they decide whether a file may be replaced.

    Raises
    ------
    ValueError
        If the lengths do not agree, or the blocks do not cover the columns.

    Examples
    --------
    >>> features = FeatureSet(
    ...     np.eye(3, dtype=np.float32),
    ...     ["a.jpg", "b.jpg", "c.jpg"],
    ...     blocks={"hog": (0, 1), "color": (1, 3)},
    ... )
    >>> features.layer("color").shape
    (3, 2)
    """

    X: Matrix
    paths: Any
    labels: Any = None
    splits: Any = None
    domains: Any = None
    groups: Any = None
    blocks: dict[str, tuple[int, int]] = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.X.ndim != 2:
            raise ValueError(f"X must be of shape (n_images, n_features); got {self.X.shape}.")
        if self.X.dtype != np.float32:
            self.X = np.asarray(self.X, np.float32)
        for name in _ATTRIBUTES:
            setattr(self, name, _column(name, getattr(self, name), len(self.X)))
        n_columns = self.X.shape[1]
        self.blocks = {name: (int(a), int(b)) for name, (a, b) in self.blocks.items()}
        if not self.blocks and n_columns:
            self.blocks = {"features": (0, n_columns)}
        _check_blocks(self.blocks, n_columns)
        self.failures = [(str(path), str(reason)) for path, reason in self.failures]

    def __len__(self) -> int:
        return len(self.X)

    def layer(self, name: str) -> Matrix:
        """Features of one block, as a view.

        Parameters
        ----------
        name : str
            Name of the block: a layer, or a whole SPEC.

        Returns
        -------
        array of shape (n_images, n_features_of_the_block), float32

        Raises
        ------
        FeatureFileError
            If there is no such block.
        """
        if name not in self.blocks:
            raise FeatureFileError(
                f"Block {name!r} is not among these features.{did_you_mean(name, self.blocks)} "
                f"Blocks: {', '.join(self.blocks)}."
            )
        return self.X[:, slice(*self.blocks[name])]

    def check_finite(self) -> None:
        """Raise an error if features are NaN or infinite.

        Raises
        ------
        ProjectionError
            The message names the block, the number of images, and the first image.
        """
        for name in self.blocks:
            rows = find_not_finite(self.layer(name))
            if len(rows):
                n = f"{len(rows):,} of {len(self):,} images"
                raise ProjectionError(
                    f"{name} has NaN or infinite features in {n}, such as {self.paths[rows[0]]}; "
                    "name another layer, or check the network's weights."
                )

    def take(self, indices: Sequence[int] | npt.NDArray[Any]) -> FeatureSet:
        """Rows at `indices`, or where a mask is true; memory-mapped if they are large."""
        return replace(
            self,
            X=take_rows(self.X, indices),
            paths=self.paths[indices],
            labels=None if self.labels is None else self.labels[indices],
            splits=None if self.splits is None else self.splits[indices],
            domains=None if self.domains is None else self.domains[indices],
            groups=None if self.groups is None else self.groups[indices],
        )

    @phase("write files")
    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write to a file or folder; an existing one is replaced atomically.

        Parameters
        ----------
        path : path
            The suffix decides the format: ``.npz``, ``.npy`` and ``.csv`` (with names in
            ``PATH.json`` beside it), ``.parquet``, ``.h5``, ``.safetensors``, ``.mat``; a path
            without a suffix is a folder.
        force : bool, default=False
            Also replace files that were not written with the same extractor settings.

        Raises
        ------
        FeatureFileError
            If the file exists and must not be replaced, cannot be written, or its format cannot
            hold the features.
        """
        path = check_output(path, self.provenance, force=force)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            find_format(path).write(self._content(), path)
        except OSError as error:
            raise FeatureFileError(f"Cannot write {path}: {_reason(error)}.") from error

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote.

        Parameters
        ----------
        path : path

        Returns
        -------
        FeatureSet
            Its `X` is memory-mapped, read-only, from ``.npy``, ``.safetensors`` and folders.

        Raises
        ------
        FeatureFileError
            If the file does not exist, is damaged, or was not written by featx.
        """
        file = Path(path)
        if not file.exists():
            raise FeatureFileError(f"No feature file {file}; write one with `featx extract -o`.")
        try:
            content = find_format(file).read(file)
            return cls._from_content(content)
        except FeatureFileError:
            raise
        except Exception as error:  # On a damaged file a reader may raise anything.
            raise FeatureFileError(
                f"{file} is damaged or was not written by featx: {_reason(error)}."
            ) from error

    def _content(self) -> Content:
        columns = {column: getattr(self, name) for name, column in _ATTRIBUTES.items()}
        return Content(
            X=self.X,
            columns={column: values for column, values in columns.items() if values is not None},
            blocks=self.blocks,
            failures=self.failures,
            provenance=self.provenance,
        )

    @classmethod
    def _from_content(cls, content: Content) -> Self:
        columns = {name: content.columns.get(column) for name, column in _ATTRIBUTES.items()}
        return cls(
            content.X,
            **columns,
            blocks=content.blocks,
            failures=content.failures,
            provenance=content.provenance,
        )


def check_output(
    path: str | os.PathLike[str], provenance: dict[str, Any], *, force: bool = False
) -> Path:
    """Check, before anything is computed, whether an output can be written.

    Parameters
    ----------
    path : path
        As in `FeatureSet.save`.
    provenance : dict
        Provenance of the features to be written. An existing file may be replaced if the
        fingerprints in its ``provenance["extractors"]`` are the same.
    force : bool, default=False
        Whether any other file may be replaced as well.

    Returns
    -------
    Path
        The file or folder to write, with links resolved.

    Raises
    ------
    FeatureFileError
        If the suffix is unknown, a package for it is missing, or an existing file must not be
        replaced.
    """
    path = Path(path)
    form = find_format(path)
    form.check()
    target = Path(os.path.realpath(path))
    _check_writable(target, is_folder=form.is_folder)
    if force or not form.exists(target):
        return target
    try:
        existing = form.read_meta(target)["provenance"]
        is_same = _fingerprints_of(existing) == _fingerprints_of(provenance) != []
    except Exception as error:  # On a file of another program a reader may raise anything.
        raise _refusal(path, "was not written by featx") from error
    if not is_same:
        raise _refusal(path, "holds features of other extractor settings")
    return target


def _column(name: str, values: Any, n_rows: int) -> Strings | None:
    """Array of one string per row."""
    if values is None:
        return None
    column = np.asarray(values, dtype=np.str_)
    if column.shape != (n_rows,):
        raise ValueError(f"{name} must have one value per row of X ({n_rows}); got {column.shape}.")
    return column


def _check_blocks(blocks: dict[str, tuple[int, int]], n_columns: int) -> None:
    """Raise an error unless the blocks are adjacent and cover all columns."""
    end = 0
    for name, (start, stop) in blocks.items():
        if not name or start != end or stop < start:
            raise ValueError(
                f"Blocks must have names and be adjacent, starting at column 0; got {blocks}."
            )
        end = stop
    if end != n_columns:
        raise ValueError(f"Blocks must cover the {n_columns} columns of X; got {blocks}.")


def _check_writable(target: Path, *, is_folder: bool) -> None:
    """Raise an error if `target` cannot be written."""
    n_bytes = len(os.fsencode(target.name))
    if n_bytes > _MAX_NAME_BYTES:  # Temporary names are longer.
        raise FeatureFileError(
            f"The name {target.name[:40]}… has {n_bytes} bytes; expected at most {_MAX_NAME_BYTES}."
        )
    if target.is_dir() and not is_folder:
        raise FeatureFileError(f"{target} is a folder; expected the name of a file.")
    if is_folder and target.exists() and not target.is_dir():
        raise FeatureFileError(f"{target} is a file; expected a folder, or a name with a suffix.")
    parent = next(folder for folder in (target, *target.parents) if folder.exists())
    if not parent.is_dir() and parent != target:
        raise FeatureFileError(f"Cannot write {target}: {parent} is not a folder.")
    if not os.access(parent if parent.is_dir() else parent.parent, os.W_OK):
        raise FeatureFileError(f"Cannot write {target}: no permission to write in {parent}.")


def _fingerprints_of(provenance: dict[str, Any]) -> list[Any]:
    """Fingerprints of the extractors, as JSON types."""
    # Without the fitted state, so that a codebook learned from more images may replace a file.
    return [
        to_plain(extractor.get("settings_fingerprint", extractor["fingerprint"]))
        for extractor in provenance.get("extractors", [])
    ]


def _refusal(path: Path, why: str) -> FeatureFileError:
    return FeatureFileError(
        f"{path} exists and {why}; give another name with -o, or overwrite it with --force."
    )


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    if isinstance(error, KeyError):
        return f"it has no {error}"
    return one_line(error).rstrip(".")
