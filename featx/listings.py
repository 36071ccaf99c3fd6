"""One source of pictures, listed: a folder, files, standard input, a manifest, a data set."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from featx.errors import DatasetError, did_you_mean
from featx.folders import PICTURE_SUFFIXES, Tree, place_folders, read_tree
from featx.images import printable
from featx.manifests import MANIFEST_SUFFIXES, read_manifest

logger = logging.getLogger(__name__)

Source: TypeAlias = "str | os.PathLike[str]"

TORCHVISION = "torchvision:"
STDIN = "-"


@dataclass
class Listing:
    """Pictures found in one source; columns are None where the source says nothing."""

    items: Any = ()
    names: list[str] = field(default_factory=list)
    labels: list[str] | None = None
    splits: list[str] | None = None
    domains: list[str] | None = None
    n_ignored: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def list_source(source: Source, *, root: Source | None, has_domains: bool) -> Listing:
    """Pictures of whatever kind of source it is.

    Parameters
    ----------
    source : str or path
        As in `featx.datasets.load_dataset`; a path object is never a data set's name.
    root : path or None
        Where torchvision's data sets lie.
    has_domains : bool
        Whether the folder above the class is the domain.

    Returns
    -------
    Listing

    Raises
    ------
    DatasetError
        If there is no such source.
    """
    if source == STDIN:
        return _list_stdin(has_domains=has_domains)
    if isinstance(source, str) and source == "digits":
        if os.path.exists("digits"):
            logger.warning("'digits' is the built-in data set; write ./digits for the folder.")
        return _list_digits()
    if isinstance(source, str) and source.startswith(TORCHVISION):
        return _list_torchvision(source.removeprefix(TORCHVISION), root)
    path = os.fspath(source)
    if os.path.isdir(path):
        return _list_folder(path, has_domains=has_domains)
    if not path or not os.path.exists(path):
        raise _not_found(path)
    if os.path.splitext(path)[1].lower() in MANIFEST_SUFFIXES:
        return _list_manifest(path)
    return _list_files([path])


def _list_files(paths: list[str]) -> Listing:
    """Files named one by one, taken whatever their suffix."""
    paths = [str(Path(path)) for path in paths]
    return Listing(paths, [name_of(path) for path in paths])


def _list_stdin(*, has_domains: bool) -> Listing:
    """Files and folders named on standard input."""
    content = sys.stdin.buffer.read()
    parts = content.split(b"\0") if b"\0" in content else content.splitlines()
    paths = [os.fsdecode(part) for part in parts if part.strip()]
    if not paths:
        note = "No names on standard input; wanted one path a line, or separated by NUL."
        return Listing(notes=[note])
    return join_listings(
        [
            _list_folder(path, has_domains=has_domains)
            if os.path.isdir(path)
            else _list_files([path])
            for path in paths
        ]
    )


def _list_digits() -> Listing:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, 0 to 16 rescaled to 0 to 255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    names = [f"digits/{i:04d}" for i in range(len(pixels))]
    return Listing(pixels, names, [str(target) for target in digits.target])


def _list_torchvision(spec: str, root: Source | None) -> Listing:
    from featx.torchvision_data import open_torchvision

    found = open_torchvision(spec, root)
    return Listing(found, found.names, found.labels, found.splits)


def _list_manifest(path: str) -> Listing:
    """Pictures that a manifest names; those that are not there fail when they are read."""
    manifest = read_manifest(path)
    if not manifest.path:
        return Listing(notes=[f"Manifest {path} names no picture."])
    if not any(map(os.path.exists, manifest.path)):
        raise DatasetError(
            f"Manifest {path}: none of its {len(manifest.path)} files is there, for example "
            f"{name_of(manifest.path[0])}; paths are relative to the manifest's folder."
        )
    if manifest.n_repeated:
        logger.warning("Manifest %s: left out %d repeated rows.", path, manifest.n_repeated)
    listing = _list_files(manifest.path)
    listing.labels, listing.splits = manifest.label, manifest.split
    listing.domains = manifest.domain
    return listing


def _list_folder(folder: str, *, has_domains: bool) -> Listing:
    """Pictures in and under a folder, with what the folders' names say, sorted by path."""
    folder = str(Path(folder))
    try:
        tree = read_tree(folder)
    except OSError as error:
        raise DatasetError(f"Folder {folder} cannot be read: {error.strerror}.") from error
    placements = place_folders(tree)
    prefix = "" if folder == "." else folder
    found = sorted(
        (
            (os.path.join(prefix, *parts, name), placements[parts])
            for parts, names in tree.pictures.items()
            for name in names
        ),
        key=itemgetter(0),
    )
    paths = [path for path, _ in found]
    listing = Listing(paths, list(map(name_of, paths)))
    listing.labels = _known(printable(placement.label) for _, placement in found)
    listing.splits = _known(placement.split for _, placement in found)
    if has_domains:
        listing.domains = _known(printable(placement.domain) for _, placement in found)
    listing.n_ignored = tree.other.total()
    listing.unreadable = [(name_of(path), reason) for path, reason in tree.unreadable]
    listing.notes = [] if found else [_nothing_in(folder, tree)]
    return listing


def _known(values: Iterable[str]) -> list[str] | None:
    """Values, or None where all are empty."""
    column = list(values)
    return column if any(column) else None


def join_listings(listings: list[Listing]) -> Listing:
    """Several sources as one; what is given twice is taken once."""
    if len(listings) == 1:
        return listings[0]
    first: dict[str, int] = {}
    joined = Listing([item for listing in listings for item in listing.items])
    joined.names = [name for listing in listings for name in listing.names]
    for place, (item, name) in enumerate(zip(joined.items, joined.names)):
        first.setdefault(item if isinstance(item, str) else name, place)
    for column in ("labels", "splits", "domains"):
        values = [v for listing in listings for v in _column(listing, column)]
        setattr(joined, column, _known(values))
    joined.n_ignored = sum(listing.n_ignored for listing in listings)
    joined.unreadable = [pair for listing in listings for pair in listing.unreadable]
    joined.notes = [note for listing in listings for note in listing.notes]
    return keep_places(joined, list(first.values()))


def _column(listing: Listing, column: str) -> list[str]:
    return getattr(listing, column) or [""] * len(listing.names)


def keep_places(listing: Listing, places: list[int]) -> Listing:
    """Listing of the pictures at `places` alone."""
    if len(places) == len(listing.names):
        return listing
    return replace(
        listing,
        items=[listing.items[i] for i in places],
        names=[listing.names[i] for i in places],
        labels=listing.labels and [listing.labels[i] for i in places],
        splits=listing.splits and [listing.splits[i] for i in places],
        domains=listing.domains and [listing.domains[i] for i in places],
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
        f"wanted {', '.join(sorted(PICTURE_SUFFIXES))}. Name files one by one to take them anyway."
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
        f"No file, folder or data set {name_of(path)!r}.{guess} Wanted a folder, files, a manifest "
        "(.csv .tsv .parquet), '-', 'digits' or 'torchvision:NAME'."
    )
