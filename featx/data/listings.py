"""List the images of a source: folders, files, standard input, manifests, data sets by name."""

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

from featx.data.archives.archive_listings import is_archive, list_archives
from featx.data.folders import (
    FolderInfo,
    Parts,
    Tree,
    interpret_folders,
    missing_folders,
    read_tree,
)
from featx.data.image_dataset import (
    ImageDataset,
    column_or_none,
    drop_repeated,
    join_datasets,
    make_dataset,
    name_of,
)
from featx.data.image_formats import IMAGE_SUFFIXES
from featx.data.images import printable
from featx.data.manifest_paths import suggest_location
from featx.data.manifests import MANIFEST_SUFFIXES, Manifest, read_manifest, read_metadata
from featx.errors import DatasetError, did_you_mean

logger = logging.getLogger(__name__)

Source: TypeAlias = "str | os.PathLike[str]"

_SIDECAR_SUFFIXES = frozenset({".jsonl", ".json", ".txt"})
"""Suffixes of manifests that may also be notes beside an image."""

BUILT_IN = ("digits", "drawings")
"""Names of data sets that need no file."""

_TORCHVISION = "torchvision:"
_STDIN = "-"


class ListingOptions(NamedTuple):
    """How the folders and manifests of a source are interpreted.

    Attributes
    ----------
    has_domains : bool
        Whether the folder above the class is the domain.
    has_splits : bool
        Whether folders and manifests define splits.
    group_column : str, optional
        Column of a manifest with the groups; by default ``group``, if it exists.
    """

    has_domains: bool = False
    has_splits: bool = True
    group_column: str | None = None


def list_sources(
    sources: Sequence[Source], options: ListingOptions, *, root: Source | None = None
) -> ImageDataset:
    """List the images of all sources as one data set, each image once.

    Folders and files at the same depth of a common folder are read as if that folder had been
    given: ``cats dogs`` are two classes, ``data/train data/test`` two splits.

    Parameters
    ----------
    sources : sequence of str or path
        As in `featx.data.datasets.load_dataset`; a path object is never a data set's name.
    options : ListingOptions
    root : path, optional
        Folder of torchvision's data sets.

    Returns
    -------
    ImageDataset

    Raises
    ------
    DatasetError
        If a source does not exist, or `group_column` is set and a source is not a manifest.
    """
    sources, sidecars = _without_sidecars(sources)
    archives = [path for it in sources if is_archive(path := os.fspath(it))]
    others = [source for source in sources if os.fspath(source) not in archives]
    # None for folders and images, which are read together, in the position of the first of them.
    datasets = [_list_named(source, options, root) for source in others]
    paths = [os.fspath(it) for it, dataset in zip(others, datasets) if dataset is None]
    if paths:
        datasets.insert(datasets.index(None), _list_paths(paths, options))
    if archives:
        datasets.insert(0, _list_archives(archives, options, is_alone=not others))
    joined = join_datasets([dataset for dataset in datasets if dataset is not None])
    return replace(joined, ignored=joined.ignored + sidecars) if sidecars else joined


def _without_sidecars(sources: Sequence[Source]) -> tuple[Sequence[Source], Counter[str]]:
    """Sources without text files that a pattern such as ``cats/*`` matches, and their suffixes."""
    suffixes = [os.path.splitext(source)[1].lower() for source in sources]
    sidecars = Counter(suffix for suffix in suffixes if suffix in _SIDECAR_SUFFIXES)
    if not sidecars or IMAGE_SUFFIXES.isdisjoint(suffixes):
        return sources, Counter()
    images = [it for it, suffix in zip(sources, suffixes) if suffix not in _SIDECAR_SUFFIXES]
    return images, sidecars


