"""Find the images in a folder, and derive classes, splits and domains from folder names."""

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

SYSTEM_FOLDERS = frozenset(
    {"@eadir", "$recycle.bin", "lost+found", "thumbnails", "__macosx", "system volume information"}
)
"""Folders that operating systems and other programs create among images, in lower case."""

_UNREAD_SUFFIXES = frozenset(
    {".3fr", ".ai", ".arw", ".cr2", ".cr3", ".czi", ".dng", ".eps", ".exr", ".fit", ".fits"}
    | {".hdr", ".ico", ".jxl", ".jxr", ".mha", ".mrxs", ".nd2", ".ndpi", ".nef", ".nii", ".nrrd"}
    | {".orf", ".pcx", ".pef", ".psd", ".raf", ".rw2", ".scn", ".srw", ".svg", ".svs", ".tga"}
    | {".dcm", ".pdf", ".raw", ".vsi", ".wmf", ".emf", ".xcf"}
)
"""Suffixes of image formats that featx reads only with an optional package, or not at all."""

_METADATA_FILES = frozenset({"metadata.csv", "metadata.jsonl", "metadata.parquet"})
"""Manifests of the folder that contains them, as in Hugging Face's `datasets`."""

_RESULTS = "results.json"
_REPORT_FILES = frozenset({_RESULTS, "table.csv", "report.html", "thumbnails.json"})
_REPORT_FIGURES = "figures"
"""Files of featx's reports, and their folder of figures."""

