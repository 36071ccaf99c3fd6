"""One-line summary of how a data set was understood."""

from __future__ import annotations

from collections.abc import Iterator

from featx.data.image_dataset import ImageDataset
from featx.errors import visible

_N_CLASSES_SHOWN, _N_SUFFIXES_SHOWN = 5, 4
_SPLIT_ORDER = ("train", "val", "test", "")


def describe_dataset(dataset: ImageDataset) -> str:
    """Summary of a data set's classes, splits, domains, groups and skipped files.

    Parameters
    ----------
    dataset : ImageDataset

    Returns
    -------
    str
        One line.

    Examples
    --------
    >>> from featx import load_dataset
    >>> describe_dataset(load_dataset("digits"))
    '10 classes (0, 1, 2, 3, 4, …), 1,797 images'
    """
    return ", ".join(_parts(dataset))


def _parts(dataset: ImageDataset) -> Iterator[str]:
    labels = [""] * len(dataset) if dataset.labels is None else dataset.labels.tolist()
    if classes := sorted(set(labels) - {""}):
        yield f"{_count(len(classes), 'class', 'classes')} ({_shorten(classes)})"
    if dataset.splits is None:
        yield _count(len(dataset), "image") + _unlabeled(labels, has_classes=bool(classes))
    else:
        yield from _splits(dataset, labels)
    for name, column in (("domain", dataset.domains), ("group", dataset.groups)):
        if column is not None and (values := sorted(set(column.tolist()) - {""})):
            shown = f" ({_shorten(values)})" if name == "domain" else ""
            yield _count(len(values), name) + shown
    yield from _skipped(dataset)


def _splits(dataset: ImageDataset, labels: list[str]) -> Iterator[str]:
    """Number of images of each split, and the names of its folders."""
    splits = [] if dataset.splits is None else dataset.splits.tolist()
    for split in _SPLIT_ORDER:
        split_labels = [label for label, other in zip(labels, splits) if other == split]
        if not split_labels:
            continue
        folders = sorted(
            visible(name)
            for name, other in dataset.split_folders.items()
            if other == split and name.lower() != split
        )
        names = f" ({', '.join(folders)})" if folders else ""
        n = f"{len(split_labels):,}"
        part = f"{split}{names} {n}" if split else f"{n} outside the splits"
        yield part + _unlabeled(split_labels, has_classes=any(labels))


def _unlabeled(labels: list[str], *, has_classes: bool) -> str:
    """Number of images without a label, if the data set has classes."""
    n = labels.count("")
    if not n or not has_classes:
        return ""
    return " (unlabeled)" if n == len(labels) else f" ({n:,} unlabeled)"


def _skipped(dataset: ImageDataset) -> Iterator[str]:
    if dataset.ignored:
        counts = sorted((-n, suffix) for suffix, n in dataset.ignored.items())
        shown = [
            f"{-n:,} {visible(suffix) or 'without suffix'}"
            for n, suffix in counts[:_N_SUFFIXES_SHOWN]
        ]
        more = [] if len(counts) <= _N_SUFFIXES_SHOWN else ["…"]
        yield f"{_count(dataset.n_ignored, 'file')} skipped: {', '.join(shown + more)}"
    if dataset.skipped_folders:
        yield f"folders skipped: {_shorten(dataset.skipped_folders)}"
    yield from dataset.remarks


def _shorten(names: list[str]) -> str:
    shown = [visible(name) for name in names[:_N_CLASSES_SHOWN]]
    return ", ".join([*shown, "…"] if len(names) > _N_CLASSES_SHOWN else shown)


def _count(n: int, singular: str, plural: str = "") -> str:
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"