def _list_named(
    source: Source, options: ListingOptions, root: Source | None
) -> ImageDataset | None:
    """Images of a manifest, standard input, or a data set by name; None for other sources."""
    path = os.fspath(source)
    is_manifest = os.path.splitext(path)[1].lower() in MANIFEST_SUFFIXES
    if options.group_column is not None and not is_manifest:
        raise _no_manifest(options.group_column, path)
    if source == _STDIN:
        return _list_stdin(options)
    if isinstance(source, str) and source in BUILT_IN:
        if os.path.exists(source):
            logger.warning(
                "%r is the built-in data set; write ./%s for the folder.", source, source
            )
        return _list_digits() if source == "digits" else _list_drawings()
    if isinstance(source, str) and source.startswith(_TORCHVISION):
        return _list_torchvision(source.removeprefix(_TORCHVISION), root)
    if not path or not os.path.exists(path):
        raise _not_found(path)
    return _list_manifest(path, options) if is_manifest and not os.path.isdir(path) else None


def _list_archives(archives: list[str], options: ListingOptions, *, is_alone: bool) -> ImageDataset:
    """Images in archives, which have no columns to group by."""
    if options.group_column is not None:
        raise _no_manifest(options.group_column, archives[0])
    dataset = list_archives(archives, has_splits=options.has_splits, is_alone=is_alone)
    return dataset if options.has_domains else replace(dataset, domains=None)


def _no_manifest(column: str, path: str) -> DatasetError:
    return DatasetError(
        f"Groups {column!r} is the column of a manifest, but {name_of(path)} is "
        "not a manifest; give re:PATTERN, which is searched for in the images' paths."
    )


def _list_stdin(options: ListingOptions) -> ImageDataset:
    """Images of the files and folders named on standard input."""
    content = sys.stdin.buffer.read()
    parts = content.split(b"\0") if b"\0" in content else content.splitlines()
    paths = [os.fsdecode(part) for part in parts if part.strip()]
    if not paths:
        reason = "No names on standard input; expected one path per line, or separated by NUL."
        return make_dataset([], empty_reasons=[reason])
    return _list_paths(paths, options)


def _list_digits() -> ImageDataset:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, 0 to 16 rescaled to 0 to 255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    names = [f"digits/{i:04d}" for i in range(len(pixels))]
    return make_dataset(pixels, names, labels=digits.target.astype(str))


def _list_drawings() -> ImageDataset:
    """500 images of ten kinds of objects, drawn by `featx.data.drawings`."""
    from featx.data.drawings import draw_objects

    images, labels = draw_objects()
    n_per_class = len(images) // len(np.unique(labels))
    names = [f"drawings/{label}/{i % n_per_class:02d}" for i, label in enumerate(labels)]
    return make_dataset(images, names, labels=labels)


def _list_torchvision(spec: str, root: Source | None) -> ImageDataset:
    from featx.data.torchvision_data import open_torchvision

    images = open_torchvision(spec, root)
    columns = _to_arrays({"labels": images.labels, "splits": images.splits})
    return make_dataset(images, images.names, **columns)


def _list_manifest(path: str, options: ListingOptions) -> ImageDataset:
    """Images of a manifest; those that do not exist fail when they are read."""
    manifest = read_manifest(path, options.group_column)
    if not manifest.path:
        return make_dataset([], empty_reasons=[f"Manifest {path} names no image."])
    if not any(map(os.path.exists, manifest.path)):
        first, n_files = manifest.path[0], len(manifest.path)
        raise DatasetError(
            f"Manifest {path}: none of its {n_files} files exists, for example {name_of(first)}; "
            "paths are relative to the manifest's folder, or to the working folder."
            f"{suggest_location(os.path.dirname(path), first)}"
        )
    columns = _to_arrays(
        {
            "labels": manifest.label,
            "splits": manifest.split if options.has_splits else None,
            "domains": manifest.domain,
            "groups": manifest.group if any(manifest.group or ()) else None,
        }
    )
    _warn_of_repeated(path, manifest)
    renamed = ", ".join(f"{it} from column {name!r}" for it, name in manifest.renamed.items())
    paths = [str(Path(path)) for path in manifest.path]
    return make_dataset(paths, **columns, remarks=[renamed] if renamed else [])


