"""Archives -> one data set: images, their classes and splits, and what could not be read."""

from __future__ import annotations

import glob
import json
import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from featx.data.archives.archive_files import open_local
from featx.data.archives.formats import (
    TEXT_SUFFIXES,
    ArchiveContents,
    ArchiveEntry,
    ArchiveFormat,
    archive_suffixes,
    find_archive_format,
    find_archives_in,
)
from featx.data.folders import SYSTEM_FOLDERS, FolderInfo, Parts, interpret_folders
from featx.data.image_dataset import ImageDataset, column_or_none, make_dataset, name_of
from featx.data.image_formats import IMAGE_SUFFIXES
from featx.data.images import printable
from featx.data.manifests import MANIFEST_SUFFIXES
from featx.data.readers import plug_in_suffixes
from featx.data.remote.remote_files import (
    RemoteObject,
    glob_remote,
    has_stars,
    is_url,
    list_remote,
    open_remote,
    shown_url,
)
from featx.data.splits import find_split
from featx.errors import DatasetError, ImageError, one_line

_N_AT_ONCE = 8
"""Archives that are listed at a time."""

_MAX_EXPANDED = 1_000_000
"""Names that the braces of one pattern may stand for."""

_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_BRACES = re.compile(r"\{([^{}]*(?:,|\.\.)[^{}]*)\}")
_SHARD_NUMBERS = re.compile(r"\d+(-of-\d+)?", re.IGNORECASE)


def is_archive(source: str) -> bool:
    """Whether a source names archives of images: a file, a pattern of files, or any URL.

    Examples
    --------
    >>> is_archive("shards/{0000..0099}.tar"), is_archive("photos"), is_archive("cat.jpg")
    (True, False, False)
    """
    if is_url(source) or os.path.isdir(source):
        return is_url(source) or bool(find_archives_in(source))
    form = find_archive_format(source)
    if form is None:
        return False
    if form.accepts is None or not os.path.exists(source):
        return form.accepts is None or _is_pattern(source)
    try:
        return form.accepts(open_local(source))
    except (OSError, ValueError):
        return False


def list_archives(
    sources: Sequence[str], *, has_splits: bool = True, is_alone: bool = True
) -> ImageDataset:
    """Images of archives, patterns of them, and URLs, read as though unpacked in one folder.

    Parameters
    ----------
    sources : sequence of str
        Those that `is_archive` accepts.
    has_splits : bool, default=True
        Whether folders and archives called as splits are.
    is_alone : bool, default=True
        Whether there are no other sources, which would go on where all of these fail.

    Returns
    -------
    ImageDataset
        In the order of the archives and of their members. What cannot be read, of an archive
        or of all of it, is an `ImageError` in the place of an image.

    Raises
    ------
    DatasetError
        If no archive is there, or none of them holds an image.
    """
    paths = list(dict.fromkeys(path for it in sources for path in _expand(it)))
    if not paths or (is_alone and not any(is_url(it) or os.path.exists(it) for it in paths)):
        raise DatasetError(_nothing_there(sources, paths))
    with ThreadPoolExecutor(_N_AT_ONCE, "featx-list") as pool:
        contents = list(pool.map(_read_archive, paths))
    listing = _Listing(_splits_of(paths) if has_splits else {})
    for path, content in zip(paths, contents):
        listing.add(path, content)
    if not listing.images and (is_alone or not listing.failures):
        raise DatasetError(listing.why_empty(paths))
    return listing.to_dataset(has_splits=has_splits)


class _Image(NamedTuple):
    name: str
    item: Any
    parts: Parts
    label: str | None


