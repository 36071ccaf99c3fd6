"""What was understood of a data set: one line, that every command begins with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from featx.data.image_dataset import ImageDataset, Strings

_N_NAMES = 5
_N_KINDS = 4
_MAX_NAME = 30
_SPLITS = ("train", "val", "test")


def describe_dataset(dataset: ImageDataset) -> str:
    """Classes, images of each split, what was left out and what else is worth knowing.

    Parameters
    ----------
    dataset : ImageDataset

    Returns
    -------
    str

    Examples
    --------
    >>> from featx import load_dataset
    >>> describe_dataset(load_dataset("digits"))
    '10 classes (0, 1, 2, 3, 4, …), 1,797 images'
    """
    parts = [_names_of("class", "classes", dataset.labels), *_counts(dataset)]
    if dataset.domains is not None:
        parts.append(_names_of("domain", "domains", dataset.domains))
    if dataset.groups is not None:
        n_groups = len(set(dataset.groups.tolist()) - {""})
        parts.append(f"{n_groups:,} group{'s' * (n_groups != 1)}")
    if dataset.left_out:
        parts.append(_describe_files(dataset.left_out))
    return "; ".join([", ".join(parts), *dataset.remarks])


def _describe_files(kinds: Counter[str]) -> str:
    """How many files were left out, the most frequent suffixes by name.

    Examples
    --------
    >>> _describe_files(Counter({"": 7, ".avif": 3}))
    '10 files left out: 7 unknown, 3 .avif'
    """
    n_files = kinds.total()
    common = [f"{n:,} {suffix or 'unknown'}" for suffix, n in kinds.most_common(_N_KINDS)]
    n_more = n_files - sum(n for _, n in kinds.most_common(_N_KINDS))
    shown = ", ".join([*common, *([f"{n_more:,} others"] if n_more else [])])
    return f"{n_files:,} file{'s' * (n_files > 1)} left out: {shown}"


def _names_of(one: str, many: str, column: Strings | None) -> str:
    names = [] if column is None else sorted(set(column.tolist()) - {""})
    if not names:
        return f"no {many}"
    shown = ", ".join([*map(_short, names[:_N_NAMES]), *(["…"] if len(names) > _N_NAMES else [])])
    return f"{len(names):,} {one if len(names) == 1 else many} ({shown})"


def _counts(dataset: ImageDataset) -> Iterator[str]:
    """Images of each split, or all; those without a class are told apart where others have one."""
    n_images = len(dataset)
    is_bare = np.zeros(n_images, bool) if dataset.labels is None else dataset.labels == ""
    if dataset.splits is None:
        yield f"{n_images:,} image{'s' * (n_images != 1)}{_bare(is_bare)}"
        return
    for split in _SPLITS:
        if (mask := dataset.splits == split).any():
            yield f"{split} {mask.sum():,}{_bare(is_bare[mask])}"
    if (outside := dataset.splits == "").any():
        yield f"{outside.sum():,} outside the splits{_bare(is_bare[outside])}"


def _bare(is_bare: npt.NDArray[np.bool_]) -> str:
    n_bare = int(is_bare.sum())
    if not n_bare:
        return ""
    return " (unlabelled)" if n_bare == len(is_bare) else f" ({n_bare:,} unlabelled)"


def _short(name: str) -> str:
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}…"
