from __future__ import annotations

import os
from pathlib import Path

from featx.data.blobs import Blob, file_of, identify


class _Known(Blob):
    def read(self, max_bytes: int) -> bytes:
        return b""

    def identity(self):
        return b"key", (1, 2, 3, 4)


def test_file_is_identified_by_its_absolute_path_size_and_times(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"four")
    key, identity = identify(str(path))
    assert key == os.fsencode(path)
    assert identity[:2] == (4, path.stat().st_mtime_ns)


def test_blob_identifies_itself() -> None:
    assert identify(_Known()) == (b"key", (1, 2, 3, 4))


def test_array_has_no_identity() -> None:
    assert identify([[0]]) is None


def test_key_of_a_member_leads_to_its_archive() -> None:
    assert file_of(b"/a/b.tar\x00512:9") == b"/a/b.tar"
    assert file_of(b"\x00s3://bucket/b.jpg") is None