@dataclass
class _Listing:
    """Images of several archives."""

    splits: dict[str, str]
    images: list[_Image] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, archive: str, contents: ArchiveContents) -> None:
        """Take the images of one archive."""
        root = shown_url(archive).rstrip("/") if is_url(archive) else archive
        self.left_out += contents.left_out
        self.failures += [
            ("/".join(filter(None, (root, printable(name)))), reason)
            for name, reason in contents.failures
        ]
        prefix = (archive,) if archive in self.splits else ()
        labels = _sidecar_labels(contents.entries)
        for entry in _images_of(contents, self.ignored, has_sidecars=bool(labels)):
            # An image that has a URL of its own has no name below it.
            parts = _parts_of(entry.name or posixpath.basename(urlsplit(archive).path))
            name = "/".join(filter(None, (root, printable(entry.name))))
            if parts is None:
                self.failures.append((name, "its name leads out of the archive"))
                continue
            label = entry.label if not labels else _label_of(entry.name, labels)
            self.images.append(_Image(name, entry.blob, prefix + parts[:-1], label))

    def to_dataset(self, *, has_splits: bool) -> ImageDataset:
        """All images with what their folders and sidecars say, and failures in their places."""
        folders = {self._placed(image) for image in self.images}
        placements = interpret_folders(folders, has_splits=has_splits)
        placed = [placements[self._placed(image)] for image in self.images]
        failed = [FolderInfo()] * len(self.failures)
        labels = [
            it.label if image.label is None else image.label
            for image, it in zip(self.images, placed)
        ]
        errors = [ImageError(name_of(name), reason) for name, reason in self.failures]
        return make_dataset(
            [*(image.item for image in self.images), *errors],
            [
                name_of(it)
                for it in (*(i.name for i in self.images), *(f[0] for f in self.failures))
            ],
            labels=column_or_none(map(printable, [*labels, *("" for _ in errors)])),
            splits=column_or_none(it.split for it in (*placed, *failed)),
            domains=column_or_none(printable(it.domain) for it in (*placed, *failed)),
            ignored=self.ignored,
            split_folders={it.split_folder: it.split for it in placements.values() if it.split},
            remarks=list(self._remarks()),
        )

    def why_empty(self, paths: Sequence[str]) -> str:
        """Message about archives without an image that can be read."""
        if self.failures:
            name, reason = self.failures[0]
            more = f" ({len(self.failures) - 1} more)" if len(self.failures) > 1 else ""
            return f"{name_of(name)}: {reason}.{more}"
        kinds = ", ".join(f"{n} {suffix or 'without one'}" for suffix, n in self.ignored.items())
        return f"No image in {name_of(paths[0])}: no member is one by suffix ({kinds or 'empty'})."

    def _placed(self, image: _Image) -> Parts:
        """Folders that an image is placed by: the archive's split stands in for its name."""
        head, *inner = image.parts or ("",)
        return (self.splits[head], *inner) if head in self.splits else image.parts

    def _remarks(self) -> Iterator[str]:
        if n := len(self.failures):
            yield f"{n:,} unreadable {'archive or member' if n == 1 else 'archives or members'}"
        for kind, n in self.left_out.items():
            yield f"{n:,} {kind if n == 1 else kind + 's'} skipped"


def _read_archive(path: str) -> ArchiveContents:
    """Contents of an archive; where it cannot be read, the reason as its only failure."""
    form = find_archive_format(path)
    try:
        if not is_url(path):
            return _read_local(path, form)
        if form is not None:
            return form.read(open_remote(path))
        return _read_folder(path)
    except DatasetError:  # A package is missing.
        raise
    except Exception as error:  # A broken archive may raise anything inside a parser; it is data.
        reason = (error.strerror if isinstance(error, OSError) else "") or one_line(error)
        return ArchiveContents(failures=[("", reason[0].lower() + reason[1:])])


def _read_local(path: str, form: ArchiveFormat | None) -> ArchiveContents:
    if form is None:
        raise ValueError(f"is no archive; expected {' '.join(archive_suffixes())}")
    return form.read(open_local(path))


def _read_folder(url: str) -> ArchiveContents:
    """Objects under a URL; one that is called as an image is that image, unseen."""
    suffix = os.path.splitext(urlsplit(url).path)[1].lower()
    if suffix in IMAGE_SUFFIXES | plug_in_suffixes():
        return ArchiveContents([ArchiveEntry("", RemoteObject(url))], is_table=True)
    if suffix in MANIFEST_SUFFIXES:
        raise ValueError("is a manifest behind a URL; download it first")
    objects, failures = list_remote(url)
    is_itself = [name for name, _ in objects] == [""]
    return ArchiveContents([ArchiveEntry(*it) for it in objects], failures, is_table=is_itself)


def _images_of(
    contents: ArchiveContents, ignored: Counter[str], *, has_sidecars: bool
) -> Iterator[ArchiveEntry]:
    """Entries that are images; others are counted by suffix, as in folders."""
    if contents.is_table:
        yield from contents.entries
        return
    suffixes = IMAGE_SUFFIXES | plug_in_suffixes()
    images = []
    for entry in contents.entries:
        suffix = os.path.splitext(entry.name)[1].lower()
        if _is_hidden(entry.name):
            continue
        if suffix in suffixes:
            images.append(entry)
        elif suffix not in TEXT_SUFFIXES or not has_sidecars:
            ignored[suffix] += 1
    yield from _whole_images(images) if has_sidecars else images


def _whole_images(images: Sequence[ArchiveEntry]) -> Iterator[ArchiveEntry]:
    """Images without masks and the like: ``1.mask.png`` beside ``1.jpg`` is one."""
    whole = {os.path.splitext(it.name)[0] for it in images}
    for image in images:
        key = _key_of(image.name)
        if os.path.splitext(image.name)[0] == key or key not in whole:
            yield image


def _sidecar_labels(entries: Iterable[ArchiveEntry]) -> dict[str, str]:
    """Key of an image -> its class, by WebDataset's ``key.cls`` or ``key.json``."""
    labels: dict[str, str] = {}
    for entry in entries:
        if entry.text is None:
            continue
        stem, suffix = os.path.splitext(entry.name)
        label = _label_in(entry.text, suffix.lower())
        if label and (suffix.lower() == ".cls" or stem not in labels):
            labels[stem] = label
    return labels


