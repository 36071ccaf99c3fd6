"""Sources of images, listed: folders, files, standard input, manifests, data sets by name."""

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
    Parts,
    Placement,
    Tree,
    find_vanishing,
    normalize_split,
    place_folders,
    read_tree,
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
_METADATA_FILES = ("metadata.csv", "metadata.jsonl")


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
    ignored : Counter
        How many files in the folders given are no images, by suffix; dot files are not counted.
    left_out : list of str
        Folders left out, as `featx.data.folders.read_tree` does.
    split_folders : dict of str to str
        What folders are called that name a split, and which.
    unreadable : list of (str, str)
        Folders that could not be read, and why.
    source : str
        What was given.
    notes : list of str
        Why a source has no images.

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
    ignored: Counter[str] = field(default_factory=Counter)
    left_out: list[str] = field(default_factory=list)
    split_folders: dict[str, str] = field(default_factory=dict)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    source: str = ""
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def n_ignored(self) -> int:
        """Number of files left out because they are no images."""
        return self.ignored.total()

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


def list_sources(
    sources: Sequence[Source],
    *,
    root: Source | None = None,
    has_domains: bool = False,
    has_splits: bool = True,
    group_column: str | None = None,
) -> ImageDataset:
    """Images of whatever kinds of sources these are.

    Parameters
    ----------
    sources : sequence of str or path
        As in `featx.data.datasets.load_dataset`; a path object is never a data set's name. Files
        and folders are judged together, by their places under the folder that holds them all.
    root : path or None
        Where torchvision's data sets lie.
    has_domains : bool
        Whether the folder above the class is the domain.
    has_splits : bool
        Whether folders and columns name splits.
    group_column : str, optional
        Column of a manifest that names the groups; by default ``group``, if there is one.

    Returns
    -------
    ImageDataset
        An image that is there twice is taken once.

    Raises
    ------
    DatasetError
        If there is no such source, or it is no manifest and a column is asked for.
    """
    listed: list[ImageDataset] = []
    paths: list[str] = []
    n_before = 0  # Of the data sets that stand before the first path.
    for source in sources:
        if (dataset := _list_named(source, root, group_column)) is not None:
            listed.append(dataset)
            continue
        n_before = n_before if paths else len(listed)
        paths += _read_stdin() if source == _STDIN else [os.fspath(source)]
    if paths:
        places = _list_paths(paths, has_domains=has_domains, has_splits=has_splits)
        listed.insert(n_before, places)
    if not listed:
        note = "No names on standard input; expected one path a line, or separated by NUL."
        return replace(_named([], []), notes=[note])
    # The scan of one folder meets each image once.
    dataset = listed[0] if len(listed) == len(paths) == 1 else _join(listed)
    return dataset if has_splits else replace(dataset, splits=None)


def _list_named(
    source: Source, root: Source | None, group_column: str | None
) -> ImageDataset | None:
    """Images of a data set by name or of a manifest; None of what is a path, or standard input."""
    path = os.fspath(source)
    is_manifest = os.path.splitext(path)[1].lower() in MANIFEST_SUFFIXES
    if group_column is not None and not is_manifest:
        raise DatasetError(
            f"Groups {group_column!r} name a column of a manifest, and {name_of(path)} is none; "
            "give re:PATTERN, which is searched for in the images' paths."
        )
    if source == _STDIN:
        return None
    if isinstance(source, str) and source == "digits":
        if os.path.exists("digits"):
            logger.warning("'digits' is the built-in data set; write ./digits for the folder.")
        return _list_digits()
    if isinstance(source, str) and source.startswith(_TORCHVISION):
        return _list_torchvision(source.removeprefix(_TORCHVISION), root)
    if not path or not os.path.exists(path):
        raise _not_found(path)
    if os.path.isdir(path):
        return _list_metadata(path)
    return _list_manifest(path, group_column) if is_manifest else None


def _list_metadata(folder: str) -> ImageDataset | None:
    """Images of a folder whose ``metadata.csv`` or ``.jsonl`` labels them, as Hugging Face has it.

    It lies in the folder itself, or in each of those that are called as splits are.
    """
    found: list[ImageDataset] = []
    try:
        with os.scandir(folder) as entries:  # No files, of which there may be millions.
            inner = sorted(
                it.name
                for it in entries
                if not it.is_file(follow_symlinks=False) and normalize_split(it.name)
            )
    except OSError:
        return None
    for name in ["", *inner]:
        files = (os.path.join(folder, name, file) for file in _METADATA_FILES)
        if (file := next(filter(os.path.isfile, files), None)) is None:
            continue
        try:
            dataset = _list_manifest(file, None)
        except DatasetError as error:
            logger.warning("%s labels no images: %s", file, error)
            return None
        if dataset.labels is None:
            return None
        if not name:
            return dataset
        split = normalize_split(name) or ""
        column = np.full(len(dataset), split)
        found.append(replace(dataset, splits=column, split_folders={name: split}))
    return _join(found) if found else None


def _read_stdin() -> list[str]:
    """Paths of files and folders on standard input."""
    content = sys.stdin.buffer.read()
    parts = content.split(b"\0") if b"\0" in content else content.splitlines()
    return [os.fsdecode(part) for part in parts if part.strip()]


