"""Sources of images, listed: folders and files, standard input, manifests, data sets by name."""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from featx.data.folders import (
    Parts,
    Placement,
    Tree,
    place_folders,
    read_tree,
    vanished_folders,
)
from featx.data.image_dataset import (
    ImageDataset,
    drop_repeated,
    join_datasets,
    known_column,
    make_dataset,
    name_of,
)
from featx.data.image_formats import IMAGE_SUFFIXES
from featx.data.images import printable
from featx.data.manifest_paths import say_where
from featx.data.manifests import MANIFEST_SUFFIXES, Manifest, read_manifest, read_metadata
from featx.errors import DatasetError, did_you_mean

logger = logging.getLogger(__name__)

Source: TypeAlias = "str | os.PathLike[str]"

_LISTS = frozenset({".jsonl", ".json", ".txt"})
"""Manifests by suffix that may also lie beside an image and say something of it."""

_TORCHVISION = "torchvision:"
_STDIN = "-"


class Meaning(NamedTuple):
    """What sources may say of their images.

    Attributes
    ----------
    has_domains : bool
        Whether the folder above the class is the domain.
    has_splits : bool
        Whether folders and manifests name splits.
    group_column : str, optional
        Column of a manifest that names the groups; by default ``group``, if there is one.
    """

    has_domains: bool = False
    has_splits: bool = True
    group_column: str | None = None


def list_sources(
    sources: Sequence[Source], meaning: Meaning, *, root: Source | None = None
) -> ImageDataset:
    """Images of all sources as one data set, each image once.

    Folders and files that lie equally deep under one folder are read as though that one had been
    given: ``cats dogs`` are two classes, ``data/train data/test`` two splits.

    Parameters
    ----------
    sources : sequence of str or path
        As in `featx.data.datasets.load_dataset`; a path object is never a data set's name.
    meaning : Meaning
    root : path, optional
        Where torchvision's data sets lie.

    Returns
    -------
    ImageDataset

    Raises
    ------
    DatasetError
        If there is no such source, or it is no manifest and a column is asked for.
    """
    sources, notes = _without_notes(sources)
    named = {i: _list_named(source, meaning, root) for i, source in enumerate(sources)}
    paths = [os.fspath(source) for i, source in enumerate(sources) if named[i] is None]
    found = [dataset for dataset in named.values() if dataset is not None]
    if paths:
        first = next(i for i, dataset in named.items() if dataset is None)
        found.insert(first, _list_paths(paths, meaning))
    joined = join_datasets(found)
    return replace(joined, ignored=joined.ignored + notes) if notes else joined


def _without_notes(sources: Sequence[Source]) -> tuple[Sequence[Source], Counter[str]]:
    """Sources without the texts that ``cats/*`` names among the images; how many, by suffix."""
    suffixes = [os.path.splitext(source)[1].lower() for source in sources]
    notes = Counter(suffix for suffix in suffixes if suffix in _LISTS)
    if not notes or IMAGE_SUFFIXES.isdisjoint(suffixes):
        return sources, Counter()
    return [it for it, suffix in zip(sources, suffixes) if suffix not in _LISTS], notes


def _list_named(source: Source, meaning: Meaning, root: Source | None) -> ImageDataset | None:
    """Images of a source that is no folder and no image; None if it is one of these."""
    path = os.fspath(source)
    is_manifest = os.path.splitext(path)[1].lower() in MANIFEST_SUFFIXES
    if meaning.group_column is not None and not is_manifest:
        raise DatasetError(
            f"Groups {meaning.group_column!r} name a column of a manifest, and {name_of(path)} is "
            "none; give re:PATTERN, which is searched for in the images' paths."
        )
    if source == _STDIN:
        return _list_stdin(meaning)
    if isinstance(source, str) and source == "digits":
        if os.path.exists("digits"):
            logger.warning("'digits' is the built-in data set; write ./digits for the folder.")
        return _list_digits()
    if isinstance(source, str) and source.startswith(_TORCHVISION):
        return _list_torchvision(source.removeprefix(_TORCHVISION), root)
    if not path or not os.path.exists(path):
        raise _not_found(path)
    return _list_manifest(path, meaning) if is_manifest and not os.path.isdir(path) else None