def _label_in(text: bytes, suffix: str) -> str:
    """Class that a sidecar names; empty where it names none."""
    try:
        if suffix == ".cls":
            return text.decode("utf-8").strip()
        said = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    label = said.get("label") if isinstance(said, dict) else None
    is_plain = isinstance(label, str | int) and not isinstance(label, bool)
    return str(label).strip() if is_plain else ""


def _label_of(name: str, labels: dict[str, str]) -> str:
    stem = os.path.splitext(name)[0]
    return labels.get(stem) or labels.get(_key_of(name), "")


def _key_of(name: str) -> str:
    """What WebDataset takes for the key of a member: all before the first dot of the file's name.

    Examples
    --------
    >>> _key_of("train.v2/0001.seg.png")
    'train.v2/0001'
    """
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def _parts_of(name: str) -> Parts | None:
    """Folders and name of a member; None of one that would lead out of the archive."""
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    is_inside = bool(parts) and ".." not in parts and not name.startswith("/") and "\0" not in name
    return parts if is_inside else None


def _is_hidden(name: str) -> bool:
    """Whether a file is one that a folder would hide, or lies in a folder of a system."""
    parts = [part for part in name.split("/") if part not in ("", ".", "..")]
    is_dotted = any(part.startswith(".") for part in parts)
    return is_dotted or any(part.lower() in SYSTEM_FOLDERS for part in parts[:-1])


def _splits_of(paths: Sequence[str]) -> dict[str, str]:
    """Split of each archive by its own or its folder's name, where they name several."""
    found = {path: split for path in paths if (split := _split_of(path))}
    return found if len(set(found.values())) > 1 else {}


def _split_of(path: str) -> str:
    """Split that a shard such as ``imagenet-train-00001-of-00064.tar`` is of; empty for none."""
    folder, name = os.path.split(path)
    words = re.split(r"[\W_]+", _SHARD_NUMBERS.sub("", os.path.splitext(name)[0]))
    splits = {split for word in words if word and (split := find_split(word))}
    if len(splits) == 1:
        return splits.pop()
    return find_split(os.path.basename(folder)) or ""


def _expand(source: str) -> Iterator[str]:
    """Archives that a pattern stands for; those of a glob sorted, of braces in their order."""
    if os.path.isdir(source):
        yield from find_archives_in(source)
        return
    if os.path.exists(source):
        yield source
        return
    for name in _expand_braces(source):
        if is_url(name):
            yield from _expand_url(name)
        elif os.path.exists(name) or not glob.has_magic(name):
            yield name
        else:
            yield from sorted(glob.glob(name, recursive=True))


def _expand_url(url: str) -> Iterator[str]:
    """URLs that a glob stands for; a question mark in a web address is none."""
    if not has_stars(url):
        yield url
        return
    try:
        yield from glob_remote(url)
    except (OSError, ValueError):
        yield url  # Reading it will report what is wrong.


def _expand_braces(pattern: str) -> list[str]:
    """Names that a pattern with braces stands for.

    Raises
    ------
    DatasetError
        If they are too many.

    Examples
    --------
    >>> _expand_braces("a/{08..10}.tar"), _expand_braces("{cat,dog}.zip")
    (['a/08.tar', 'a/09.tar', 'a/10.tar'], ['cat.zip', 'dog.zip'])
    """
    match = _BRACES.search(pattern)
    if match is None:
        return [pattern]
    head, tail = pattern[: match.start()], pattern[match.end() :]
    values, tails = _alternatives(match[1]), _expand_braces(tail)
    if len(values) * len(tails) > _MAX_EXPANDED:
        raise DatasetError(f"{pattern!r} stands for more than {_MAX_EXPANDED:,} names.")
    return [head + value + rest for value in values for rest in tails]


def _alternatives(inner: str) -> list[str]:
    ends = _RANGE.fullmatch(inner)
    if ends is None:
        return inner.split(",")
    first, last = int(ends[1]), int(ends[2])
    if abs(last - first) >= _MAX_EXPANDED:
        raise DatasetError(f"{{{inner}}} stands for more than {_MAX_EXPANDED:,} names.")
    step = 1 if last >= first else -1
    width = len(ends[1]) if ends[1].startswith("0") or ends[2].startswith("0") else 0
    return [f"{number:0{width}d}" for number in range(first, last + step, step)]


def _is_pattern(source: str) -> bool:
    return glob.has_magic(source) or _BRACES.search(source) is not None


def _nothing_there(sources: Sequence[str], paths: Sequence[str]) -> str:
    first = name_of(sources[0])
    if not _is_pattern(sources[0]):
        return f"No archive {first!r}; expected a file ({' '.join(archive_suffixes())})."
    example = f"; for example {name_of(paths[0])!r} is not there" if paths else ""
    return f"No archive matches {first!r}{example}."
