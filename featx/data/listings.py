"""One source of pictures, listed: a folder, files, standard input, a manifest, a data set."""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from featx.data.folders import (
    Tree,
    place_folders,
    read_tree,
    vanished_folders,
)
from featx.data.image_formats import IMAGE_SUFFIXES
from featx.data.images import Images, printable
from featx.data.manifests import MANIFEST_SUFFIXES, read_manifest
from featx.errors import DatasetError, did_you_mean

logger = logging.getLogger(__name__)

Source: TypeAlias = "str | os.PathLike[str]"
Strings: TypeAlias = npt.NDArray[np.str_]

_TORCHVISION = "torchvision:"
_STDIN = "-"


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Pictures, and what is known about each.

    Attributes
    ----------
    images : Images
        The pictures, decoded on request.
    names : list of str
        One unique name each. A file's is its path as reached from what was given, so that it
        opens from the same working folder.
    labels, splits, domains, groups : ndarray of str, shape (n_images,), or None
        None where nothing is known of any picture, the empty text where nothing is of one.
        Splits are ``train``, ``val`` and ``test``; images of one group, such as a patient, are
        kept on one side of every split.
    left_out : Counter
        How many files in the folders given are no pictures, by suffix; dot files are not counted.
    unreadable : list of (str, str)
        Folders that could not be read, and why.
    source : str
        What was given.
    notes : list of str
        Why a source has no images.
    remarks : list of str
        What else was understood: folders that were not read, rows left out.

    Examples
    --------
    >>> from featx import load_dataset
    >>> dataset = load_dataset("digits")
    >>> len(dataset), dataset.names[0], str(dataset.labels[0])
    (1797, 'digits/0000', '0')
    """

    images: Images
    names: list[str]
    labels: Strings | None = None
    splits: Strings | None = None
    domains: Strings | None = None
    groups: Strings | None = None
    left_out: Counter[str] = field(default_factory=Counter)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    source: str = ""
    notes: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def n_ignored(self) -> int:
        """How many files in the folders given are no pictures."""
        return self.left_out.total()

    def take(self, indices: Sequence[int] | npt.NDArray[np.intp]) -> ImageDataset:
        """Pictures at `indices`, in that order, and what is known about them."""
        places = [int(i) for i in indices]
        return replace(
            self,
            images=self.images.take(places),
            names=[self.names[i] for i in places],
            labels=None if self.labels is None else self.labels[places],
            splits=None if self.splits is None else self.splits[places],
            domains=None if self.domains is None else self.domains[places],
            groups=None if self.groups is None else self.groups[places],
        )

    def split(self, name: str) -> npt.NDArray[np.intp]:
        """Places of the pictures of one split, in order.

        Parameters
        ----------
        name : {"train", "val", "test"}

        Returns
        -------
        ndarray of int, shape (n_images_of_the_split,)
            Empty where the data set has no such split.
        """
        if self.splits is None:
            return np.empty(0, np.intp)
        return np.flatnonzero(self.splits == name)


def list_source(
    source: Source, *, root: Source | None, has_domains: bool, group_column: str | None = None
) -> ImageDataset:
    """Pictures of whatever kind of source it is.

    Parameters
    ----------
    source : str or path
        As in `featx.data.datasets.load_dataset`; a path object is never a data set's name.
    root : path or None
        Where torchvision's data sets lie.
    has_domains : bool
        Whether the folder above the class is the domain.
    group_column : str, optional
        Column of a manifest that names the groups; by default ``group``, if there is one.

    Returns
    -------
    ImageDataset

    Raises
    ------
    DatasetError
        If there is no such source, or it is no manifest and a column is asked for.
    """
    path = os.fspath(source)
    is_manifest = os.path.splitext(path)[1].lower() in MANIFEST_SUFFIXES
    if group_column is not None and not is_manifest:
        raise DatasetError(
            f"Groups {group_column!r} name a column of a manifest, and {name_of(path)} is none; "
            "give re:PATTERN, which is searched for in the images' paths."
        )
    if source == _STDIN:
        return _list_stdin(has_domains=has_domains)
    if isinstance(source, str) and source == "digits":
        if os.path.exists("digits"):
            logger.warning("'digits' is the built-in data set; write ./digits for the folder.")
        return _list_digits()
    if isinstance(source, str) and source.startswith(_TORCHVISION):
        return _list_torchvision(source.removeprefix(_TORCHVISION), root)
    if os.path.isdir(path):
        return _list_folder(path, has_domains=has_domains)
    if not path or not os.path.exists(path):
        raise _not_found(path)
    if is_manifest:
        return _list_manifest(path, group_column)
    return _list_files([path])


def _list_files(paths: list[str]) -> ImageDataset:
    """Files named one by one, taken whatever their suffix."""
    paths = [str(Path(path)) for path in paths]
    return _named(paths, [name_of(path) for path in paths])


def _named(items: Any, names: list[str]) -> ImageDataset:
    """Images of these names, of which nothing is known yet."""
    return ImageDataset(Images(items, names=names), names)


def _list_stdin(*, has_domains: bool) -> ImageDataset:
    """Files and folders named on standard input."""
    content = sys.stdin.buffer.read()
    parts = content.split(b"\0") if b"\0" in content else content.splitlines()
    paths = [os.fsdecode(part) for part in parts if part.strip()]
    if not paths:
        note = "No names on standard input; expected one path a line, or separated by NUL."
        return replace(_named([], []), notes=[note])
    return join_datasets(
        [
            _list_folder(path, has_domains=has_domains)
            if os.path.isdir(path)
            else _list_files([path])
            for path in paths
        ]
    )


def _list_digits() -> ImageDataset:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, 0 to 16 rescaled to 0 to 255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    names = [f"digits/{i:04d}" for i in range(len(pixels))]
    return replace(_named(pixels, names), labels=digits.target.astype(str))


def _list_torchvision(spec: str, root: Source | None) -> ImageDataset:
    from featx.data.torchvision_data import open_torchvision

    found = open_torchvision(spec, root)
    return replace(
        _named(found, found.names), labels=_column(found.labels), splits=_column(found.splits)
    )


def _list_manifest(path: str, group_column: str | None) -> ImageDataset:
    """Pictures that a manifest names; those that are not there fail when they are read."""
    manifest = read_manifest(path, group_column)
    if not manifest.path:
        return replace(_named([], []), notes=[f"Manifest {path} names no picture."])
    if not any(map(os.path.exists, manifest.path)):
        raise DatasetError(
            f"Manifest {path}: none of its {len(manifest.path)} files is there, for example "
            f"{name_of(manifest.path[0])}; paths are relative to the manifest's folder."
        )
    if manifest.n_repeated:
        logger.warning("Manifest %s: left out %d repeated rows.", path, manifest.n_repeated)
    return replace(
        _list_files(manifest.path),
        labels=_column(manifest.label),
        splits=_column(manifest.split),
        domains=_column(manifest.domain),
        groups=None if manifest.group is None else _known(manifest.group),
    )


def _list_folder(folder: str, *, has_domains: bool) -> ImageDataset:
    """Pictures in and under a folder, with what the folders' names say, sorted by path."""
    folder = str(Path(folder))
    try:
        tree = read_tree(folder)
    except OSError as error:
        raise DatasetError(f"Folder {folder} cannot be read: {error.strerror}.") from error
    _refuse_vanished(folder, tree)
    placements = place_folders(tree.images)
    prefix = "" if folder == "." else folder
    found = sorted(
        (
            (os.path.join(prefix, *parts, name), placements[parts])
            for parts, names in tree.images.items()
            for name in names
        ),
        key=itemgetter(0),
    )
    paths = [path for path, _ in found]
    domains = (printable(placement.domain) for _, placement in found)
    return replace(
        _named(paths, list(map(name_of, paths))),
        labels=_known(printable(placement.label) for _, placement in found),
        splits=_known(placement.split for _, placement in found),
        domains=_known(domains) if has_domains else None,
        left_out=tree.other,
        unreadable=[(name_of(path), reason) for path, reason in tree.unreadable],
        notes=[] if found else [_nothing_in(folder, tree)],
        remarks=_remarks(tree),
    )


