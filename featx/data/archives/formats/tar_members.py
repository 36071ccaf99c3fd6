"""Uncompressed tar archives: members by their offsets, nothing unpacked."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator

from featx.data.archives.archive_files import ArchiveFile, Member, RangeReader
from featx.data.archives.formats import (
    MAX_TEXT_BYTES,
    TEXT_SUFFIXES,
    ArchiveContents,
    ArchiveEntry,
    ArchiveFormat,
)

_BLOCK = tarfile.BLOCKSIZE
_N_TAIL_BYTES = 2**16


def _read_tar(file: ArchiveFile) -> ArchiveContents:
    """Files of a tar; where it is damaged or truncated, those before that and the reason."""
    reader, contents = RangeReader(file), ArchiveContents()
    found: dict[str, ArchiveEntry] = {}
    end = 0
    try:
        # "r:" alone: a compressed tar cannot be read by offset.
        with tarfile.open(fileobj=reader, mode="r:") as tar:
            for info in _infos(tar):
                end = info.offset_data + -(-info.size // _BLOCK) * _BLOCK
                if info.isreg():
                    _add(found, contents, info, file, reader)
                elif not info.isdir():
                    contents.left_out["link" if info.issym() or info.islnk() else "device"] += 1
                if end > file.size:
                    break
    except (tarfile.TarError, ValueError, EOFError) as error:
        if not found and not end:
            raise ValueError(_why_no_tar(file, error)) from error
        contents.failures.append(("", _damaged(len(found))))
    else:
        if reason := _incomplete(file, end, len(found)):
            contents.failures.append(("", reason))
    contents.entries = list(found.values())
    return contents


FORMAT = ArchiveFormat((".tar",), _read_tar)


def _infos(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (info := tar.next()) is not None:
        tar.members = []  # type: ignore[attr-defined]  # It would hold every member of the archive in memory.
        yield info


def _add(
    found: dict[str, ArchiveEntry],
    contents: ArchiveContents,
    info: tarfile.TarInfo,
    file: ArchiveFile,
    reader: RangeReader,
) -> None:
    """Note a file; one that is in the archive twice counts as it was written last."""
    if info.sparse is not None:
        contents.failures.append((info.name, "is stored with holes, which is not read"))
    elif os.path.splitext(info.name)[1].lower() in TEXT_SUFFIXES:
        here = reader.tell()
        reader.seek(info.offset_data)
        text = reader.read(info.size) if info.size <= MAX_TEXT_BYTES else None
        reader.seek(here)
        found[info.name] = ArchiveEntry(info.name, None, text=text)
    else:
        member = Member(file, info.offset_data, info.size)
        found[info.name] = ArchiveEntry(info.name, member)


def _incomplete(file: ArchiveFile, end: int, n_files: int) -> str:
    """Why members seem to be missing at the end of an archive, empty where none do."""
    tail = file.read_range(end, _N_TAIL_BYTES)
    if end > file.size or len(tail) < _BLOCK:
        return f"is truncated after {_count(n_files)}; the rest cannot be read"
    if any(tail[:_BLOCK]):  # tarfile takes a broken header for the end.
        return _damaged(n_files)
    if any(tail):
        return (
            f"has data after its end-of-archive marker at byte {end:,}; join tars by "
            "tar --concatenate"
        )
    return ""


def _why_no_tar(file: ArchiveFile, error: Exception) -> str:
    head = file.read_range(0, 6)
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")):
        return "is compressed, and cannot be read by offset: expected a plain .tar"
    if not head:
        return "is empty"
    return f"is no tar archive ({str(error) or type(error).__name__})"


def _damaged(n_files: int) -> str:
    return f"is damaged after {_count(n_files)}; the rest cannot be read"


def _count(n_files: int) -> str:
    return f"{n_files:,} {'file' if n_files == 1 else 'files'}"