def _list_paths(paths: list[str], *, has_domains: bool, has_splits: bool) -> ImageDataset:
    """Images in and under folders, and files taken whatever their suffix, in the order given.

    Each folder's images are sorted by path. What they are is said by the names of the folders
    under the one that holds all that was given.
    """
    above = _Ancestor(paths)
    whole, found, notes = Tree(), list[tuple[Parts, str]](), list[str]()
    for path in map(str, map(Path, paths)):
        if not os.path.isdir(path):
            folder = os.path.dirname(path)
            found.append((above.parts(folder) if folder else (), path))
            continue
        tree = _read_tree(path)
        start = above.parts(path)
        prefix = "" if path == "." else path
        inner = [
            ((*start, *parts), os.path.join(prefix, *parts, name))
            for parts, names in tree.images.items()
            for name in names
        ]
        found += sorted(inner, key=itemgetter(1))
        whole.other += tree.other
        whole.foreign |= {(*start, *parts): it for parts, it in tree.foreign.items()}
        whole.left_out += [os.path.join(prefix, folder) for folder in tree.left_out]
        whole.unreadable += tree.unreadable
        notes += [] if inner else [_nothing_in(path, tree)]
    placements = place_folders(dict.fromkeys(parts for parts, _ in found), has_splits=has_splits)
    _check_classes(whole, placements)
    return _placed(found, placements, whole, notes, has_domains=has_domains)


def _placed(
    found: list[tuple[Parts, str]],
    placements: dict[Parts, Placement],
    tree: Tree,
    notes: list[str],
    *,
    has_domains: bool,
) -> ImageDataset:
    """Images with what their folders say of them."""
    items = [path for _, path in found]
    places = [placements[parts] for parts, _ in found]
    return replace(
        _named(items, list(map(name_of, items))),
        labels=_known(printable(place.label) for place in places),
        splits=_known(place.split for place in places),
        domains=_known(printable(place.domain) for place in places) if has_domains else None,
        ignored=tree.other,
        left_out=tree.left_out,
        split_folders={it.folder: it.split for it in placements.values() if it.split},
        unreadable=[(name_of(path), reason) for path, reason in tree.unreadable],
        notes=notes,
    )


def _read_tree(folder: str) -> Tree:
    try:
        return read_tree(folder)
    except OSError as error:
        raise DatasetError(f"Folder {folder} cannot be read: {error.strerror}.") from error


class _Ancestor:
    """The folder that holds all sources, and where others are under it."""

    def __init__(self, paths: Sequence[str]) -> None:
        folders = {path if os.path.isdir(path) else os.path.dirname(path) for path in paths}
        try:
            self._folder = os.path.commonpath(set(map(os.path.abspath, folders)))
        except ValueError:  # On two drives of Windows.
            self._folder = ""
        self._known: dict[str, Parts] = {}

    def parts(self, folder: str) -> Parts:
        """Names of the folders on the way to one."""
        if folder not in self._known:
            way = os.path.relpath(os.path.abspath(folder), self._folder) if self._folder else "."
            self._known[folder] = () if way == os.curdir else tuple(way.split(os.sep))
        return self._known[folder]


def _check_classes(tree: Tree, placements: dict[Parts, Placement]) -> None:
    """Refuse data of which a class would vanish without a word."""
    if (vanishing := find_vanishing(tree, placements)) is not None:
        name, kinds = vanishing
        raise DatasetError(
            f"Class {printable(name)} would vanish: its files are {kinds}, which cannot be read "
            "here. Convert them to PNG or TIFF, or move the folder away."
        )


def _named(items: Any, names: list[str]) -> ImageDataset:
    """Images of these names, of which nothing is known yet."""
    return ImageDataset(Images(items, names=names), names)


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
            f"{name_of(manifest.path[0])}. Paths are relative to the manifest's folder, or to the "
            "working folder."
        )
    if manifest.n_in_other_splits:
        logger.warning(
            "Manifest %s: left out %d rows that name an image again in another split; the first "
            "counts.",
            path,
            manifest.n_in_other_splits,
        )
    paths = [str(Path(file)) for file in manifest.path]
    if manifest.n_repeated:
        logger.warning("Manifest %s: left out %d repeated rows.", path, manifest.n_repeated)
    return replace(
        _named(paths, list(map(name_of, paths))),
        labels=_column(manifest.label),
        splits=_column(manifest.split),
        domains=_column(manifest.domain),
        groups=None if manifest.group is None else _known(manifest.group),
    )


def _column(values: Sequence[str] | None) -> Strings | None:
    return None if values is None else np.array(values, str)


def _known(values: Iterable[str]) -> Strings | None:
    """Values, or None where all are empty."""
    column = list(values)
    return np.array(column, str) if any(column) else None


def _join(datasets: list[ImageDataset]) -> ImageDataset:
    """Several data sets as one; an image that is there twice is taken once."""
    joined = datasets[0] if len(datasets) == 1 else _end_to_end(datasets)
    first: dict[str, int] = {}
    for index, (item, name) in enumerate(zip(joined.images, joined.names)):
        first.setdefault(os.path.abspath(item) if isinstance(item, str) else name, index)
    return joined if len(first) == len(joined) else joined.take(list(first.values()))


def _end_to_end(datasets: list[ImageDataset]) -> ImageDataset:
    names = [name for dataset in datasets for name in dataset.names]
    return replace(
        _named([item for dataset in datasets for item in dataset.images], names),
        labels=_joined([(len(dataset), dataset.labels) for dataset in datasets]),
        splits=_joined([(len(dataset), dataset.splits) for dataset in datasets]),
        domains=_joined([(len(dataset), dataset.domains) for dataset in datasets]),
        groups=_joined([(len(dataset), dataset.groups) for dataset in datasets]),
        ignored=sum((dataset.ignored for dataset in datasets), Counter()),
        left_out=[folder for dataset in datasets for folder in dataset.left_out],
        split_folders={k: v for dataset in datasets for k, v in dataset.split_folders.items()},
        unreadable=[pair for dataset in datasets for pair in dataset.unreadable],
        notes=[note for dataset in datasets for note in dataset.notes],
    )


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
