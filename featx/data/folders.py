"""Folders of images as they are: which files are images, and what the folders' names say."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from featx.data.dicom import is_dicom
from featx.data.image_formats import IMAGE_SUFFIXES
from featx.data.readers import plug_in_suffixes
from featx.data.splits import find_split, is_filler

_SYSTEM_FOLDERS = frozenset(
    {"@eadir", "$recycle.bin", "lost+found", "thumbnails", "__macosx", "system volume information"}
)
"""Folders that systems and other programs leave among images, in lower case."""

_UNREAD_SUFFIXES = frozenset(
    {".3fr", ".ai", ".arw", ".cr2", ".cr3", ".czi", ".dng", ".eps", ".exr", ".fit", ".fits"}
    | {".hdr", ".ico", ".jxl", ".jxr", ".mha", ".mrxs", ".nd2", ".ndpi", ".nef", ".nii", ".nrrd"}
    | {".orf", ".pcx", ".pef", ".psd", ".raf", ".rw2", ".scn", ".srw", ".svg", ".svs", ".tga"}
    | {".dcm", ".pdf", ".raw", ".vsi", ".wmf", ".emf", ".xcf"}
)
"""Images by suffix that are not read, unless a reader for them is there."""

_METADATA_FILES = frozenset({"metadata.csv", "metadata.jsonl", "metadata.parquet"})
"""Manifests of the folder that they lie in, as in Hugging Face's `datasets`."""

_RESULTS = "results.json"
_REPORT_FILES = frozenset({_RESULTS, "table.csv", "report.html", "thumbnails.json"})
_REPORT_FIGURES = "figures"
"""What a report of featx is known by, and its folder that holds images."""

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

_STRAY = "stray"


@dataclass
class Tree:
    """What lies in a folder and under it.

    Attributes
    ----------
    images : dict of tuple to list of str
        Names of the images in each folder, by the folder's parts relative to the root.
    other : Counter
        How many files are no images, by suffix; dot files are not counted.
    unread : dict of tuple to Counter
        Of `other`, those in folders without images that are images that featx does not read.
    metadata : list of tuple
        Files that say what the images in their folder are.
    skipped : list of tuple
        Folders that were not read: those of systems, and the figures of featx's reports.
    unreadable : list of (str, str)
        Folders that could not be read, and why.
    """

    images: dict[Parts, list[str]] = field(default_factory=dict)
    other: Counter[str] = field(default_factory=Counter)
    unread: dict[Parts, Counter[str]] = field(default_factory=dict)
    metadata: list[Parts] = field(default_factory=list)
    skipped: list[Parts] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Placement:
    """What the folders above an image say about it; empty where they say nothing."""

    label: str = ""
    split: str = ""
    domain: str = ""
    folder: str = field(default="", compare=False)
    """What the folder of the split is called."""


def read_tree(root: str) -> Tree:
    """All images in `root` and the folders under it.

    Dot files and dot folders are left out, and so are folders of systems and what reports of
    featx hold. Links to folders are followed, but a folder is read once however many ways lead to
    it, by its own path rather than by a link.

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


def place_folders(folders: Collection[Parts], *, has_splits: bool = True) -> dict[Parts, Placement]:
    """Class, split and domain that each image-holding folder stands for.

    The folder of an image names its class, one called as a split above that its split, and the
    next one above (splits left out) its domain; one that is called the same everywhere, as in
    ``amazon/images/bike`` and ``dslr/images/bike``, is passed over. So is the folder of the
    image where all are called "images" or the like.

    A folder without folders of classes in it is a split only beside one that has them, beside
    splits alone, or where there are both ``train`` and another: a class may be called "train".
    Beside ``train`` and another split, a folder names classes only if it has one of theirs.

    Parameters
    ----------
    folders : collection of tuple
        Those that hold images, by their parts relative to a root.
    has_splits : bool, default=True
        Whether folders name splits; without, one above the classes is passed over, and one that
        holds images itself is a class.

    Returns
    -------
    dict of tuple to Placement

    Examples
    --------
    >>> place_folders([("train2017", "cat"), ("test", "cat"), ("figures",)])["train2017", "cat"]
    Placement(label='cat', split='train', domain='', folder='train2017')
    """
    above = _roles_above(folders, has_splits=has_splits)
    named = _telling_names(above)
    height = _domain_height(list(named.values()))
    placements = {}
    for parts, names in named.items():
        roles = [(name, role) for name, role in zip(parts, above[parts]) if role]
        folder, split = roles[-1] if has_splits and roles else ("", "")
        placements[parts] = Placement(
            label=unicodedata.normalize("NFC", names[-1]) if names else "",
            split="" if split == _STRAY else split,
            domain=names[-height] if len(names) >= height else "",
            folder=folder,
        )
    return placements


def vanished_folders(tree: Tree) -> dict[Parts, Counter[str]]:
    """Folders that would be a class or a split, had they images that featx reads.

    Parameters
    ----------
    tree : Tree

    Returns
    -------
    dict of tuple to Counter
        How many images of what suffix each has; empty where no image has a class or split.

    Examples
    --------
    >>> unread = {("bird",): Counter({".psd": 3})}
    >>> vanished_folders(Tree(images={("cat",): ["1.jpg"]}, unread=unread))
    {('bird',): Counter({'.psd': 3})}
    """
    holding = {parts[:depth] for parts in tree.images for depth in range(len(parts) + 1)}
    siblings = {parts[:-1] for parts in holding if parts}
    lost: dict[Parts, Counter[str]] = {}
    for parts, kinds in tree.unread.items():
        depth = next((i for i in range(len(parts) + 1) if parts[:i] not in holding), 0)
        if depth and parts[: depth - 1] in siblings:
            lost[parts[:depth]] = lost.get(parts[:depth], Counter()) + kinds
    if not lost:
        return {}
    placements = place_folders([*tree.images, *lost])
    if not any(placements[parts].label or placements[parts].split for parts in tree.images):
        return {}
    return {p: kinds for p, kinds in lost.items() if placements[p].label or placements[p].split}


def _is_image(path: str) -> bool:
    """Whether a file is an image by its suffix or, if it has none, by its first bytes."""
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
    """Note one folder's images in `tree`; its folders and its links to folders, sorted."""
    folder = os.path.join(root, *parts)
    status = os.stat(folder)
    if (status.st_dev, status.st_ino) in visited:
        return [], []
    visited.add((status.st_dev, status.st_ino))
    inner: list[Parts] = []
    linked: list[Parts] = []
    images = []
    other = []
    entries = _entries(folder)
    reported = _REPORT_FILES & {entry.name for entry in entries}
    is_report = _RESULTS in reported and len(reported) > 1
    for entry in entries:
        if _leads(entry.is_dir):
            if entry.name.lower() in _SYSTEM_FOLDERS or (
                is_report and entry.name == _REPORT_FIGURES
            ):
                tree.skipped.append((*parts, entry.name))
            else:
                (linked if entry.is_symlink() else inner).append((*parts, entry.name))
        elif _is_image_entry(entry):
            images.append(entry.name)
        elif entry.name in _METADATA_FILES:
            tree.metadata.append((*parts, entry.name))
        elif not (is_report and entry.name in _REPORT_FILES):
            other.append(entry)
    tree.other.update(_suffix_of(entry.name) for entry in other)
    if images:
        tree.images[parts] = images
    elif unread := _unread_images(other):
        tree.unread[parts] = unread
    return inner, linked