def _list_stdin(meaning: Meaning) -> ImageDataset:
    """Files and folders named on standard input."""
    content = sys.stdin.buffer.read()
    parts = content.split(b"\0") if b"\0" in content else content.splitlines()
    paths = [os.fsdecode(part) for part in parts if part.strip()]
    if not paths:
        note = "No names on standard input; expected one path a line, or separated by NUL."
        return make_dataset([], notes=[note])
    return _list_paths(paths, meaning)


def _list_digits() -> ImageDataset:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, 0 to 16 rescaled to 0 to 255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    names = [f"digits/{i:04d}" for i in range(len(pixels))]
    return make_dataset(pixels, names, labels=digits.target.astype(str))


def _list_torchvision(spec: str, root: Source | None) -> ImageDataset:
    from featx.data.torchvision_data import open_torchvision

    found = open_torchvision(spec, root)
    columns = {"labels": found.labels, "splits": found.splits}
    known: dict[str, Any] = {
        name: np.array(it, str) for name, it in columns.items() if it is not None
    }
    return make_dataset(found, found.names, **known)


def _list_manifest(path: str, meaning: Meaning) -> ImageDataset:
    """Images that a manifest names; those that are not there fail when they are read."""
    manifest = read_manifest(path, meaning.group_column)
    if not manifest.path:
        return make_dataset([], notes=[f"Manifest {path} names no image."])
    if not any(map(os.path.exists, manifest.path)):
        first, n_files = manifest.path[0], len(manifest.path)
        raise DatasetError(
            f"Manifest {path}: none of its {n_files} files is there, for example {name_of(first)}; "
            "paths are relative to the manifest's folder, or to the working folder."
            f"{say_where(os.path.dirname(path), first)}"
        )
    columns = {
        "labels": manifest.label,
        "splits": manifest.split if meaning.has_splits else None,
        "domains": manifest.domain,
        "groups": manifest.group if any(manifest.group or ()) else None,
    }
    known: dict[str, Any] = {
        name: np.array(it, str) for name, it in columns.items() if it is not None
    }
    _warn_of_repeated(path, manifest)
    renamed = ", ".join(f"{it} from column {name!r}" for it, name in manifest.renamed.items())
    paths = [str(Path(path)) for path in manifest.path]
    return make_dataset(paths, **known, remarks=[renamed] if renamed else [])


def _warn_of_repeated(path: str, manifest: Manifest) -> None:
    """Say how many rows were left out because their image had been named before."""
    if manifest.n_repeated:
        other = f", {manifest.n_resplit:,} of another split" if manifest.n_resplit else ""
        logger.warning(
            "Manifest %s: left out %d repeated rows%s.", path, manifest.n_repeated, other
        )


class _Root(NamedTuple):
    """A folder that was given, or of which files were given."""

    folder: str
    tree: Tree
    is_folder: bool


def _list_paths(paths: Sequence[str], meaning: Meaning) -> ImageDataset:
    """Images of folders and files, with what the folders' names say; a folder's by path."""
    roots = list(_roots_of(paths))
    prefixes = _prefixes([root.folder for root in roots], {root.is_folder for root in roots})
    if prefixes:
        dataset = _list_roots(roots, prefixes, meaning)
    else:
        dataset = join_datasets([_list_roots([root], [()], meaning) for root in roots])
    return dataset if len(paths) == 1 else drop_repeated(dataset)


def _roots_of(paths: Sequence[str]) -> Iterator[_Root]:
    """Folders read; files in one folder that follow each other together."""
    given = [(path, os.path.isdir(path)) for path in map(str, map(Path, paths))]
    for (folder, is_folder), same in groupby(
        given, lambda it: it if it[1] else (os.path.dirname(it[0]), False)
    ):
        if not is_folder:
            names = [os.path.basename(path) for path, _ in same]
            yield _Root(folder, Tree(images={(): names}), is_folder)
            continue
        try:
            yield _Root("" if folder == "." else folder, read_tree(folder), is_folder)
        except OSError as error:
            raise DatasetError(f"Folder {folder} cannot be read: {error.strerror}.") from error


def _prefixes(folders: Sequence[str], kinds: set[bool]) -> list[Parts]:
    """Parts of each folder under the one that holds all; empty where they are no neighbours.

    Neighbours lie equally deep under it; files and folders together in that one itself.
    """
    places = [Path(os.path.abspath(folder)) for folder in folders]
    if len({place.anchor for place in places}) > 1 or len(set(places)) == 1:
        return []
    common = Path(os.path.commonpath(places))
    inner = [place.relative_to(common).parts for place in places]
    depths = set(map(len, inner))
    is_near = depths == {1} or (len(depths) == 1 and len(kinds) == 1)
    return inner if is_near else []


