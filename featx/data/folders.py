"""Folders of pictures as they are: which files are pictures, and what the folders' names say."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from featx.data.dicom import is_dicom
from featx.data.image_formats import IMAGE_SUFFIXES
from featx.data.readers import plug_in_suffixes

_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "eval": "val",
    "test": "test",
    "testing": "test",
}
"""Words that name a split, in any case, and what featx calls it."""

_FILLER_WORDS = frozenset({"set", "split", "seg", "images", "image", "img", "imgs", "data"})
"""Words that may stand beside one of them: ``training_set``, ``seg_train``, ``test-images``."""

_LEFT_OUT = frozenset(
    {
        "@eadir",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "thumbnails",
        "__macosx",
    }
)
"""Folders that systems make on their own, in lower case."""

_REPORT_FILES = frozenset({"report.html", "results.json"})
"""What a folder with a report of featx holds."""

_FOREIGN_SUFFIXES = frozenset(
    {".3fr", ".ai", ".arw", ".avif", ".cr2", ".cr3", ".dcm", ".dng", ".eps", ".exr", ".hdr"}
    | {".heic", ".heif", ".jp2", ".jxl", ".mha", ".nef", ".nii", ".npy", ".nrrd", ".orf", ".pdf"}
    | {".psd", ".raf", ".raw", ".rw2", ".svg", ".xcf"}
)
"""Suffixes of images that featx may not read: a class of such files must not vanish."""

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
    foreign : dict of tuple to Counter
        Of folders without images that hold files which look like some, how many by suffix.
    left_out : list of str
        Folders left out, relative to the root: reports of featx, and those that systems make.
    unreadable : list of (str, str)
        Folders that could not be read, and why.
    """

    images: dict[Parts, list[str]] = field(default_factory=dict)
    other: Counter[str] = field(default_factory=Counter)
    foreign: dict[Parts, Counter[str]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Placement:
    """What the folders above a picture say about it; empty where they say nothing."""

    label: str = ""
    split: str = ""
    domain: str = ""
    folder: str = field(default="", compare=False)
    """Name of the folder that names the split."""


def read_tree(root: str) -> Tree:
    """All pictures in `root` and the folders under it.

    Dot files and dot folders are left out, as are folders that systems make on their own and
    those with a report of featx. Links to folders are followed, but a folder is read
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


def place_folders(folders: Iterable[Parts], *, has_splits: bool = True) -> dict[Parts, Placement]:
    """Class, split and domain that each image-holding folder stands for.

    The folder of an image names its class, one called ``train``, ``val`` or ``test`` above that
    its split, and the next one above (splits left out) its domain; one that is called the same
    everywhere, as in ``amazon/images/bike`` and ``dslr/images/bike``, is passed over.

    A folder is judged by its siblings of its kind. One that holds images itself is a split beside
    splits that hold classes (``test`` without labels beside ``train/cat``), or if all its
    image-holding siblings are called as splits are: a class may be called "train". What else
    holds images beside splits with classes is no class.

    Parameters
    ----------
    folders : iterable of tuple of str
        Those that hold images, by their parts relative to the root.
    has_splits : bool, default=True
        Whether folders may name splits; without, one above the classes is passed over, and one
        that holds images itself is a class.

    Returns
    -------
    dict of tuple to Placement

    Examples
    --------
    >>> place_folders([("train", "cat"), ("test", "cat")])["test", "cat"]
    Placement(label='cat', split='test', domain='', folder='test')
    """
    siblings = _Siblings(folders)
    splits = {parts: list(siblings.split_depths(parts)) for parts in siblings.folders}
    if not has_splits:  # A folder of images is then its class, whatever it is called.
        splits = {parts: [d for d in at if d < len(parts) - 1] for parts, at in splits.items()}
    named = {
        parts: [name for depth, name in enumerate(parts) if depth not in splits[parts]]
        for parts in siblings.folders
    }
    height = _domain_height(list(named.values()))
    return {
        parts: Placement(
            label=unicodedata.normalize("NFC", names[-1]) if is_class else "",
            split=(normalize_split(folder) or "") if has_splits else "",
            domain=names[-height] if len(names) >= height else "",
            folder=folder if has_splits else "",
        )
        for parts, names in named.items()
        for is_class in [bool(names) and (not has_splits or not siblings.is_beside_splits(parts))]
        for folder in [parts[splits[parts][-1]] if splits[parts] else ""]
    }


def normalize_split(name: str) -> str | None:
    """What featx calls the split of that name, or None if it is no split.

    Examples
    --------
    >>> [normalize_split(name) for name in ("Validation", "train2017", "seg_test", "testset")]
    ['val', 'train', 'test', 'test']
    >>> normalize_split("cats"), normalize_split("test drive")
    (None, None)
    """
    words = [word.removesuffix("set") for word in re.findall("[a-z]+", name.lower())]
    found = [_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS]
    others = {word for word in words if word and word not in _SPLIT_WORDS}
    return found[0] if len(found) == 1 and others <= _FILLER_WORDS else None


def find_vanishing(tree: Tree, placements: Mapping[Parts, Placement]) -> tuple[str, str] | None:
    """A folder whose files all look like images that featx does not read, beside classes.

    Returns
    -------
    (str, str) or None
        Its name, and how many files it has of which suffixes.
    """
    with_classes = {parts[:-1] for parts, placement in placements.items() if placement.label}
    for parts, suffixes in tree.foreign.items():
        if parts and parts[:-1] in with_classes:
            kinds = ", ".join(f"{n} {suffix}" for suffix, n in suffixes.most_common(4))
            return parts[-1], kinds
    return None


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
    other: Counter[str] = Counter()
    entries = _entries(folder)
    if parts and {entry.name for entry in entries} >= _REPORT_FILES:
        tree.left_out.append("/".join(parts))
        return [], []
    for entry in entries:
        if _leads(entry.is_dir):
            below = (*parts, entry.name)
            if entry.name.lower() in _LEFT_OUT:
                tree.left_out.append("/".join(below))
            else:
                (linked if entry.is_symlink() else inner).append(below)
        elif _is_image_entry(entry):
            images.append(entry.name)
        else:
            other[_suffix_of(entry.name)] += 1
    tree.other += other
    if images:
        tree.images[parts] = images
    elif other and other.keys() <= _FOREIGN_SUFFIXES:
        tree.foreign[parts] = other
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


class _Siblings:
    """Folders that hold images, each judged by those beside it.

    Parameters
    ----------
    folders : iterable of tuple of str
        By their parts relative to the root.
    """

    def __init__(self, folders: Iterable[Parts]) -> None:
        self.folders = list(folders)
        self._holders: dict[Parts, set[str]] = defaultdict(set)
        """Names of the folders beside each other that hold images themselves."""
        self._splits_above: set[Parts] = set()
        """Folders in which others that are called as splits are hold folders of images."""
        for parts in self.folders:
            if parts:
                self._holders[parts[:-1]].add(parts[-1])
            for depth, name in enumerate(parts[:-1]):
                if normalize_split(name):
                    self._splits_above.add(parts[:depth])

    def split_depths(self, parts: Parts) -> Iterator[int]:
        """Depths at which a folder's path names a split rather than a class or a domain."""
        for depth, name in enumerate(parts):
            is_above = depth < len(parts) - 1
            if normalize_split(name) and (is_above or self._is_split(parts)):
                yield depth

    def is_beside_splits(self, parts: Parts) -> bool:
        """Whether a folder of images lies beside splits with classes, and is none."""
        return parts[:-1] in self._splits_above and not normalize_split(parts[-1])

    def _is_split(self, parts: Parts) -> bool:
        """Whether a folder of images that is called as a split is one."""
        above = parts[:-1]
        return above in self._splits_above or all(map(normalize_split, self._holders[above]))


def _domain_height(named: list[list[str]]) -> int:
    """How far from the end of the folders' names the domains stand: 2, unless all agree there."""
    height = 2
    above = [names for names in named if len(names) >= height]
    while above and len({names[-height] for names in above}) == 1:
        height += 1
        if any(len(names) < height for names in above):
            return 2
    return height
