"""Zip archives: members by their offsets, stored or deflated, nothing unpacked."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass

from featx.data.archives.archive_files import ArchiveFile, Member, RangeReader, check_length
from featx.data.archives.formats import (
    MAX_TEXT_BYTES,
    TEXT_SUFFIXES,
    ArchiveContents,
    ArchiveEntry,
    ArchiveFormat,
)

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_MAGIC = b"PK\x03\x04"
_ENCRYPTED = 1


@dataclass(frozen=True)
class _ZipMember(Member):
    """A member of a zip; `start` is that of its own header, `length` what it takes in the zip.

    Parameters
    ----------
    is_deflated : bool
    n_bytes : int
        Size that the archive declares.
    crc : int
    """

    is_deflated: bool
    n_bytes: int
    crc: int

    def read(self, max_bytes: int) -> bytes:
        """Content, never more than declared; see `Blob.read`."""
        check_length(max(self.n_bytes, self.length), max_bytes)
        content = self._unpacked(self._packed())
        if len(content) != self.n_bytes:
            raise ValueError(f"expected {self.n_bytes:,} bytes as declared; got others")
        if zlib.crc32(content) != self.crc:
            raise ValueError("is damaged: its checksum is another one")
        return content

    def _packed(self) -> bytes:
        # The name may be longer in the member's own header than in the table of contents.
        block = self.file.read_range(self.start, _LOCAL_HEADER.size + 512 + self.length)
        if len(block) < _LOCAL_HEADER.size or not block.startswith(_MAGIC):
            raise ValueError("is damaged: no member begins at the offset in its directory")
        _, n_name, n_extra = _LOCAL_HEADER.unpack_from(block)
        start = _LOCAL_HEADER.size + n_name + n_extra
        packed = block[start : start + self.length]
        if len(packed) < self.length:
            packed = self.file.read_range(self.start + start, self.length)
        if len(packed) < self.length:
            raise ValueError("the archive is truncated within it")
        return packed

    def _unpacked(self, packed: bytes) -> bytes:
        if not self.is_deflated:
            return packed
        try:  # One byte more than declared tells a bomb, and no more is unpacked.
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, self.n_bytes + 1)
        except zlib.error as error:
            raise ValueError("is damaged: it cannot be inflated") from error


def _read_zip(file: ArchiveFile) -> ArchiveContents:
    """Files of a zip by its table of contents."""
    try:
        with zipfile.ZipFile(RangeReader(file)) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
        raise ValueError("is not a zip archive, or is truncated") from error
    contents = ArchiveContents()
    found: dict[str, ArchiveEntry] = {}
    for info in infos:
        if info.is_dir():
            continue
        if stat.S_ISLNK(info.external_attr >> 16):
            contents.left_out["link"] += 1
        elif reason := _why_not(info):
            contents.failures.append((info.filename, reason))
        else:
            found[info.filename] = _entry(file, info)
    contents.entries = list(found.values())
    return contents


FORMAT = ArchiveFormat((".zip",), _read_zip)


def _why_not(info: zipfile.ZipInfo) -> str:
    """Why a member cannot be read, empty where it can."""
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"is packed by method {info.compress_type}; expected stored or deflated"
    return ""


def _entry(file: ArchiveFile, info: zipfile.ZipInfo) -> ArchiveEntry:
    is_deflated = info.compress_type == zipfile.ZIP_DEFLATED
    member = _ZipMember(
        file, info.header_offset, info.compress_size, is_deflated, info.file_size, info.CRC
    )
    if os.path.splitext(info.filename)[1].lower() not in TEXT_SUFFIXES:
        return ArchiveEntry(info.filename, member)
    try:
        return ArchiveEntry(info.filename, None, text=member.read(MAX_TEXT_BYTES))
    except (OSError, ValueError):  # It says nothing then of its image.
        return ArchiveEntry(info.filename, None)