def _remarks(tree: Tree) -> list[str]:
    names = sorted({name_of(parts[-1]) for parts in tree.skipped})
    return [f"folders not read: {', '.join(names)}"] if names else []


def _refuse_vanished(folder: str, tree: Tree) -> None:
    """Refuse a folder of classes where one would vanish, for no image of it is read."""
    for parts, kinds in vanished_folders(tree).items():
        shown = ", ".join(f"{n} {suffix or 'without suffix'}" for suffix, n in kinds.items())
        raise DatasetError(
            f"Folder {name_of(os.path.join(folder, *parts))}: none of its images is read "
            f"({shown}), so {printable(parts[-1])!r} would vanish. Convert them, or name the "
            "folders to read one by one."
        )


def _column(values: Sequence[str] | None) -> Strings | None:
    return None if values is None else np.array(values, str)


def _known(values: Iterable[str]) -> Strings | None:
    """Values, or None where all are empty."""
    column = list(values)
    return np.array(column, str) if any(column) else None


def join_datasets(datasets: list[ImageDataset]) -> ImageDataset:
    """Several data sets as one; an image that is in two of them is taken once."""
    if len(datasets) == 1:
        return datasets[0]
    names = [name for dataset in datasets for name in dataset.names]
    joined = replace(
        _named([item for dataset in datasets for item in dataset.images], names),
        labels=_joined([(len(dataset), dataset.labels) for dataset in datasets]),
        splits=_joined([(len(dataset), dataset.splits) for dataset in datasets]),
        domains=_joined([(len(dataset), dataset.domains) for dataset in datasets]),
        groups=_joined([(len(dataset), dataset.groups) for dataset in datasets]),
        left_out=sum((dataset.left_out for dataset in datasets), Counter()),
        unreadable=[pair for dataset in datasets for pair in dataset.unreadable],
        notes=[note for dataset in datasets for note in dataset.notes],
        remarks=list(dict.fromkeys(it for dataset in datasets for it in dataset.remarks)),
    )
    first: dict[str, int] = {}
    for index, (item, name) in enumerate(zip(joined.images, names)):
        first.setdefault(item if isinstance(item, str) else name, index)
    return joined if len(first) == len(names) else joined.take(list(first.values()))


