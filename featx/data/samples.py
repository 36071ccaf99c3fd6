"""Download the photographs of ants and bees that the demonstration uses."""

from __future__ import annotations

import io
import sys
import tempfile
import urllib.error
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from platformdirs import user_cache_path

from featx._files import atomic_write
from featx._fingerprints import digest_bytes
from featx.errors import DatasetError, one_line
from featx.process.unfinished_files import unfinished

_URL = "https://download.pytorch.org/tutorial/hymenoptera_data.zip"
_DIGEST = "880e1efcdacd5fa3fb9f1466779cb309"
"""Digest of the sorted digests of the images."""


def fetch_photographs(url: str = _URL) -> Path:
    """Download the photographs of PyTorch's transfer learning tutorial at the first call.

    Parameters
    ----------
    url : str
        Address of the archive.

    Returns
    -------
    Path
        Folder in the user's cache with ``train`` and ``val``, each with ``ants`` and ``bees``.

    Raises
    ------
    DatasetError
        If the photographs cannot be downloaded, or do not have the expected digest.
    """
    folder = user_cache_path("featx") / "ants_bees"
    if folder.is_dir():
        return folder
    try:
        images = dict(_images(_download(url)))
        digest = digest_bytes("".join(sorted(map(digest_bytes, images.values()))).encode())
        if digest != _DIGEST:
            raise DatasetError(f"{url}: expected photographs with digest {_DIGEST}, got {digest}.")
        with atomic_write(folder) as temporary:
            for name, content in images.items():
                (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                (temporary / name).write_bytes(content)
    except (urllib.error.URLError, OSError, zipfile.BadZipFile) as error:
        reason = one_line(error)[:120]
        raise DatasetError(
            f"Photographs cannot be downloaded from {url} ({reason}); name a folder of your own."
        ) from error
    return folder


def _download(url: str) -> bytes:
    """Content of a file on the network, with a progress bar on a terminal."""
    from torch.hub import download_url_to_file

    with tempfile.TemporaryDirectory(prefix="featx-") as folder, unfinished(Path(folder)):
        file = Path(folder) / "archive.zip"
        download_url_to_file(url, str(file), progress=sys.stderr.isatty())
        return file.read_bytes()


def _images(archive: bytes) -> Iterator[tuple[str, bytes]]:
    """Path inside the archive's top folder, and content, of each image."""
    with zipfile.ZipFile(io.BytesIO(archive)) as zip_file:
        for entry in zip_file.infolist():
            parts = PurePosixPath(entry.filename).parts[1:]
            is_hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
            if entry.is_dir() or not parts or is_hidden:
                continue
            yield "/".join(parts), zip_file.read(entry)