def _to_arrays(columns: dict[str, list[str] | None]) -> dict[str, Any]:
    """Columns as arrays, without those that are None."""
    return {name: np.array(values, str) for name, values in columns.items() if values is not None}


def _warn_of_repeated(path: str, manifest: Manifest) -> None:
    """Warn of rows that were skipped because an earlier row names the same image."""
    if manifest.n_repeated:
        other = f", {manifest.n_resplit:,} of another split" if manifest.n_resplit else ""
        logger.warning("Manifest %s: skipped %d repeated rows%s.", path, manifest.n_repeated, other)


class _Root(NamedTuple):
    """A source folder, or the common folder of source files."""

    folder: str
    tree: Tree
    is_folder: bool


def _list_paths(paths: Sequence[str], options: ListingOptions) -> ImageDataset:
    """Images of folders and files; those of a folder are sorted by path."""
    roots = list(_roots_of(paths))
    prefixes = _prefixes([root.folder for root in roots], {root.is_folder for root in roots})
    if prefixes:
        dataset = _list_roots(roots, prefixes, options)
    else:
        dataset = join_datasets([_list_roots([root], [()], options) for root in roots])
    return dataset if len(paths) == 1 else drop_repeated(dataset)


def _roots_of(paths: Sequence[str]) -> Iterator[_Root]:
    """Read folders; successive files of one folder are one root."""
    typed = [(path, os.path.isdir(path)) for path in map(str, map(Path, paths))]
    for (folder, is_folder), group in groupby(
        typed, lambda it: it if it[1] else (os.path.dirname(it[0]), False)
    ):
        if not is_folder:
            names = [os.path.basename(path) for path, _ in group]
            yield _Root(folder, Tree(images={(): names}), is_folder)
            continue
        try:
            yield _Root("" if folder == "." else folder, read_tree(folder), is_folder)
        except OSError as error:
            raise DatasetError(f"Folder {folder} cannot be read: {error.strerror}.") from error


def _prefixes(folders: Sequence[str], root_types: set[bool]) -> list[Parts]:
    """Path of each folder below their common folder; empty if they are not siblings.

    Siblings are at the same depth. A mixture of files and folders must be directly in it.
    """
    paths = [Path(os.path.abspath(folder)) for folder in folders]
    if len({path.anchor for path in paths}) > 1 or len(set(paths)) == 1:
        return []
    common = Path(os.path.commonpath(paths))
    prefixes = [path.relative_to(common).parts for path in paths]
    depths = set(map(len, prefixes))
    are_siblings = depths == {1} or (len(depths) == 1 and len(root_types) == 1)
    return prefixes if are_siblings else []


def _list_roots(roots: list[_Root], prefixes: list[Parts], options: ListingOptions) -> ImageDataset:
    """Images of roots that are read as one tree, each below its prefix."""
    tree = _joined_tree(roots, prefixes)
    _require_readable_classes(roots, tree)
    infos = interpret_folders(tree.images, has_splits=options.has_splits)
    images: list[tuple[str, FolderInfo]] = []
    for root, prefix in zip(roots, prefixes):
        rows = {
            os.path.join(root.folder, *parts, name): infos[prefix + parts]
            for parts, names in root.tree.images.items()
            for name in names
        }
        for file in root.tree.metadata:
            if not _apply_metadata(os.path.join(root.folder, *file), rows, options):
                tree.other[os.path.splitext(file[-1])[1]] += 1
        images += sorted(rows.items(), key=itemgetter(0)) if root.is_folder else rows.items()
    skipped = [os.path.join(root.folder, *parts) for root in roots for parts in root.tree.skipped]
    domains = column_or_none(printable(info.domain) for _, info in images)
    return make_dataset(
        [path for path, _ in images],
        labels=column_or_none(printable(info.label) for _, info in images),
        splits=column_or_none(info.split for _, info in images),
        domains=domains if options.has_domains else None,
        ignored=tree.other,
        skipped_folders=[name_of(folder) for folder in skipped],
        split_folders={info.split_folder: info.split for info in infos.values() if info.split},
        unreadable=[(name_of(path), reason) for path, reason in tree.unreadable],
        empty_reasons=[
            _why_empty(root.folder, root.tree) for root in roots if not root.tree.images
        ],
    )


