"""What was understood of a data set, in one line."""

from __future__ import annotations

from collections.abc import Iterator

from featx.data.image_dataset import ImageDataset
from featx.errors import visible

_N_CLASSES_SHOWN, _N_SUFFIXES_SHOWN = 5, 4
_SPLIT_ORDER = ("train", "val", "test", "")


def describe_dataset(dataset: ImageDataset) -> str:
    """Classes, splits and files left out, as users check them.

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
        yield _count(len(dataset), "image") + _unlabelled(labels, is_known=bool(classes))
    else:
        yield from _splits(dataset, labels)
    for name, column in (("domain", dataset.domains), ("group", dataset.groups)):
        if column is not None and (values := sorted(set(column.tolist()) - {""})):
            shown = f" ({_shorten(values)})" if name == "domain" else ""
            yield _count(len(values), name) + shown
    yield from _left_out(dataset)


def _splits(dataset: ImageDataset, labels: list[str]) -> Iterator[str]:
    """How many images each split has, and what its folders are called."""
    splits = [] if dataset.splits is None else dataset.splits.tolist()
    for split in _SPLIT_ORDER:
        own = [label for label, of in zip(labels, splits) if of == split]
        if not own:
            continue
        folders = sorted(
            visible(name)
            for name, of in dataset.split_folders.items()
            if of == split and name.lower() != split
        )
        called = f" ({', '.join(folders)})" if folders else ""
        n_images = f"{split}{called} {len(own):,}" if split else f"{len(own):,} outside the splits"
        yield n_images + _unlabelled(own, is_known=any(labels))


def _unlabelled(labels: list[str], *, is_known: bool) -> str:
    """How many images have no label, where others have one."""
    n = labels.count("")
    if not n or not is_known:
        return ""
    return " (unlabelled)" if n == len(labels) else f" ({n:,} unlabelled)"


def _left_out(dataset: ImageDataset) -> Iterator[str]:
    if dataset.ignored:
        counts = sorted((-n, suffix) for suffix, n in dataset.ignored.items())
        shown = [
            f"{-n:,} {visible(suffix) or 'without suffix'}"
            for n, suffix in counts[:_N_SUFFIXES_SHOWN]
        ]
        more = [] if len(counts) <= _N_SUFFIXES_SHOWN else ["…"]
        yield f"{_count(dataset.n_ignored, 'file')} left out: {', '.join(shown + more)}"
    if dataset.left_out:
        yield f"folders left out: {_shorten(dataset.left_out)}"
    yield from dataset.remarks


def _shorten(names: list[str]) -> str:
    shown = [visible(name) for name in names[:_N_CLASSES_SHOWN]]
    return ", ".join([*shown, "…"] if len(names) > _N_CLASSES_SHOWN else shown)


def _count(n: int, one: str, several: str = "") -> str:
    return f"{n:,} {one if n == 1 else several or one + 's'}"