def _joined(columns: Iterable[tuple[int, Strings | None]]) -> Strings | None:
    """Columns end to end, one that is None as so many empty texts."""
    return _known(
        value
        for length, column in columns
        for value in ([""] * length if column is None else column)
    )


def name_of(path: str) -> str:
    """Path as a name: valid Unicode, posix separators."""
    path = path if os.sep == "/" else path.replace(os.sep, "/")
    return path if path.isascii() else printable(path)


def _nothing_in(folder: str, tree: Tree) -> str:
    """Message about a folder without pictures."""
    n_files = tree.other.total()
    if not n_files:
        return f"No picture in {name_of(folder)}: it holds no files but hidden ones."
    kinds = ", ".join(f"{n} {suffix or 'without one'}" for suffix, n in tree.other.most_common(4))
    return (
        f"No picture in {name_of(folder)}: {n_files} files, none a picture by suffix ({kinds}); "
        f"expected {', '.join(sorted(IMAGE_SUFFIXES))}. Name files one by one to take them anyway."
    )


def _not_found(path: str) -> DatasetError:
    """Error about a name that is neither a file nor a data set, with the nearest that is."""
    folder, base = os.path.split(path)
    try:
        there = sorted(os.listdir(folder or "."))
    except OSError:
        there = []
    names = [name_of(name) for name in there if not name.startswith(".")]
    if not folder:
        names.append("digits")
    guess = did_you_mean(name_of(base), names, prefix=name_of(os.path.join(folder, "")))
    return DatasetError(
        f"No file, folder or data set {name_of(path)!r}.{guess} Expected a folder, files, a "
        "manifest (.csv .tsv .parquet), '-', 'digits' or 'torchvision:NAME'."
    )