def _list_roots(roots: list[_Root], prefixes: list[Parts], meaning: Meaning) -> ImageDataset:
    """Images of roots that are read as one tree, each under its prefix."""
    tree = _joined_tree(roots, prefixes)
    _refuse_vanished(roots, tree)
    placements = place_folders(tree.images, has_splits=meaning.has_splits)
    found: list[tuple[str, Placement]] = []
    for root, prefix in zip(roots, prefixes):
        rows = {
            os.path.join(root.folder, *parts, name): placements[prefix + parts]
            for parts, names in root.tree.images.items()
            for name in names
        }
        for file in root.tree.metadata:
            if not _apply_metadata(os.path.join(root.folder, *file), rows, meaning):
                tree.other[os.path.splitext(file[-1])[1]] += 1
        found += sorted(rows.items(), key=itemgetter(0)) if root.is_folder else rows.items()
    left_out = [os.path.join(root.folder, *parts) for root in roots for parts in root.tree.skipped]
    domains = known_column(printable(it.domain) for _, it in found)
    return make_dataset(
        [path for path, _ in found],
        labels=known_column(printable(it.label) for _, it in found),
        splits=known_column(it.split for _, it in found),
        domains=domains if meaning.has_domains else None,
        ignored=tree.other,
        left_out=[name_of(folder) for folder in left_out],
        split_folders={it.folder: it.split for it in placements.values() if it.split},
        unreadable=[(name_of(path), reason) for path, reason in tree.unreadable],
        notes=[_nothing_in(root.folder, root.tree) for root in roots if not root.tree.images],
    )


def _apply_metadata(file: str, rows: dict[str, Placement], meaning: Meaning) -> bool:
    """Let a folder's own manifest say what its images are; False where it names no classes."""
    manifest = read_metadata(file)
    if manifest is None:
        return False
    folder = os.path.join(os.path.dirname(file), "")
    rows |= {
        path: replace(placement, label="")
        for path, placement in rows.items()
        if path.startswith(folder)
    }
    known = {os.path.normpath(path): path for path in rows}
    for index, path in enumerate(manifest.path):
        path = known.get(os.path.normpath(path), path)
        said = {
            "label": manifest.label,
            "split": manifest.split if meaning.has_splits else None,
            "domain": manifest.domain,
        }
        values = {name: column[index] for name, column in said.items() if column is not None}
        rows[path] = replace(rows.get(path, Placement()), **values)
    return True


def _joined_tree(roots: list[_Root], prefixes: list[Parts]) -> Tree:
    """What lies in several folders as one tree."""
    if len(roots) == 1 and not prefixes[0]:
        return roots[0].tree
    joined = Tree()
    for root, prefix in zip(roots, prefixes):
        tree = root.tree
        joined.images |= {prefix + parts: names for parts, names in tree.images.items()}
        joined.unread |= {prefix + parts: kinds for parts, kinds in tree.unread.items()}
        joined.skipped += [prefix + parts for parts in tree.skipped]
        joined.unreadable += tree.unreadable
        joined.other += tree.other
    return joined


def _refuse_vanished(roots: list[_Root], tree: Tree) -> None:
    """Refuse a folder of classes where one would vanish, for no image of it is read."""
    for parts, kinds in vanished_folders(tree).items():
        shown = ", ".join(f"{n} {suffix or 'without suffix'}" for suffix, n in kinds.items())
        folder = os.path.join(roots[0].folder if len(roots) == 1 else "", *parts)
        raise DatasetError(
            f"Folder {name_of(folder)}: none of its images is read ({shown}), so "
            f"{printable(parts[-1])!r} would vanish. Convert them, or name the folders to read one "
            "by one."
        )


def _nothing_in(folder: str, tree: Tree) -> str:
    """Message about a folder without images."""
    n_files = tree.other.total()
    if not n_files:
        return f"No image in {name_of(folder)}: it holds no files but hidden ones."
    kinds = ", ".join(f"{n} {suffix or 'without one'}" for suffix, n in tree.other.most_common(4))
    return (
        f"No image in {name_of(folder)}: {n_files} files, none an image by suffix ({kinds}); "
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
        "manifest (.csv .tsv .parquet .jsonl .json .txt), '-', 'digits' or 'torchvision:NAME'."
    )
