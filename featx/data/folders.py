"""Folders of pictures as they are: which files are pictures, and what the folders' names say."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from featx.data.dicom import is_dicom
from featx.data.image_formats import IMAGE_SUFFIXES
from featx.data.readers import plug_in_suffixes

_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Folder and manifest names of splits, in any case, and what featx calls them."""

_NO_IMAGES = ("features.npy", "DICOMDIR")
"""Features that featx wrote, and lists of DICOMs: by suffix or content they would be images."""

_N_SNIFFED_BYTES = 132
_MAGIC = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"II*\x00",
    b"MM\x00*",
    b"II+\x00",
    b"MM\x00+",
)

Parts: TypeAlias = tuple[str, ...]


@dataclass
class Tree:
    """What lies in a folder and under it.

    Attributes
    ----------
    images : dict of tuple to list of str
        Names of the images in each folder, by the folder's parts relative to the root.
    other : Counter
        How many files are no pictures, by suffix; dot files are not counted.
    unreadable : list of (str, str)
        Folders that could not be read, and why.
    """

    images: dict[Parts, list[str]] = field(default_factory=dict)
    other: Counter[str] = field(default_factory=Counter)
    unreadable: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Placement:
    """What the folders above a picture say about it; empty where they say nothing."""

    label: str = ""
    split: str = ""
    domain: str = ""


def read_tree(root: str) -> Tree:
    """All pictures in `root` and the folders under it.

    Dot files and dot folders are left out. Links to folders are followed, but a folder is read
    once however many ways lead to it, by its own path rather than by a link.

    Parameters
    ----------
    root : str
        Path of a folder.

    Returns
    -------
    Tree

    Raises
    ------
    OSError
        If `root` itself cannot be read; folders under it that cannot be are listed.
    """
    tree = Tree()
    visited: set[tuple[int, int]] = set()
    folders: list[Parts] = [()]
    links: list[Parts] = []  # Left for last, so that a folder's own path wins over a link to it.
    while folders or links:
        parts = folders.pop() if folders else links.pop(0)
        try:
            inner, linked = _read_folder(root, parts, tree, visited)
        except OSError as error:
            if not parts:
                raise
            tree.unreadable.append((os.path.join(root, *parts), error.strerror or str(error)))
            continue
        folders += inner[::-1]
        links += linked
    return tree


def place_folders(tree: Tree) -> dict[Parts, Placement]:
    """Class, split and domain that each picture-holding folder stands for.

    The folder of a picture names its class, one called ``train``, ``val`` or ``test`` above that
    its split, and the next one above (splits left out) its domain; one that is called the same
    everywhere, as in ``amazon/images/bike`` and ``dslr/images/bike``, is passed over. A folder
    that holds pictures itself is a split only if all its picture-holding neighbours are splits
    as well: a class may be called "train".

    Parameters
    ----------
    tree : Tree

    Returns
    -------
    dict of tuple to Placement

    Examples
    --------
    >>> tree = Tree(images={("train", "cat"): ["1.jpg"], ("test", "cat"): ["2.jpg"]})
    >>> place_folders(tree)["test", "cat"]
    Placement(label='cat', split='test', domain='')
    """
    neighbours: dict[Parts, set[str]] = defaultdict(set)
    for parts in tree.images:
        for depth in range(len(parts)):
            neighbours[parts[:depth]].add(parts[depth])
    splits = {parts: list(_split_depths(parts, neighbours)) for parts in tree.images}
    named = {
        parts: [name for depth, name in enumerate(parts) if depth not in splits[parts]]
        for parts in tree.images
    }
    height = _domain_height(list(named.values()))
    return {
        parts: Placement(
            label=unicodedata.normalize("NFC", names[-1]) if names else "",
            split=_SPLIT_NAMES[parts[splits[parts][-1]].lower()] if splits[parts] else "",
            domain=names[-height] if len(names) >= height else "",
        )
        for parts, names in named.items()
    }


def normalize_split(name: str) -> str | None:
    """What featx calls the split of that name, or None if it is no split.

    Examples
    --------
    >>> normalize_split("Validation"), normalize_split("cats")
    ('val', None)
    """
    return _SPLIT_NAMES.get(name.lower())


def _is_image(path: str) -> bool:
    """Whether a file is a picture by its suffix or, if it has none, by its first bytes."""
    suffix = _suffix_of(path)
    if not suffix:
        return _looks_like_image(path)
    return suffix in IMAGE_SUFFIXES or suffix in plug_in_suffixes()


def _suffix_of(path: str) -> str:
    """Suffix in lower case with its dot; empty where there is none.

    Examples
    --------
    >>> _suffix_of("a.1.JPG"), _suffix_of("scan")
    ('.jpg', '')
    """
    suffix = os.path.splitext(path)[1].lower()
    return "" if suffix == "." else suffix


def _read_folder(
    root: str, parts: Parts, tree: Tree, visited: set[tuple[int, int]]
) -> tuple[list[Parts], list[Parts]]:
    """Note one folder's pictures in `tree`; its folders and its links to folders, sorted."""
    folder = os.path.join(root, *parts)
    status = os.stat(folder)
    if (status.st_dev, status.st_ino) in visited:
        return [], []
    visited.add((status.st_dev, status.st_ino))
    inner: list[Parts] = []
    linked: list[Parts] = []
    images = []
    for entry in _entries(folder):
        if _leads(entry.is_dir):
            (linked if entry.is_symlink() else inner).append((*parts, entry.name))
        elif _is_image_entry(entry):
            images.append(entry.name)
        else:
            tree.other[_suffix_of(entry.name)] += 1
    if images:
        tree.images[parts] = images
    return inner, linked


def _entries(folder: str) -> Sequence[os.DirEntry[str]]:
    """Entries of a folder by name, without dot files."""
    with os.scandir(folder) as entries:
        return sorted(
            (entry for entry in entries if not entry.name.startswith(".")),
            key=lambda entry: entry.name,
        )


def _is_image_entry(entry: os.DirEntry[str]) -> bool:
    if entry.name in _NO_IMAGES:
        return False
    # A link that leads nowhere is taken by its name, to be reported; a pipe would block.
    if not _leads(entry.is_file) and not entry.is_symlink():
        return False
    return _is_image(entry.path)


def _leads(test: Callable[[], bool]) -> bool:
    """Whether an entry is what `test` asks; a link that leads to itself is nothing."""
    try:
        return test()
    except OSError:
        return False


def _looks_like_image(path: str) -> bool:
    """Whether a file begins as a picture does."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with Path(path).open("rb") as file:
            head = file.read(_N_SNIFFED_BYTES)
    except OSError:
        return False
    if head.startswith(_MAGIC):
        return True
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    is_bmp = head[:2] == b"BM" and head[6:10] == b"\0\0\0\0"
    is_netpbm = head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace()
    return is_webp or is_bmp or is_netpbm or is_dicom(head)


def _split_depths(parts: Parts, neighbours: dict[Parts, set[str]]) -> Iterator[int]:
    """Depths at which a folder's path names a split rather than a class or a domain."""
    for depth, name in enumerate(parts):
        is_above = depth < len(parts) - 1
        if normalize_split(name) and (
            is_above or all(map(normalize_split, neighbours[parts[:depth]]))
        ):
            yield depth


def _domain_height(named: list[list[str]]) -> int:
    """How far from the end of the folders' names the domains stand: 2, unless all agree there."""
    height = 2
    above = [names for names in named if len(names) >= height]
    while above and len({names[-height] for names in above}) == 1:
        height += 1
        if any(len(names) < height for names in above):
            return 2
    return height