def _apply_metadata(file: str, rows: dict[str, FolderInfo], options: ListingOptions) -> bool:
    """Replace the info of images by that of their folder's manifest; False if it has no classes."""
    manifest = read_metadata(file)
    if manifest is None:
        return False
    folder = os.path.join(os.path.dirname(file), "")
    rows |= {
        path: replace(info, label="") for path, info in rows.items() if path.startswith(folder)
    }
    paths = {os.path.normpath(path): path for path in rows}
    columns = {
        "label": manifest.label,
        "split": manifest.split if options.has_splits else None,
        "domain": manifest.domain,
    }
    for index, path in enumerate(manifest.path):
        path = paths.get(os.path.normpath(path), path)
        values = {name: column[index] for name, column in columns.items() if column is not None}
        rows[path] = replace(rows.get(path, FolderInfo()), **values)
    return True


def _joined_tree(roots: list[_Root], prefixes: list[Parts]) -> Tree:
    """Trees of several folders as one tree."""
    if len(roots) == 1 and not prefixes[0]:
        return roots[0].tree
    joined = Tree()
    for root, prefix in zip(roots, prefixes):
        tree = root.tree
        joined.images |= {prefix + parts: names for parts, names in tree.images.items()}
        joined.unread |= {prefix + parts: counts for parts, counts in tree.unread.items()}
        joined.skipped += [prefix + parts for parts in tree.skipped]
        joined.unreadable += tree.unreadable
        joined.other += tree.other
    return joined


def _require_readable_classes(roots: list[_Root], tree: Tree) -> None:
    """Raise if a class or split would be missing because none of its images is readable."""
    for parts, counts in missing_folders(tree).items():
        shown = ", ".join(f"{n} {suffix or 'without suffix'}" for suffix, n in counts.items())
        folder = os.path.join(roots[0].folder if len(roots) == 1 else "", *parts)
        raise DatasetError(
            f"Folder {name_of(folder)}: featx cannot read any of its images ({shown}), so "
            f"{printable(parts[-1])!r} would be missing. Convert them, or name the folders to read "
            "one by one."
        )


def _why_empty(folder: str, tree: Tree) -> str:
    """Message about a folder without images."""
    n_files = tree.other.total()
    if not n_files:
        return f"No image in {name_of(folder)}: it contains no files, or only hidden ones."
    shown = ", ".join(f"{n} {suffix or 'without one'}" for suffix, n in tree.other.most_common(4))
    return (
        f"No image in {name_of(folder)}: {n_files} files, none an image by suffix ({shown}); "
        f"expected {', '.join(sorted(IMAGE_SUFFIXES))}. Name files one by one to take them anyway."
    )


def _not_found(path: str) -> DatasetError:
    """Error about a name that is neither a file nor a data set."""
    folder, base = os.path.split(path)
    try:
        entries = sorted(os.listdir(folder or "."))
    except OSError:
        entries = []
    names = [name_of(name) for name in entries if not name.startswith(".")]
    if not folder:
        names.extend(BUILT_IN)
    suggestion = did_you_mean(name_of(base), names, prefix=name_of(os.path.join(folder, "")))
    return DatasetError(
        f"No file, folder or data set {name_of(path)!r}.{suggestion} Expected a folder, files, a "
        "manifest (.csv .tsv .parquet .jsonl .json .txt), archives, '-', 'digits', 'drawings' or "
        "'torchvision:NAME'."
    )