def _unread_images(files: Sequence[os.DirEntry[str]]) -> Counter[str]:
    """Files by suffix where all are images that featx does not read; the first is looked into."""
    suffixes = [_suffix_of(file.name) for file in files]
    known = set(_UNREAD_SUFFIXES)
    if files and _looks_like_image(files[0].path):
        known.add(suffixes[0])
    return Counter(suffixes) if known.issuperset(suffixes) else Counter()


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
    """Whether a file begins as an image does."""
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


def _roles_above(folders: Collection[Parts], *, has_splits: bool) -> dict[Parts, list[str]]:
    """Role of each part of each folder; see `_roles_of`."""
    inner: dict[Parts, set[str]] = defaultdict(set)
    for parts in folders:
        for depth in range(len(parts)):
            inner[parts[:depth]].add(parts[depth])
    roles: dict[Parts, str] = {}
    for parent in list(inner):
        roles |= _roles_of(parent, inner)
    if not has_splits:  # A folder of images is then its class, whatever it is called.
        roles = {p: role for p, role in roles.items() if role != _STRAY and inner.get(p)}
    return {p: [roles.get(p[: i + 1], "") for i in range(len(p))] for p in folders}


def _telling_names(above: dict[Parts, list[str]]) -> dict[Parts, Parts]:
    """Parts of each folder that may be its class or domain, by the roles of its parts."""
    named = {
        parts: tuple(name for name, role in zip(parts, roles) if role in ("", _STRAY))
        for parts, roles in above.items()
    }
    strays = {p: p[: roles.index(_STRAY) + 1] for p, roles in above.items() if _STRAY in roles}
    classes = {names[-1] for parts, names in named.items() if names and parts not in strays}
    with_classes = {top for parts, top in strays.items() if named[parts][-1] in classes}
    named |= {parts: () for parts, top in strays.items() if top not in with_classes}
    lasts = {names[-1] for names in named.values() if names}
    if len(lasts) == 1 and is_filler(*lasts):
        return {parts: names[:-1] for parts, names in named.items()}
    return named


def _roles_of(parent: Parts, inner: dict[Parts, set[str]]) -> dict[Parts, str]:
    """Which split each folder of one parent is, or `_STRAY` where it is beside splits.

    Judged by siblings of its kind: a stray folder of images must not make a class of a split.
    """
    names = inner[parent]
    splits = {name: split for name in names if (split := find_split(name))}
    with_folders = {name for name in names if inner.get((*parent, name))}
    evals = [name for name in splits if "eval" in name.lower()]
    others = {split for name, split in splits.items() if name not in evals}
    if others >= {"val"} and "test" not in others:  # Beside "dev", "eval" is to test on.
        splits |= dict.fromkeys(evals, "test")
    is_partition = "train" in splits.values() and len(set(splits.values())) > 1
    if not (splits.keys() & with_folders or names - with_folders <= splits.keys() or is_partition):
        return {}
    strays = dict.fromkeys(names - splits.keys() if is_partition else (), _STRAY)
    return {(*parent, name): role for name, role in (splits | strays).items()}


def _domain_height(named: list[Parts]) -> int:
    """How far from the end of the folders' names the domains stand: 2, unless all agree there."""
    height = 2
    above = [names for names in named if len(names) >= height]
    while above and len({names[-height] for names in above}) == 1:
        height += 1
        if any(len(names) < height for names in above):
            return 2
    return height