_NO_IMAGES = ("features.npy", "DICOMDIR")
"""Feature files and DICOM indexes, which would be images by suffix or content."""

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
    """Contents of a folder, including its subfolders.

    Attributes
    ----------
    images : dict of tuple to list of str
        Names of the images in each folder. Keys are the parts of the folder's path relative to
        the root.
    other : Counter
        Number of files that are not images, by suffix; dot files are not counted.
    unread : dict of tuple to Counter
        Files of `other` in image formats that featx does not read, by folder, for folders that
        contain nothing else.
    metadata : list of tuple
        Manifests of the images in their folder.
    skipped : list of tuple
        Folders that were not read: system folders, and the figures of featx's reports.
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
class FolderInfo:
    """Class, split and domain of the images in a folder; empty where there is none."""

    label: str = ""
    split: str = ""
    domain: str = ""
    split_folder: str = field(default="", compare=False)
    """Name of the folder that defines the split."""


def read_tree(root: str) -> Tree:
    """Find all images in `root` and its subfolders.

    Hidden files and folders, system folders and files of featx's reports are skipped. Links to
    folders are followed, but each folder is read only once, by its own path rather than by a link.

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
        If `root` itself cannot be read. Unreadable subfolders are listed in the result.
    """
    tree = Tree()
    visited: set[tuple[int, int]] = set()
    folders: list[Parts] = [()]
    links: list[Parts] = []  # Followed last, so that a folder's own path wins over a link to it.
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


def interpret_folders(
    folders: Collection[Parts], *, has_splits: bool = True
) -> dict[Parts, FolderInfo]:
    """Derive the class, split and domain of each folder of images from the folder names.

    The innermost folder is the class, a folder above it with the name of a split is the split, and
    the next folder above, splits aside, is the domain. A level whose folders all have the same
    name, as in ``amazon/images/bike`` and ``dslr/images/bike``, is ignored. So is the innermost
    level if all of its folders are called "images" or similar.

    As a class may be called "train", a folder with the name of a split that has no class folders
    is a split only if a sibling split has class folders, all siblings are splits, or both
    ``train`` and another split exist. Beside ``train`` and another split, a further folder
    contains classes only if it shares a class with them.

    Parameters
    ----------
    folders : collection of tuple
        Folders that contain images, as the parts of their path relative to a root.
    has_splits : bool, default=True
        Whether folder names define splits. Otherwise such a folder is ignored above the classes,
        and is a class if it contains images.

    Returns
    -------
    dict of tuple to FolderInfo

    Examples
    --------
    >>> folders = [("train2017", "cat"), ("test", "cat"), ("figures",)]
    >>> interpret_folders(folders)["train2017", "cat"]
    FolderInfo(label='cat', split='train', domain='', split_folder='train2017')
    """
    roles = _roles_by_folder(folders, has_splits=has_splits)
    names_by_folder = _class_and_domain_names(roles)
    height = _domain_height(list(names_by_folder.values()))
    infos = {}
    for parts, names in names_by_folder.items():
        special = [(name, role) for name, role in zip(parts, roles[parts]) if role]
        split_folder, split = special[-1] if has_splits and special else ("", "")
        infos[parts] = FolderInfo(
            label=unicodedata.normalize("NFC", names[-1]) if names else "",
            split="" if split == _STRAY else split,
            domain=names[-height] if len(names) >= height else "",
            split_folder=split_folder,
        )
    return infos


def missing_folders(tree: Tree) -> dict[Parts, Counter[str]]:
    """Folders that would be a class or a split if featx could read their images.

    Parameters
    ----------
    tree : Tree

    Returns
    -------
    dict of tuple to Counter
        Number of images by suffix; empty if no image has a class or split.

    Examples
    --------
    >>> unread = {("bird",): Counter({".psd": 3})}
    >>> missing_folders(Tree(images={("cat",): ["1.jpg"]}, unread=unread))
    {('bird',): Counter({'.psd': 3})}
    """
    with_images = {parts[:depth] for parts in tree.images for depth in range(len(parts) + 1)}
    parents = {parts[:-1] for parts in with_images if parts}
    missing: dict[Parts, Counter[str]] = {}
    for parts, suffixes in tree.unread.items():
        depth = next((i for i in range(len(parts) + 1) if parts[:i] not in with_images), 0)
        if depth and parts[: depth - 1] in parents:
            missing[parts[:depth]] = missing.get(parts[:depth], Counter()) + suffixes
    if not missing:
        return {}
    infos = interpret_folders([*tree.images, *missing])
    if not any(infos[parts].label or infos[parts].split for parts in tree.images):
        return {}
    return {p: suffixes for p, suffixes in missing.items() if infos[p].label or infos[p].split}


def _is_image(path: str) -> bool:
    """Whether a file is an image, by its suffix or, without one, by its first bytes."""
    suffix = _suffix_of(path)
    if not suffix:
        return _looks_like_image(path)
    return suffix in IMAGE_SUFFIXES or suffix in plug_in_suffixes()


def _suffix_of(path: str) -> str:
    """Suffix in lower case with its dot; empty if there is none.

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
    """Add one folder's files to `tree`; return its subfolders and links to folders, sorted."""
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
    report_files = _REPORT_FILES & {entry.name for entry in entries}
    is_report = _RESULTS in report_files and len(report_files) > 1
    for entry in entries:
        if _holds(entry.is_dir):
            if entry.name.lower() in SYSTEM_FOLDERS or (
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
    """Number of files by suffix if all are images in unread formats, else an empty Counter."""
    suffixes = [_suffix_of(file.name) for file in files]
    image_suffixes = set(_UNREAD_SUFFIXES)
    if files and _looks_like_image(files[0].path):  # An image under an unusual suffix.
        image_suffixes.add(suffixes[0])
    return Counter(suffixes) if image_suffixes.issuperset(suffixes) else Counter()


def _entries(folder: str) -> Sequence[os.DirEntry[str]]:
    """Entries of a folder sorted by name, without hidden ones."""
    with os.scandir(folder) as entries:
        return sorted(
            (entry for entry in entries if not entry.name.startswith(".")),
            key=lambda entry: entry.name,
        )


def _is_image_entry(entry: os.DirEntry[str]) -> bool:
    if entry.name in _NO_IMAGES:
        return False
    # A broken link is judged by its name, so that it is reported; a pipe would block.
    if not _holds(entry.is_file) and not entry.is_symlink():
        return False
    return _is_image(entry.path)


def _holds(test: Callable[[], bool]) -> bool:
    """Result of a test of an entry; False if it raises, as for a link to itself."""
    try:
        return test()
    except OSError:
        return False


def _looks_like_image(path: str) -> bool:
    """Whether the first bytes of a file are those of an image."""
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


def _roles_by_folder(folders: Collection[Parts], *, has_splits: bool) -> dict[Parts, list[str]]:
    """Role of each part of each folder's path; see `_roles_of`."""
    inner: dict[Parts, set[str]] = defaultdict(set)
    for parts in folders:
        for depth in range(len(parts)):
            inner[parts[:depth]].add(parts[depth])
    roles: dict[Parts, str] = {}
    for parent in list(inner):
        roles |= _roles_of(parent, inner)
    if not has_splits:  # Then the innermost folder is the class, whatever its name.
        roles = {p: role for p, role in roles.items() if role != _STRAY and inner.get(p)}
    return {p: [roles.get(p[: i + 1], "") for i in range(len(p))] for p in folders}


def _class_and_domain_names(roles_by_folder: dict[Parts, list[str]]) -> dict[Parts, Parts]:
    """Parts of each folder's path that may be its class or domain."""
    names_by_folder = {
        parts: tuple(name for name, role in zip(parts, roles) if role in ("", _STRAY))
        for parts, roles in roles_by_folder.items()
    }
    strays = {
        parts: parts[: roles.index(_STRAY) + 1]
        for parts, roles in roles_by_folder.items()
        if _STRAY in roles
    }
    # A stray folder contains classes only if it shares one with the splits.
    classes = {names[-1] for p, names in names_by_folder.items() if names and p not in strays}
    with_classes = {top for p, top in strays.items() if names_by_folder[p][-1] in classes}
    names_by_folder |= {parts: () for parts, top in strays.items() if top not in with_classes}
    innermost = {names[-1] for names in names_by_folder.values() if names}
    if len(innermost) == 1 and is_filler(*innermost):
        return {parts: names[:-1] for parts, names in names_by_folder.items()}
    return names_by_folder


def _roles_of(parent: Parts, inner: dict[Parts, set[str]]) -> dict[Parts, str]:
    """Split of each folder in `parent` that is one, `_STRAY` for other folders beside splits.

    Siblings are judged together: a stray folder of images must not turn a split into a class.
    """
    names = inner[parent]
    splits = {name: split for name in names if (split := find_split(name))}
    with_folders = {name for name in names if inner.get((*parent, name))}
    evals = [name for name in splits if "eval" in name.lower()]
    others = {split for name, split in splits.items() if name not in evals}
    if others >= {"val"} and "test" not in others:  # Beside "dev", "eval" is the test split.
        splits |= dict.fromkeys(evals, "test")
    is_partition = "train" in splits.values() and len(set(splits.values())) > 1
    if not (splits.keys() & with_folders or names - with_folders <= splits.keys() or is_partition):
        return {}
    strays = dict.fromkeys(names - splits.keys() if is_partition else (), _STRAY)
    return {(*parent, name): role for name, role in (splits | strays).items()}


def _domain_height(paths: list[Parts]) -> int:
    """Level of the domains, counted from the end: 2, or more if all folders there are the same."""
    height = 2
    deep = [names for names in paths if len(names) >= height]
    while deep and len({names[-height] for names in deep}) == 1:
        height += 1
        if any(len(names) < height for names in deep):
            return 2
    return height
